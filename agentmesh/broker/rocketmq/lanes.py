"""The queues that a worker draws on: for each lane of its topic a consumer, and what arrived."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from agentmesh.broker.rocketmq.client import Connection, Consumer, Received
from agentmesh.broker.rocketmq.commons import Lane
from agentmesh.broker.rocketmq.waiting import Bell
from agentmesh.clock import Clock
from agentmesh.contracts import Delivery
from agentmesh.errors import MeshError
from agentmesh.log import get_logger

SHORTEST: Final = 10.0
"""Seconds: RocketMQ refuses to hide a message for less."""

POLL: Final = 5.0
MOST: Final = 32
_SPARE: Final = 3_000
"""How long (ms) what nobody asked for is kept, before it is given to others."""

_GIVEN_BACK: Final = 1.0
_PAUSE: Final = 1.0


def invisible(delivery: Delivery) -> float:
    """Seconds for which a message is its worker's."""
    return max(delivery.lease, SHORTEST)


class Source:
    """One lane as this process draws on it. A poll that is open is never broken off: what it brings is kept a while for
    whoever asks next.
    """

    def __init__(self, lane: Lane, consumer: Consumer, clock: Clock) -> None:
        self.lane = lane
        self.consumer = consumer
        self.arrived: deque[Received] = deque()
        self.credit = 0
        self.wanted = 0
        self._clock = clock
        self._since = 0
        self._filling: asyncio.Task[None] | None = None

    def fill(self, hidden: float, changed: Bell, least: int = 1) -> None:
        """Poll in the background for as many as are `wanted`, and for `least`, unless that goes on already."""
        if self._filling is None:
            self._filling = asyncio.create_task(self._fill(min(max(self.wanted, least), MOST), hidden, changed))

    def stock_up(self, hidden: float, changed: Bell, count: int) -> None:
        """So many are to be there when somebody asks: a tenant whose lane is empty then has lost its share."""
        if len(self.arrived) < count:
            self.fill(hidden, changed, 2 * count)

    async def spare(self) -> None:
        """Give back what has waited too long for somebody to ask."""
        if self.arrived and self._clock.now() - self._since > _SPARE:
            await self.give_back()

    async def give_back(self) -> None:
        """Let others have what arrived."""
        arrived, self.arrived = self.arrived, deque()
        for received in arrived:
            with contextlib.suppress(MeshError):
                await self.consumer.change_invisible(received, _GIVEN_BACK)

    async def close(self, *, hurry: bool = False) -> None:
        await self.give_back()
        await self.consumer.close(hurry)
        if self._filling:
            await asyncio.gather(self._filling, return_exceptions=True)
        await self.give_back()

    async def _fill(self, limit: int, hidden: float, changed: Bell) -> None:
        try:
            found = await self.consumer.receive(limit, hidden, POLL)
            if found:
                self._since = self._clock.now()
                self.arrived.extend(found)
        except MeshError as error:
            get_logger().warning("cannot receive", topic=self.lane.topic, error=str(error))
            await asyncio.sleep(_PAUSE)
        finally:
            self._filling = None
            changed.ring()


class Sources:
    """All lanes that this process draws on."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self.changed = Bell()
        self._connection = connection
        self._clock = clock
        self._sources: dict[str, Source] = {}
        self._opening = asyncio.Lock()

    async def open(self, lanes: Iterable[tuple[str, Lane]]) -> list[Source]:
        """The sources of these lanes, by their RocketMQ topics."""
        found = []
        for name, lane in lanes:
            source = self._sources.get(name)
            if source is None:
                async with self._opening:
                    source = self._sources.get(name) or await self._open(name, lane)
            found.append(source)
        return found

    async def spare(self) -> None:
        """As `Source.spare`, of all."""
        for source in list(self._sources.values()):
            await source.spare()

    async def forget(self, topic: str) -> None:
        """The topic is no more."""
        gone = [name for name, source in self._sources.items() if source.lane.topic == topic]
        await asyncio.gather(*(self._sources.pop(name).close(hurry=True) for name in gone))

    async def close(self) -> None:
        await asyncio.gather(*(source.close() for source in self._sources.values()))

    async def _open(self, name: str, lane: Lane) -> Source:
        consumer = Consumer(self._connection, name, name)
        await consumer.start()
        source = self._sources[name] = Source(lane, consumer, self._clock)
        return source


@contextlib.contextmanager
def wanting(sources: Sequence[Source], count: int) -> Iterator[None]:
    """While somebody waits for so many."""
    for source in sources:
        source.wanted += count
    try:
        yield
    finally:
        for source in sources:
            source.wanted -= count


def draw(sources: Sequence[Source], limit: int, weights: Sequence[int]) -> list[tuple[Source, Received]]:
    """Take up to `limit` of what arrived: lanes by priority before others, tenants in turns by weight (deficit round
    robin), and of one tenant's lanes what was stored first.
    """
    drawn: list[tuple[Source, Received]] = []
    while len(drawn) < limit:
        ready = [(source, weight) for source, weight in zip(sources, weights, strict=True) if source.arrived]
        if not ready:
            break
        if all(source.credit <= 0 for source, _ in ready):
            for source, weight in ready:
                source.credit = weight
        source = min((each for each, _ in ready if each.credit > 0), key=_urgency)
        source.credit -= 1
        drawn.append((source, source.arrived.popleft()))
    return drawn


def _urgency(source: Source) -> tuple[bool, int]:
    return not source.lane.priority, source.arrived[0].stored
