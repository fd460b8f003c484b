"""The host: serves an embedded broker and its registry to the other processes of the machine, over the folder's
socket."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from typing import Any, Final

from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.turns import Told
from agentmesh.broker.local.operations import OPERATIONS, Operations
from agentmesh.broker.local.session import Answer, LeaseAnswer, Session
from agentmesh.broker.local.wire import (
    MAGIC,
    PROTOCOL,
    Records,
    Rubbish,
    Welcome,
    read_hello,
    read_request,
    record,
)
from agentmesh.broker.process import is_dead
from agentmesh.clock import Clock
from agentmesh.errors import BrokerUnavailable, MeshError
from agentmesh.log import get_logger
from agentmesh.registry.embedded import EmbeddedRegistry

HELLO: Final = 10_000
"""The longest first record: whoever sends more than that is no client."""

_GONE: Final = 180_000
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

    def enter(self, name: str) -> Session:
        """The session of that process, with the answers that were stored for it."""
        session = self.sessions.get(name)
        if session is None:
            rows = self.broker.query("client_replies", name)
            session = self.sessions[name] = Session(name, rows[0][0] if rows else b"")
        return session

    def leave(self, session: Session) -> None:
        """Its connection is closed."""
        session.disconnect()
        session.gone_at = self.clock.now()
        self._own(self._look_after(session))

    def part(self, session: Session, number: int) -> None:
        """The process says goodbye."""
        send = session.send

        async def work() -> None:
            with contextlib.suppress(MeshError):
                while session.writes():
                    await self.broker.turns.submit(_nothing)
                await self.end(session)
            if send:
                send(record((number, True, None)))

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
        if number in session.replies:
            session.answer(number, self._operations.recall(session.replies[number]))
        elif number not in session.open:
            operation = OPERATIONS.get(name)
            if operation is None:
                session.refuse(number, BrokerUnavailable(f"The host, {version('agentmesh')}, knows no {name!r}."))
                return
            try:
                values = operation.read(arguments)
                operation.run(self._operations, session, number, *values)
            except MeshError as error:
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
        for pause in (*_LOOKS, *([10.0] * (_GONE // 10_000))):
            await asyncio.sleep(pause)
            if session.send is not None or self.sessions.get(session.name) is not session:
                return
            if is_dead(session.name):
                break
        with contextlib.suppress(MeshError):
            await self.end(session)

    def _end_session(self, name: str) -> None:
        """Within a turn."""
        state = self.broker.state
        for task in [task for task in state.tasks.by_token.values() if task.holder == name]:
            state.tasks.renew(task, 0)
        state.changes.delete_client.append((name,))
        state.changes.rows += 1

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
        news, self._changed = record((0, True, sorted(self._changed))), set()
        for session in self.sessions.values():
            if session.send:
                session.send(news)


class Connection(asyncio.Protocol):
    """One connection: a hello, then requests."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._records = Records(HELLO)
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._host.connections.add(self)
        if not same_user(transport.get_extra_info("socket")):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            for raw in self._records.feed(data):
                if self._session is None:
                    self._greet(raw)
                else:
                    self._host.request(self._session, raw)
        except Rubbish as error:
            get_logger().warning("a connection sent what is not of the protocol and was cut", error=str(error))
            self.cut()

    def connection_lost(self, _: Exception | None) -> None:
        self._host.connections.discard(self)
        session, self._session = self._session, None
        if session and session.send == self._send:
            self._host.leave(session)

    def pause_writing(self) -> None:
        """The client does not read: ask it nothing more until it does."""
        if self._transport:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.resume_reading()

    def cut(self) -> None:
        if self._transport:
            self._transport.abort()

    def _greet(self, raw: bytes) -> None:
        assert self._transport
        hello = read_hello(raw)
        if hello.magic != MAGIC:
            raise Rubbish(f"A hello from {hello.magic!r}.")
        reason = refusal(hello.protocol, hello.version)
        self._transport.write(welcome("refused" if reason else "welcome", reason))
        if reason:
            self._transport.close()
            return
        self._records = Records()
        session = self._host.enter(hello.process)
        session.send = self._send
        self._session = session

    def _send(self, reply: bytes) -> None:
        """What is told in one turn goes in one piece."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(reply)

    def _flush(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()


class Doorbell(asyncio.Protocol):
    """What a program that hosts in its own loop listens with: whoever comes is asked to try again, and the store moves
    out meanwhile."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._records = Records(HELLO)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport
        try:
            for raw in self._records.feed(data):
                hello = read_hello(raw)
                if hello.magic != MAGIC:
                    raise Rubbish(f"A hello from {hello.magic!r}.")
                reason = refusal(hello.protocol, hello.version)
                self._transport.write(welcome("refused" if reason else "moving", reason))
                self._transport.close()
                if not reason:
                    self._ring()
                return
        except Rubbish:
            self._transport.abort()


def welcome(answer: str, reason: str = "") -> bytes:
    """The host's first record."""
    return record(Welcome(MAGIC, PROTOCOL, version("agentmesh"), answer, reason))


def refusal(protocol: int, theirs: str) -> str:
    """Why a client of that protocol cannot be served; nothing if it can."""
    if protocol == PROTOCOL:
        return ""
    return (
        f"This mesh is hosted by agentmesh {version('agentmesh')} (pid {os.getpid()}, protocol {PROTOCOL}), and this "
        f"is {theirs} (protocol {protocol}). Use one version on a folder: end one of the two, then begin again."
    )


def same_user(connection: Any) -> bool:
    """Whether the other side runs as our user, where the system tells (unix(7), SO_PEERCRED)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    uid = int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, option, 12)[4:8], "little", signed=True)
    return uid in (os.getuid(), 0)


def _nothing() -> None:
    """An operation that merely waits for its turn."""
