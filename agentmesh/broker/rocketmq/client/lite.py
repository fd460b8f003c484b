"""Receiving the messages of many LiteTopics of one parent topic."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Final

from agentmesh.broker.rocketmq.client import wire
from agentmesh.broker.rocketmq.client.connection import Connection
from agentmesh.broker.rocketmq.client.receiver import Receiver
from agentmesh.broker.rocketmq.client.session import Session
from agentmesh.broker.rocketmq.client.subscriptions import Subscriptions
from agentmesh.errors import BrokerUnavailable
from agentmesh.ids import check_lite_topic

NAMES: Final = 1_900
"""Subscriptions of one logical client, at most; for further ones there are further clients."""


class _Part:
    """One logical client and its subscriptions."""

    def __init__(self, connection: Connection, group: str, parent: str, revoked: "asyncio.Queue[str]") -> None:
        hello = wire.settings("LITE_PUSH_CONSUMER", connection.endpoint, group, (), {parent: "*"})
        self.session = Session(connection, "LITE_PUSH_CONSUMER", group, hello, self._ready, self._command)
        self.subscriptions = Subscriptions(self.session, parent)
        self._revoked = revoked

    def _ready(self) -> None:
        self.subscriptions.sync()

    def _command(self, command: wire.Command) -> None:
        if command.kind == "notify_unsubscribe_lite_command":
            self.subscriptions.revoke(command.lite_topic)
            self._revoked.put_nowait(command.lite_topic)


class LiteConsumer(Receiver):
    """Wakes up for the LiteTopics of `parent` that it subscribed to. A group is bound to its parent when it is created.

    `revoked` holds the names that another client of an exclusive group took over; they are subscribed no more.
    """

    def __init__(self, connection: Connection, group: str, parent: str) -> None:
        super().__init__(connection, group, parent, "*")
        self.revoked: asyncio.Queue[str] = asyncio.Queue()
        self._parts: list[_Part] = []
        self._where: dict[str, _Part] = {}
        self._growing = asyncio.Lock()

    @property
    def names(self) -> set[str]:
        """The LiteTopics that are subscribed, or will be."""
        return set().union(*(each.subscriptions.names for each in self._parts))

    async def start(self) -> None:
        """Introduce the consumer. Raises `BrokerUnavailable`, `Unauthorized`, and `ConfigError` if there is no such
        topic."""
        self._connection.clients.add(self)
        await self._grow()
        await self._connection.route(self._sessions[0].id, self.topic)

    async def close(self, hurry: bool = False) -> None:
        """As `Receiver.close`."""
        await super().close(hurry)
        for each in self._parts:
            await each.subscriptions.close()
            self._connection.drop(self, each.session.id)

    async def subscribe(self, name: str, offset: wire.Start = None) -> None:
        """Return once the broker knows: what the group has not read yet wakes this consumer, and all that follows.
        `offset` moves the group to an offset, or to `min` or `max`.

        While the broker is away this waits; a cancelled wait takes nothing back. Raises `ConfigError` (a name that
        cannot be, LiteTopics switched off), `QuotaExceeded`, `Unauthorized`.
        """
        part = await self._part(check_lite_topic(name))
        await part.subscriptions.add((name,), offset)

    def unsubscribe(self, name: str) -> Awaitable[None]:
        """Begin at once; what is returned ends once the broker knows, and need not be awaited."""
        part = self._where.pop(name, None)
        if part:
            return part.subscriptions.remove((name,))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def resubscribe(self, name: str) -> None:
        """Remove and add: for a reply that is overdue, since the broker may have lost the wake-up."""
        part = await self._part(check_lite_topic(name))
        await part.subscriptions.add((name,), again=True)

    async def replace(self, names: Iterable[str]) -> None:
        """Be subscribed to `names` and to nothing else, and have told the broker the whole set."""
        wanted = {check_lite_topic(each) for each in names}
        for part in self._parts:
            gone = part.subscriptions.names - wanted
            part.subscriptions.remove(gone)
            for each in gone:
                self._where.pop(each, None)
        for each in wanted:
            part = await self._part(each)
            part.subscriptions.names.add(each)
        await asyncio.gather(*(each.subscriptions.sync() for each in self._parts))

    def _poll_failed(self, session: Session) -> None:
        """A restarted broker knows no subscription."""
        for each in self._parts:
            if each.session is session:
                each.subscriptions.sync()

    async def _part(self, name: str) -> _Part:
        """The client that has the name, or one that has room for it."""
        if self._closed:
            raise BrokerUnavailable(f"This consumer of {self.topic!r} ({self.group!r}) is closed.")
        while name not in self._where:
            room = next((each for each in self._parts if len(each.subscriptions.names) < NAMES), None)
            if room is not None:
                self._where[name] = room
            else:
                await self._grow()
        return self._where[name]

    async def _grow(self) -> None:
        async with self._growing:
            if any(len(each.subscriptions.names) < NAMES for each in self._parts):
                return
            part = _Part(self._connection, self.group, self.topic, self.revoked)
            part.subscriptions.start()
            await part.session.start()
            self._parts.append(part)
            self._sessions.append(part.session)
            self._polls.wake()
