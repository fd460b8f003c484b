"""The host: serves an embedded broker and its registry to the other processes of the machine, over the folder's
socket."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from typing import Any, Final

from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.turns import Told
from agentmesh.broker.local.connection import Connection
from agentmesh.broker.local.operations import Operations
from agentmesh.broker.local.returning import Returning
from agentmesh.broker.local.session import Answer, LeaseAnswer, Session
from agentmesh.broker.local.table import OPERATIONS
from agentmesh.broker.local.wire import read_request, record
from agentmesh.broker.process import is_dead
from agentmesh.clock import Clock
from agentmesh.errors import BrokerUnavailable, MeshError
from agentmesh.registry.embedded import EmbeddedRegistry

_GONE: Final = 180_000
_EVER: Final = 2**62
_MANY: Final = 100_000
_LOOKS: Final = (0.05, 0.5, 2.0, 8.0)
"""When to look (s) whether a process whose connection closed is dead: its socket closes before its pid is free."""


class Host:
    """Serves `broker` to other processes until it is stopped."""

    def __init__(self, broker: EmbeddedBroker, registry: EmbeddedRegistry, clock: Clock) -> None:
        self.broker = broker
        self.registry = registry
        self.clock = clock
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self._operations = Operations(self)
        self._server: asyncio.Server | None = None
        self._touched: dict[str, Session] = {}
        self._changed: set[str] = set()
        self._idle_since = clock.now()
        self._tasks: set[asyncio.Task[None]] = set()
        broker.turns.before_commit = self._note
        registry.listen(self._on_change)
        self.returning = Returning(self._known())

    def _known(self) -> list[str]:
        """The processes that were here before and still live; what was kept for dead ones is forgotten."""
        names = [str(name) for (name,) in self.broker.query("silent_clients", _EVER, _MANY)]
        dead = {name for name in names if is_dead(name)}
        for name in dead:
            self._write(self._forget, name)
        return [name for name in names if name not in dead]

    def _write(self, apply: Callable[..., None], *arguments: Any) -> None:
        """In the next turn, with nobody waiting for it."""
        with contextlib.suppress(BrokerUnavailable):
            self.broker.turns.submit(apply, *arguments).add_done_callback(lambda done: done.exception())

    def _forget(self, name: str) -> None:
        """Within a turn."""
        self.broker.state.changes.delete_client.append((name,))
        self.broker.state.changes.rows += 1

    def _remember(self, session: Session) -> None:
        """Within a turn: the next host expects it."""
        state = self.broker.state
        if self.sessions.get(session.name) is session:
            state.changes.upsert_client.append(session.row(state.now))
            state.changes.rows += 1

    async def listen(self, server: socket.socket) -> None:
        """Take connections."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Connection(self), sock=server)

    def stop(self) -> None:
        """Take no more connections, and cut those that there are: their clients ask the next host."""
        if self._server:
            self._server.close()
        for connection in list(self.connections):
            connection.cut()
        for task in self._tasks:
            task.cancel()

    def idle(self) -> int:
        """For how long (ms) nobody has been there."""
        if self.sessions or self.connections:
            self._idle_since = self.clock.now()
        return self.clock.now() - self._idle_since

    def enter(self, name: str, connection: Connection) -> Session:
        """The session of that process, with the answers that were stored for it. An older connection of it is over,
        whatever may still come from there."""
        session = self.sessions.get(name)
        if session is None:
            rows = self.broker.query("client_replies", name)
            session = self.sessions[name] = Session(name, rows[0][0] if rows else b"")
            if not rows:
                self._write(self._remember, session)
        before, session.connection = session.connection, connection
        if before:
            before.cut()
        return session

    def leave(self, session: Session) -> None:
        """Its connection is closed."""
        session.disconnect()
        session.gone_at = self.clock.now()
        self._own(self._look_after(session))

    async def arrived(self, name: str, told: Sequence[asyncio.Task[None]]) -> None:
        """Once this is done, the process has told what it has here."""
        if told:
            await asyncio.wait(told)
        self.returning.arrived(name)

    def part(self, session: Session, number: int) -> None:
        """The process says goodbye."""
        connection = session.connection

        async def work() -> None:
            with contextlib.suppress(MeshError):
                while session.writes():
                    await self.broker.turns.submit(_nothing)
                await self.end(session)
            if connection:
                connection.send(record((number, True, None)))

        self._own(work())

    async def end(self, session: Session) -> None:
        """The process is gone for good: what it held goes to others at once."""
        if self.sessions.pop(session.name, None) is None:
            return
        session.disconnect()
        for inbox in session.inboxes:
            await self.broker.inbox(inbox).close()
        for instance in session.instances:
            await self.registry.end(instance)
        await self.broker.turns.submit(self._end_session, session.name)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def begin(self, session: Session, number: int, work: Coroutine[Any, Any, Any]) -> None:
        """Run a request that waits, and answer when it is done."""
        task = asyncio.get_running_loop().create_task(self._run(session, number, work))
        task.add_done_callback(lambda _: work.close())  # it may be cancelled before it began
        session.open[number] = task

    def request(self, session: Session, raw: bytes) -> None:
        """Do what a record asks for. Raises `Rubbish`."""
        number, seen, name, arguments = read_request(raw)
        session.confirm(seen)
        if number in session.open:
            return  # it was sent again, and is being done
        try:
            if number in session.replies:
                session.answer(number, self._operations.recall(session.replies[number]))
            elif name in OPERATIONS:
                operation = OPERATIONS[name]
                operation.run(self._operations, session, number, *operation.read(arguments))
            else:
                raise BrokerUnavailable(f"The host, agentmesh {version('agentmesh')}, knows no {name!r}.")
        except Exception as error:  # whatever it was, the others go on
            session.refuse(number, error)

    async def _run(self, session: Session, number: int, work: Coroutine[Any, Any, Any]) -> None:
        try:
            value = await work
        except asyncio.CancelledError:
            raise
        except Exception as error:
            session.refuse(number, error)
        else:
            session.answer(number, value)

    async def _look_after(self, session: Session) -> None:
        """End the session once its process is dead, or has stayed away for minutes."""
        left = session.gone_at
        for pause in (*_LOOKS, *([10.0] * (_GONE // 10_000))):
            await asyncio.sleep(pause)
            if session.connection or session.gone_at != left or self.sessions.get(session.name) is not session:
                return
            if is_dead(session.name):
                break
        self.returning.arrived(session.name)
        with contextlib.suppress(MeshError):
            await self.end(session)

    def _end_session(self, name: str) -> None:
        """Within a turn."""
        state = self.broker.state
        for task in [task for task in state.tasks.by_token.values() if task.holder == name]:
            state.tasks.renew(task, 0)
        self._forget(name)

    def _note(self, told: Told) -> None:
        """Before the commit: what is answered is part of it."""
        for session in self._touched.values():
            session.noted.clear()  # of a turn whose commit failed
        touched = self._touched = {}
        state = self.broker.state
        if not state.changes.rows:
            return
        for waiter, value, error in told:
            if isinstance(waiter, Answer) and error is None:
                waiter.note(value)
                touched[waiter.session.name] = waiter.session
        for request in state.granted:
            waiter = request.future
            if isinstance(waiter, LeaseAnswer):
                waiter.note([lease.token for lease in request.granted])
                touched[waiter.session.name] = waiter.session
        for session in touched.values():
            state.changes.upsert_client.append(session.row(state.now))
            state.changes.rows += 1

    def _on_change(self, topic: str) -> None:
        """Tell everybody that a topic's registrations changed, once for what changes together."""
        if not self._changed:
            asyncio.get_running_loop().call_soon(self._push)
        self._changed.add(topic)

    def _push(self) -> None:
        changed, self._changed = self._changed, set()
        for session in self.sessions.values():
            if session.connection:
                session.connection.push(changed)


def _nothing() -> None:
    """An operation that merely waits for its turn."""
