"""What wakes an inbox: for each kind of LiteTopic a client of RocketMQ, in a group of its own."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from agentmesh.broker.rocketmq.client import Connection, LiteConsumer, Received
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.names import OTHER, TTL, Names
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.errors import MeshError
from agentmesh.ids import kind_of
from agentmesh.log import get_logger
from agentmesh.message import Draft, encode_content

_POLL: Final = 5.0
_HIDDEN: Final = 30.0
_BATCH: Final = 32
_PAUSE: Final = 0.5
_PARTING: Final = 2.0
_UNLOCKED: Final = 0.4
"""Seconds in which a broker (5.5.0) is done with what was acknowledged last: it would make the group anew for that."""

_BYE: Final = "bye"
"""The LiteTopic of every kind by which a client wakes up itself."""

Told = Callable[[Received], None]


class Wakes:
    """`told` gets every message of a LiteTopic that is subscribed, at least once as long as nothing fails; `failed` is
    called with a kind whose wake-ups may have been lost.
    """

    def __init__(
        self,
        connection: Connection,
        remoting: Remoting,
        logs: Logs,
        names: Names,
        client: str,
        told: Told,
        failed: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._remoting = remoting
        self._logs = logs
        self._names = names
        self._client = client
        self._told = told
        self._failed = failed
        self._consumers: dict[str, LiteConsumer] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._opening = asyncio.Lock()
        self._closing = False

    async def subscribe(self, name: str) -> None:
        """Return once the broker knows."""
        await (await self._consumer(kind(name))).subscribe(name)

    async def replace(self, names: Iterable[str]) -> None:
        """Be subscribed to these and to nothing else."""
        wanted: dict[str, list[str]] = {each: [] for each in self._consumers}
        for name in names:
            wanted.setdefault(kind(name), []).append(name)
        for each, of_kind in wanted.items():
            await (await self._consumer(each)).replace(of_kind)

    def unsubscribe(self, *names: str) -> Awaitable[object]:
        """Begin at once; what is returned ends once the broker knows."""
        consumers = [(self._consumers.get(kind(name)), name) for name in names]
        return asyncio.gather(*(consumer.unsubscribe(name) for consumer, name in consumers if consumer))

    async def again(self, name: str) -> None:
        """A wake-up was lost: subscribe anew."""
        consumer = self._consumers.get(kind(name))
        if consumer:
            await consumer.resubscribe(name)

    async def close(self) -> None:
        """The broker forgets the client, and its groups. It would make a group anew for a poll that is still open, so
        the polls are woken up first.
        """
        self._closing = True
        with contextlib.suppress(MeshError, TimeoutError):
            async with asyncio.timeout(_PARTING):
                await asyncio.gather(*(self._part(name, consumer) for name, consumer in self._consumers.items()))
                await asyncio.gather(*self._tasks)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        consumers, self._consumers = self._consumers, {}
        await asyncio.gather(*(each.close(hurry=True) for each in consumers.values()), return_exceptions=True)
        if consumers:
            await asyncio.sleep(_UNLOCKED)
        for name in consumers:
            with contextlib.suppress(MeshError):
                await self._remoting.delete_group(self._names.waking(self._client, name))

    async def _consumer(self, name: str) -> LiteConsumer:
        async with self._opening:
            consumer = self._consumers.get(name)
            if consumer is None:
                parent, group = self._names.parent_of(name), self._names.waking(self._client, name)
                await self._remoting.create_group(group, lite_parent=parent)
                consumer = LiteConsumer(self._connection, group, parent)
                await consumer.start()
                self._consumers[name] = consumer
                self._tasks.append(asyncio.create_task(self._listen(name, consumer)))
            return consumer

    async def _part(self, name: str, consumer: LiteConsumer) -> None:
        await consumer.subscribe(_BYE)
        await self._logs.post(_BYE, name, encode_content(Draft("bye")), title="", first=False)

    async def _listen(self, name: str, consumer: LiteConsumer) -> None:
        while not self._closing:
            try:
                found = await consumer.receive(_BATCH, _HIDDEN, _POLL)
            except MeshError as error:
                get_logger().warning("wake-ups may be late", kind=name, error=str(error))
                self._failed(name)
                await asyncio.sleep(_PAUSE)
                continue
            for each in found:
                self._told(each)
            if found:
                await self._acknowledge(name, consumer, found)

    async def _acknowledge(self, name: str, consumer: LiteConsumer, found: list[Received]) -> None:
        """How far anybody has read is not RocketMQ's affair.

        The next poll begins after that: a broker (5.5.0) that gets an acknowledgement while it collects messages for
        the same client forgets to wake it for what follows (apache/rocketmq#11191).
        """
        try:
            await consumer.ack(found)
        except MeshError as error:  # these come again, and nothing else of these LiteTopics until then
            get_logger().debug("cannot acknowledge wake-ups", kind=name, error=str(error))
            self._failed(name)


def kind(name: str) -> str:
    """Of the parent topic of this LiteTopic."""
    found = kind_of(name)
    return found if found in TTL else OTHER
