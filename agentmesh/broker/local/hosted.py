"""A store that a program hosts in its own loop."""

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Literal

from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.store import Store
from agentmesh.broker.local.connection import Doorbell
from agentmesh.broker.local.folder import Folder, Lock
from agentmesh.broker.local.remote import Belongings
from agentmesh.card import read_card, write_card
from agentmesh.clock import Clock
from agentmesh.contracts import Registration
from agentmesh.registry.embedded import EmbeddedRegistry

Durability = Literal["normal", "full"]

_NO_REPLIES: Final = b"\x80"
_locks: Final[set[Lock]] = set()


class Hosted:
    """The store of `folder`, with the lock and the doorbell that go with it."""

    def __init__(
        self, folder: Folder, lock: Lock, process: str, clock: Clock, durability: Durability, retention: int = 0
    ) -> None:
        self._lock = lock
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._ringing: set[Doorbell] = set()
        self._ended = False
        self._process = process
        _locks.add(lock)
        try:
            self._store = Store(folder.database, process, full=durability == "full")
            try:
                self.broker = EmbeddedBroker(
                    self._store, clock, process=process, on_close=_nothing, retention=retention
                )
                self.registry = EmbeddedRegistry(self.broker, clock)
            except BaseException:
                self._store.close()
                raise
        except BaseException:
            self._release()
            raise

    async def listen(self, folder: Folder, ring: Callable[[], str]) -> None:
        """Hear of other processes. `ring` says why not, if they cannot be let in."""
        loop = asyncio.get_running_loop()
        self._socket = folder.listen()
        self._server = await loop.create_unix_server(
            lambda: Doorbell(ring, self._ringing), sock=self._socket, start_serving=False
        )
        await self._server.start_serving()  # only this can be cancelled

    def end(self) -> None:
        """Finish what was asked for and let go of everything: what is held here is free at once."""
        self._end(handing_over=False)

    def hand_over(self) -> Belongings:
        """As `end`, for the next host, who is told what this process has."""
        turns = self.broker.turns
        if not turns.closed:
            turns.submit(self._expect).add_done_callback(lambda done: done.cancelled() or done.exception())
        turns.close()  # what was asked for so far may still change what we have
        belongings = self._belongings()
        self._end(handing_over=True)
        return belongings

    def abandon(self) -> None:
        """Let go of the store; the loop that it belonged to is over."""
        self._ended = True
        if self._socket:
            self._socket.close()
        self.broker.abandon()
        self._store.close()
        self._release()

    async def restore(self, belongings: Belongings) -> None:
        """Have again what was handed over to nobody."""
        state, now = self.broker.state, self.broker.state.now
        for token in belongings.tokens:
            task = state.tasks.by_token.get(token)
            if task:
                state.tasks.renew(task, now + state.lease_time(task))
        for client, interests in belongings.inboxes.items():
            inbox, alone = self.broker.inbox(client), belongings.exclusive.get(client, set())
            await inbox.sync({name: at for name, at in interests.items() if name not in alone})
            for name in alone:
                await inbox.subscribe(name, interests[name], exclusive=True)
        for (topic, version, instance), card in belongings.registered.items():
            await self.registry.register(Registration(topic, version, read_card(card), instance))

    def _belongings(self) -> Belongings:
        tokens = {task.token: None for task in self.broker.state.tasks.by_token.values()}
        inboxes, exclusive = self.broker.interests()
        registered = {
            (each.topic, each.version, each.instance): write_card(each.card) for each in self.registry.instances()
        }
        return Belongings(tokens, inboxes, exclusive, registered)

    def _expect(self) -> None:
        """Within a turn: the next host waits for us before it says who is there."""
        state = self.broker.state
        state.changes.upsert_client.append((self._process, _NO_REPLIES, state.now))
        state.changes.rows += 1

    def _end(self, *, handing_over: bool) -> None:
        if self._ended:
            return
        self._ended = True
        try:
            if self._server:
                self._server.close()
            for each in list(self._ringing):
                each.cut()
            self.broker.end()
        finally:
            try:
                self._store.close(handing_over=handing_over)
            finally:
                self._release()

    def _release(self) -> None:
        _locks.discard(self._lock)
        self._lock.release()


def disown_locks() -> None:
    """In a forked child: what is locked is the parent's, and ends with it."""
    for lock in _locks:
        lock.disown()
    _locks.clear()


def _nothing() -> None:
    """The store is closed by `Hosted`."""
