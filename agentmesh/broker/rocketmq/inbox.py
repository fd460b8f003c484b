"""An inbox: which LiteTopics a client follows, and what it is to read.

RocketMQ tells a client which of its LiteTopics have something to read by handing it the messages. They are
acknowledged at once: how far the client has read is its own affair, and what it reads lies in the log. A message that
is the next one of its log is passed on as it is; anything else makes the log be read. Wake-ups may be lost or doubled,
data not: what has been silent for 3 s is looked at, then after 10, 20, 40 and 60 s.
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from agentmesh.broker.drafts import encode
from agentmesh.broker.rocketmq.client import Connection, Received
from agentmesh.broker.rocketmq.entries import read_entry
from agentmesh.broker.rocketmq.interest import Interest
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.names import Names
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.broker.rocketmq.waiting import happens
from agentmesh.broker.rocketmq.wakes import Wakes, kind
from agentmesh.clock import Clock
from agentmesh.contracts import Batch
from agentmesh.errors import BrokerUnavailable, MeshError
from agentmesh.ids import check_lite_topic, digest, new_token
from agentmesh.log import get_logger
from agentmesh.message import Draft

SILENCE: Final = 180_000
HELD: Final = 30_000
_SOON: Final = 2_000
_OVERDUE: Final = (3_000, 10_000, 20_000, 40_000, 60_000)
_REMEMBERED: Final = 10_000
_PAGE: Final = 500
_AT_ONCE: Final = 32
_TICK: Final = 0.1
_TURN: Final = 1000


class RocketInbox:
    """`Inbox` of one client."""

    def __init__(
        self,
        connection: Connection,
        remoting: Remoting,
        names: Names,
        logs: Logs,
        clock: Clock,
        client: str,
        forget: Callable[[], object],
    ) -> None:
        self._wakes = Wakes(connection, remoting, logs, names, f"{client} {new_token()}", self._told, self._failed)
        self._logs = logs
        self._clock = clock
        self._client = client
        self._forget = forget
        self._interests: dict[str, Interest] = {}
        self._ready: dict[str, None] = {}
        self._out: dict[str, Interest] = {}
        self._claims: dict[str, tuple[str, str]] = {}
        self._revoked: dict[str, None] = {}
        self._committed: OrderedDict[str, int] = OrderedDict()
        self._due: list[tuple[int, str]] = []
        self._changed = asyncio.Event()
        self._polled = clock.now()
        self._polling = 0
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    async def subscribe(self, lite_topic: str, after: int | None = None, exclusive: bool = False) -> None:
        check_lite_topic(lite_topic)
        self._check_open()
        self._polled = self._clock.now()
        self._revoked.pop(lite_topic, None)
        if exclusive:
            await self._claim(lite_topic)
        await self._follow(lite_topic, after)

    async def unsubscribe(self, lite_topic: str) -> None:
        check_lite_topic(lite_topic)
        self._check_open()
        await self._drop(lite_topic)

    async def sync(self, interests: Mapping[str, int | None]) -> None:
        self._check_open()
        for name in interests:
            check_lite_topic(name)
        for name in [each for each in self._interests if each not in interests and not self._is_claim(each)]:
            self._forget_interest(name)
        for name, after in interests.items():
            if name not in self._interests or after is not None:
                self._wake(await self._begin(name, after))
        await self._wakes.replace(self._interests)

    async def poll(self, limit: int, wait: float) -> Sequence[Batch]:
        self._check_open()
        until = self._clock.now() + round(wait * 1000)
        self._polling += 1
        try:
            if wait <= 0:
                await self._look_now()
            while True:
                self._polled = self._clock.now()
                self._release()
                self._changed.clear()
                batches = await self._collect(limit)
                now = self._clock.now()
                if batches or now >= until or self._closed:
                    return batches
                if not self._ready:
                    await happens(self._changed, self._clock, min(until, now + _TURN))
        finally:
            self._polling -= 1
            self._polled = self._clock.now()

    async def commit(self, offsets: Mapping[str, int]) -> None:
        self._check_open()
        for name in offsets:
            check_lite_topic(name)
        for name, offset in offsets.items():
            interest = self._interests.get(name)
            if interest is None:
                continue
            if offset > interest.seen:
                offset = min(offset, await self._logs.head(name) - 1)
            interest.commit(offset)
            self._out.pop(name, None)
            self._remember(name, interest.position)
            self._wake(interest)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._changed.set()
        self._forget()
        if self._watch:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        await self._wakes.close()

    async def _follow(self, name: str, after: int | None) -> None:
        """Return once the broker knows."""
        interest = await self._begin(name, after)
        try:
            await self._wakes.subscribe(name)
        except BaseException:
            self._interests.pop(name, None)
            raise
        self._wake(interest)

    async def _begin(self, name: str, after: int | None) -> Interest:
        """One that this process has not met is probably new: what it holds comes as messages, or is found soon."""
        position = self._committed.get(name, -1) if after is None else max(after, -1)
        if position >= 0:
            position = min(position, await self._logs.head(name) - 1)
        known = position >= 0 or self._logs.is_known(name)
        interest = Interest(name, position, self._clock.now() + _SOON, behind=known)
        self._interests[name] = interest
        heapq.heappush(self._due, (interest.due, name))
        if self._watch is None:
            self._watch = asyncio.create_task(self._look_after())
        return interest

    async def _drop(self, name: str) -> None:
        """All that is ours of it is gone before this waits: who subscribes anew meanwhile loses nothing."""
        if self._forget_interest(name):
            claim = _claim_of(name)
            claimed = self._claims.pop(claim, None) and self._forget_interest(claim)
            await self._wakes.unsubscribe(name, *([claim] if claimed else ()))

    def _forget_interest(self, name: str) -> bool:
        """Whether it was there."""
        self._ready.pop(name, None)
        self._out.pop(name, None)
        return self._interests.pop(name, None) is not None

    async def _collect(self, limit: int) -> list[Batch]:
        """Batches of what is ready, read from the log where that is behind."""
        batches = [Batch(name, (), revoked=True) for name in list(self._revoked)[:limit]]
        for batch in batches:
            del self._revoked[batch.lite_topic]
        names = list(self._ready)[: limit - len(batches)]
        for name in names:
            del self._ready[name]
        interests = [self._interests[name] for name in names if name in self._interests]
        behind = [each for each in interests if each.behind and each.out < 0]
        for begin in range(0, len(behind), _AT_ONCE):
            await asyncio.gather(*(self._read(each) for each in behind[begin : begin + _AT_ONCE]))
        until = self._clock.now() + HELD
        for interest in interests:
            if interest.arrived and interest.out < 0 and self._interests.get(interest.name) is interest:
                batches.append(Batch(interest.name, interest.hand_out(until)))
                self._out[interest.name] = interest
        return batches

    async def _read(self, interest: Interest) -> None:
        interest.behind = False  # what arrives from here on sets it again
        try:
            entries = await self._logs.read(interest.name, interest.position, _PAGE)
        except BaseException:
            interest.behind = True
            self._wake(interest)
            raise
        interest.was_read(entries, more=len(entries) == _PAGE)

    def _told(self, received: Received) -> None:
        """A message of a LiteTopic came."""
        interest = self._interests.get(received.lite_topic)
        if interest is None:
            return
        interest.offer(read_entry(received.offset, received.stored, received.body))
        interest.checks, interest.due = 0, self._clock.now() + _OVERDUE[0]
        self._wake(interest)

    def _failed(self, failed: str) -> None:
        """Wake-ups of a kind may have been lost."""
        now = self._clock.now()
        for interest in self._interests.values():
            if kind(interest.name) == failed:
                interest.due = now + _SOON
                heapq.heappush(self._due, (interest.due, interest.name))

    def _wake(self, interest: Interest) -> None:
        if interest.is_ready:
            if self._is_claim(interest.name):
                interest.due = self._clock.now()
                heapq.heappush(self._due, (interest.due, interest.name))
            else:
                self._ready[interest.name] = None
                self._changed.set()

    async def _look_now(self) -> None:
        """Whoever does not wait for wake-ups is to see what this process wrote, and who claimed what."""
        await asyncio.gather(*(self._check_claim(claim) for claim in tuple(self._claims)))
        for name, interest in self._interests.items():
            if self._logs.is_known(name):
                interest.behind = True
                self._wake(interest)

    def _release(self) -> None:
        """Batches that were not committed in time can be polled again."""
        now = self._clock.now()
        for interest in [each for each in self._out.values() if each.until <= now or each.out < 0]:
            del self._out[interest.name]
            if interest.out >= 0 and self._interests.get(interest.name) is interest:
                interest.release()
                self._wake(interest)

    def _remember(self, name: str, offset: int) -> None:
        self._committed[name] = offset
        self._committed.move_to_end(name)
        if len(self._committed) > _REMEMBERED:
            self._committed.popitem(last=False)

    async def _look_after(self) -> None:
        """Look at what was silent, and forget a client that is."""
        while True:
            await asyncio.sleep(_TICK)
            try:
                now = self._clock.now()
                if not self._polling and now - self._polled > SILENCE and self._interests:
                    await self._fall_silent()
                names: list[str] = []
                while self._due and self._due[0][0] <= now and len(names) < _AT_ONCE:
                    names.append(heapq.heappop(self._due)[1])
                await asyncio.gather(*(self._look(name, now) for name in dict.fromkeys(names)))
            except MeshError as error:
                get_logger().warning("cannot look after silent LiteTopics", error=str(error))

    async def _look(self, name: str, now: int) -> None:
        """Whether something came that nobody told of."""
        interest = self._interests.get(name)
        if interest is None:
            return
        if interest.due > now:
            heapq.heappush(self._due, (interest.due, name))
            return
        interest.due = now + _OVERDUE[min(interest.checks, len(_OVERDUE) - 1)]
        heapq.heappush(self._due, (interest.due, name))
        if name in self._claims:
            await self._check_claim(name)
        elif await self._logs.head(name) - 1 > interest.seen:
            interest.behind = True
            self._wake(interest)
            if interest.checks:
                await self._wakes.again(name)
        interest.checks += 1

    async def _fall_silent(self) -> None:
        for name in list(self._interests):
            if self._is_claim(name):
                continue
            if _claim_of(name) in self._claims:
                self._revoked[name] = None
            await self._drop(name)

    async def _claim(self, name: str) -> None:
        """Have it alone: the last who writes into its claim has it."""
        claim, token = _claim_of(name), new_token()
        self._claims[claim] = name, token
        await self._logs.append(claim, encode([Draft("claim", {"client": self._client, "token": token})]))
        await self._follow(claim, None)

    async def _check_claim(self, claim: str) -> None:
        if claim not in self._claims:
            return
        name, token = self._claims[claim]
        last = await self._logs.read(claim, await self._logs.head(claim) - 2, 1)
        interest = self._interests.get(claim)
        if interest:
            interest.arrived, interest.behind = [], False
        if last and last[0].data["token"] != token and self._claims.get(claim) == (name, token):
            self._revoked[name] = None
            self._changed.set()
            await self._drop(name)

    def _is_claim(self, name: str) -> bool:
        return name in self._claims

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerUnavailable(f"The inbox {self._client!r} is closed.")


def _claim_of(name: str) -> str:
    """The LiteTopic in which clients claim another for themselves."""
    return f"claim-{digest(name)}"
