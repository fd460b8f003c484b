"""Sending."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from agentmesh.broker.rocketmq.client import wire
from agentmesh.broker.rocketmq.client.batch import Batch
from agentmesh.broker.rocketmq.client.connection import GRACE, TIMEOUT, Connection
from agentmesh.broker.rocketmq.client.faults import is_missing, may_pass
from agentmesh.broker.rocketmq.client.message import Outgoing
from agentmesh.broker.rocketmq.client.session import Session
from agentmesh.clock import sleep
from agentmesh.errors import BrokerUnavailable, ConfigError, MeshError

IN_FLIGHT: Final = 128
"""Requests that a producer has on their way at once; further ones wait, so that the broker is not overrun."""

BATCH: Final = 64
"""Messages in one batch, at most."""

BATCH_BYTES: Final = 1 << 20
"""Bytes in one batch, at most; a larger message goes alone."""

BATCHES: Final = 2
"""Batches of one topic on their way at once."""

PATIENCE: Final = 30.0
"""Seconds for which a send is tried again before it fails."""

_BACK: Final = (0.1, 2.0)
"""The first and the longest wait between attempts, in seconds."""

_SECOND: Final = 8 << 20
"""Bytes for which an attempt gets another second."""

_Numbered = tuple[str, Outgoing]


class Producer:
    """Sends messages until they are stored. A message that is sent again has the same id: whoever receives it drops
    doubles by it."""

    def __init__(self, connection: Connection, topics: Iterable[str] = (), patience: float = PATIENCE) -> None:
        self._connection = connection
        hello = wire.settings("PRODUCER", connection.endpoint, "", topics, {})
        self._session = Session(connection, "PRODUCER", "", hello)
        self._patience = patience
        self._flying = asyncio.Semaphore(IN_FLIGHT)
        self._batches: dict[str, Batch[_Numbered, str]] = {}
        self._closed = False

    async def start(self) -> None:
        """Introduce the producer. Raises `BrokerUnavailable`, `Unauthorized`."""
        self._connection.clients.add(self)
        await self._session.start()

    async def close(self, hurry: bool = False) -> None:
        """Wait for what is on its way, unless in a `hurry`, and end."""
        if self._closed:
            return
        self._closed = True
        if not hurry:
            await asyncio.gather(*(each.close() for each in self._batches.values()))
        await self._session.close()
        self._connection.drop(self, self._session.id)

    async def send(self, outgoing: Outgoing) -> str:
        """The id of the message, once it is stored. NORMAL messages of a topic that pile up go as batches.

        Raises `BrokerUnavailable` after 30 s without success (it may be stored nevertheless), `ConfigError` (no such
        topic, or one of another type), `PayloadTooLarge`, `Unauthorized`, `QuotaExceeded`.
        """
        self._check(outgoing)
        numbered = wire.new_message_id(), outgoing
        if outgoing.type != "NORMAL":
            return await self._deliver([numbered])
        batch = self._batches.get(outgoing.topic)
        if batch is None:
            batch = self._batches[outgoing.topic] = Batch(
                self._deliver_each, most=BATCH, flying=BATCHES, bound=BATCH_BYTES, size=_size
            )
        return await batch.add(numbered)

    async def send_batch(self, messages: Sequence[Outgoing]) -> list[str]:
        """The ids of NORMAL messages of one topic, once all are stored, in as few requests as their sizes allow.

        Raises `ConfigError` for other messages (RocketMQ would lose LITE ones that share a request), else as `send`;
        then some may be stored.
        """
        for each in messages:
            self._check(each)
            if each.type != "NORMAL" or each.topic != messages[0].topic:
                raise ConfigError(
                    f"A batch holds NORMAL messages of one topic; this one has a {each.type} message of {each.topic!r} "
                    f"beside {messages[0].topic!r}. Send it alone."
                )
        return list(await asyncio.gather(*(self.send(each) for each in messages)))

    def _check(self, outgoing: Outgoing) -> None:
        if self._closed:
            raise BrokerUnavailable("This producer is closed.")
        given = [outgoing.lite_topic or None, outgoing.priority, outgoing.deliver_at]
        if sum(each is not None for each in given) > 1:
            raise ConfigError(
                f"A message to {outgoing.topic!r} can have one of lite_topic, priority and deliver_at, not several."
            )

    async def _deliver_each(self, messages: Sequence[_Numbered]) -> Sequence[str | MeshError]:
        """As a batch; if that is refused, one by one, so that each gets its own answer."""
        try:
            await self._deliver(messages)
        except MeshError as error:
            if len(messages) == 1 or isinstance(error, BrokerUnavailable):
                return [error] * len(messages)
            return [await self._deliver_alone(each) for each in messages]
        return [number for number, _ in messages]

    async def _deliver_alone(self, message: _Numbered) -> str | MeshError:
        try:
            return await self._deliver([message])
        except MeshError as error:
            return error

    async def _deliver(self, messages: Sequence[_Numbered]) -> str:
        """Send one request until it is answered well; the id of its first message."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        back, longest = _BACK
        async with self._flying:
            while True:
                try:
                    return await self._attempt(messages)
                except MeshError as error:
                    if not self._again(error, loop.time() - began) or loop.time() + back > began + self._patience:
                        raise
                await sleep(self._connection.clock, back)
                back = min(back * 2, longest)

    def _again(self, error: MeshError, waited: float) -> bool:
        return not self._connection.closed and (may_pass(error) or (is_missing(error) and waited < GRACE))

    async def _attempt(self, messages: Sequence[_Numbered]) -> str:
        number, first = messages[0]
        what = f"Sending to LiteTopic {first.lite_topic!r}" if first.lite_topic else "Sending"
        doing = self._connection.doing(what, first.topic)
        request = wire.send(messages, self._connection.clock.now())
        timeout = TIMEOUT + len(request) / _SECOND
        entries = await self._connection.call(self._session.id, wire.SEND, request, doing, timeout, well=(20000, 30000))
        for each in entries:
            if each.status.code != 20000:
                raise self._connection.refused(each.status, doing)
        return number


def _size(message: _Numbered) -> int:
    return len(message[1].body) + 512
