"""Receiving, acknowledging and giving back: what both kinds of consumers do."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import grpc

from agentmesh.broker.rocketmq.client import wire
from agentmesh.broker.rocketmq.client.batch import Batch
from agentmesh.broker.rocketmq.client.connection import TIMEOUT, Connection
from agentmesh.broker.rocketmq.client.faults import Doing, broken
from agentmesh.broker.rocketmq.client.message import Received
from agentmesh.broker.rocketmq.client.polls import Key, Open, Polls
from agentmesh.broker.rocketmq.client.session import Session
from agentmesh.errors import BrokerUnavailable, MeshError

POLL: Final = 5.0
"""Seconds of a long poll: the shortest that a proxy grants. A longer one makes a polite shutdown longer."""

LONGEST_POLL: Final = 20.0
"""Seconds of the longest poll that a proxy grants."""

LIMIT: Final = 32
"""Messages that one poll brings, at most."""

INVISIBLE: Final = 30.0
"""Seconds for which a received message is nobody else's."""

_GIVEN_BACK: Final = 1.0
"""Seconds after which a message that nobody took can be received again."""

_ACKS: Final = 64
"""Messages in one ack, at most."""

_ACKS_FLYING: Final = 4
_DONE: Final = (20000, 30000)
_NOTHING: Final = 40401


class Receiver:
    """Messages of one topic for one group, through one logical client or several."""

    def __init__(self, connection: Connection, group: str, topic: str, expression: str) -> None:
        self.group = group
        self.topic = topic
        self._connection = connection
        self._expression = expression
        self._sessions: list[Session] = []
        self._polls = Polls()
        self._acks: Batch[Received, None] = Batch(self._ack, most=_ACKS, flying=_ACKS_FLYING)
        self._closed = False

    async def receive(self, limit: int = LIMIT, invisible: float = INVISIBLE, poll: float = POLL) -> list[Received]:
        """Up to `limit` messages (32 at most), as soon as there are any, each nobody else's for `invisible` seconds
        (10 s to 12 h); none after about `poll` seconds.

        The server's own poll is 5 s at least: it goes on after a shorter `poll` or a cancelled call, and the next
        `receive` gets what it brings. Raises `BrokerUnavailable` (call again after a pause: it may have come back),
        `ConfigError` (no such topic or group), `Unauthorized`.
        """
        if self._closed or not self._sessions:
            state = "closed" if self._closed else "not started"
            raise BrokerUnavailable(f"This consumer of {self.topic!r} ({self.group!r}) is {state}.")
        queues = await self._connection.route(self._sessions[0].id, self.topic)
        length = min(max(poll, POLL), LONGEST_POLL)
        return await self._polls.take(partial(self._sources, queues, limit, invisible, length), limit, poll)

    async def ack(self, messages: Sequence[Received]) -> None:
        """They are done with. Raises `LeaseLost` if the time of one was over, `BrokerUnavailable`; the others are acked
        nevertheless."""
        if messages:
            await asyncio.gather(*[self._acks.add(each) for each in messages])

    async def change_invisible(self, received: Received, seconds: float) -> None:
        """Nobody else's for `seconds` (1 s to 12 h) from now. Raises `LeaseLost` if its time was over."""
        doing = self._doing("Changing an invisible time")
        request = wire.change_invisible(self.group, received, seconds)
        handle = await self._connection.call(self._sessions[0].id, wire.CHANGE, request, doing)
        received.handle = handle or received.handle

    async def dead_letter(self, received: Received) -> None:
        """Move the message to `%DLQ%GROUP`, as if its attempts were used up."""
        doing = self._doing("Moving a message to the dead letters")
        request = wire.dead_letter(self.group, received)
        await self._connection.call(self._sessions[0].id, wire.DEAD_LETTER, request, doing)

    async def close(self, hurry: bool = False) -> None:
        """Let open polls end (5 s at most), give back what they bring, and end. In a `hurry` polls are broken off, and
        the broker may take a second or some until it gives their messages to others."""
        if self._closed:
            return
        self._closed = True
        if hurry:
            await asyncio.gather(*(each.close() for each in self._sessions))
        for each in await self._polls.close(hurry):
            with contextlib.suppress(MeshError):
                await self.change_invisible(each, _GIVEN_BACK)
        await self._acks.close()
        await asyncio.gather(*(each.close() for each in self._sessions))

    def _poll_failed(self, session: Session) -> None:
        """A poll raised."""

    def _doing(self, what: str) -> Doing:
        return self._connection.doing(what, self.topic, self.group)

    def _sources(self, queues: Sequence[wire.Queue], limit: int, invisible: float, poll: float) -> Mapping[Key, Open]:
        """A poll of any queue of a broker brings messages of all its queues."""
        brokers = {each.broker: each for each in queues if each.readable}
        return {
            (session.id, broker): partial(self._poll, session, queue, min(limit, LIMIT), invisible, poll)
            for session in self._sessions
            for broker, queue in brokers.items()
        }

    async def _poll(
        self, session: Session, queue: wire.Queue, limit: int, invisible: float, poll: float
    ) -> list[Received]:
        doing = self._doing("Receiving")
        request = wire.receive(self.group, queue, self._expression, limit, invisible, poll)
        messages: list[Received] = []
        try:
            async for part in self._connection.receive(session.id, request, poll + TIMEOUT + 2):
                if isinstance(part, Received):
                    messages.append(part)
                elif isinstance(part, wire.Status) and part.code not in (20000, _NOTHING):
                    raise self._connection.refused(part, doing)
        except grpc.aio.AioRpcError as lost:
            if not messages:
                self._connection.forget_route(self.topic)
                error = broken(lost, doing)
                self._poll_failed(session)
                raise error from lost
        except MeshError as error:
            self._connection.forget_route(self.topic)
            self._poll_failed(session)
            raise
        return messages

    async def _ack(self, messages: Sequence[Received]) -> Sequence[MeshError | None]:
        doing = self._doing("Acknowledging")
        request = wire.ack(self.group, self.topic, messages)
        verdicts = await self._connection.call(self._sessions[0].id, wire.ACK, request, doing, well=_DONE)
        return [None if each.code == 20000 else self._connection.refused(each, doing) for each in verdicts]
