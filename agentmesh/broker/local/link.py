"""A client's connection to whoever hosts the folder, made again when it breaks.

Requests outlive connections: what was not answered is sent again, to the same host or the next one, under the same
number. When nobody hosts, the client starts a host; one that is silent for five seconds is replaced.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Final

from agentmesh.broker.local.folder import Folder
from agentmesh.broker.local.spawn import Spawner
from agentmesh.broker.local.wire import (
    MAGIC,
    PROTOCOL,
    WRITES,
    Hello,
    Records,
    Rubbish,
    Welcome,
    read_error,
    read_push,
    read_reply,
    read_welcome,
    record,
)
from agentmesh.broker.process import is_dead
from agentmesh.errors import BrokerUnavailable
from agentmesh.log import get_logger

Request = tuple[str, Sequence[Any]]
"""An operation and its arguments."""

_TICK: Final = 0.5
_QUIET: Final = 2
_SILENT: Final = 10
"""Ticks without a word: after the first number the host is asked, after the second it counts as frozen."""

_PATIENCE: Final = 20.0
"""How long (s) requests wait for a host before they fail."""

_AGAIN: Final = 0.02
_FAILS: Final = object()


class Pending:
    """A request that is not answered yet."""

    __slots__ = ("future", "otherwise", "read", "record", "writes")

    def __init__(
        self, raw: bytes, future: "asyncio.Future[Any]", read: Callable[[Any], Any], otherwise: Any, writes: bool
    ) -> None:
        self.writes = writes
        self.record = raw
        self.future = future
        self.read = read
        self.otherwise = otherwise

    @property
    def keep(self) -> bool:
        """Whether its answer is wanted even if nobody waits: it may bring leases."""
        return isinstance(self.otherwise, tuple)


class Link:
    """The connection of the process `process`. `restore` tells what a new host has to know before all else; `on_push`
    gets what the host says unasked; `on_orphan` the answer to a request of leases that nobody waits for any more;
    `options` are those of a host that it has to start.
    """

    def __init__(
        self,
        folder: Folder,
        process: str,
        restore: Callable[[], Sequence[Request]],
        on_push: Callable[[Sequence[str]], None],
        on_orphan: Callable[[Any], None],
        options: Sequence[str] = (),
    ) -> None:
        self.closed = False
        self._folder = folder
        self._process = process
        self._restore = restore
        self._on_push = on_push
        self._on_orphan = on_orphan
        self._loop = asyncio.get_running_loop()
        self._spawner = Spawner(folder, options)
        self._pid = os.getpid()
        self._next = 1
        self._open: dict[int, Pending] = {}
        self._seen: list[int] = []
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._welcome: asyncio.Future[Welcome] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._heard = False
        self._quiet = 0
        self._tick_at = 0.0

    async def open(self) -> None:
        """Find a host, or start one. Raises `BrokerUnavailable`."""
        await self._connect()

    def request(
        self, operation: str, arguments: Sequence[Any], read: Callable[[Any], Any], otherwise: Any = _FAILS
    ) -> "asyncio.Future[Any]":
        """Ask the host; `read` makes the result of its answer, and `otherwise` is what a request that waits for
        something comes to when the link is closed."""
        self.check_open()
        number = self._next
        self._next += 1
        future: asyncio.Future[Any] = self._loop.create_future()
        raw = self._record(number, operation, arguments)
        self._open[number] = Pending(raw, future, read, otherwise, operation in WRITES)
        if self._transport:
            self._send(raw)
        elif not self._connecting:
            self._reconnect()
        return future

    async def ask(
        self, operation: str, arguments: Sequence[Any], read: Callable[[Any], Any], otherwise: Any = _FAILS
    ) -> Any:
        """As `request`, waiting for the answer; being cancelled cancels the request."""
        number = self._next
        future = self.request(operation, arguments, read, otherwise)
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.done() and isinstance(otherwise, tuple) and not future.exception():
                self._on_orphan(future.result())  # it came just before
            self._cancel(number)
            raise

    def tell(self, operation: str, arguments: Sequence[Any]) -> None:
        """Say something that needs no answer. When nobody is there, it is said by `restore`."""
        self.check_open()
        if self._transport:
            self._send(self._record(0, operation, arguments))

    def check_open(self) -> None:
        if self.closed:
            raise BrokerUnavailable("This broker is closed.")
        if os.getpid() != self._pid:
            raise BrokerUnavailable("This mesh was opened before a fork. Open it in one process, after the fork.")

    async def close(self) -> None:
        """Say goodbye, if anybody is there, and end."""
        if self.closed:
            return
        if self._transport:
            goodbye = self.request("bye", (), _as_is)
            with contextlib.suppress(TimeoutError, BrokerUnavailable):
                async with asyncio.timeout(5):
                    await goodbye
        self.closed = True
        if self._connecting:
            self._connecting.cancel()
        self._lose()
        for pending in self._open.values():
            if not pending.future.done() and pending.otherwise is not _FAILS:
                pending.future.set_result(pending.otherwise)
        self._fail(BrokerUnavailable("This broker is closed."))

    def _record(self, number: int, operation: str, arguments: Sequence[Any]) -> bytes:
        seen, self._seen = self._seen, []
        return record((number, seen, operation, arguments))

    def _cancel(self, number: int) -> None:
        pending = self._open.get(number)
        if pending is None:
            return
        if self._transport:
            self.tell("cancel", (number,))
        elif not pending.keep:
            del self._open[number]

    def _send(self, raw: bytes) -> None:
        """What is asked for in one turn of the loop goes in one piece."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(raw)

    def _flush(self) -> None:
        if self._transport and self._out:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    # What the protocol tells

    def received(self, raws: Sequence[bytes]) -> None:
        """Records from the host."""
        self._heard = True
        if self._welcome and not self._welcome.done():
            self._welcome.set_result(read_welcome(raws[0]))
            raws = raws[1:]
        for raw in raws:
            number, well, value = read_reply(raw)
            if not number:
                self._on_push(read_push(value))
                continue
            pending = self._open.pop(number, None)
            if pending is None:
                continue
            if pending.writes:
                self._seen.append(number)
            if not pending.future.done():
                self._settle(pending, well, value)
            elif pending.keep and well:
                self._on_orphan(pending.read(value))

    def _settle(self, pending: Pending, well: bool, value: Any) -> None:
        try:
            if well:
                pending.future.set_result(pending.read(value))
            else:
                pending.future.set_exception(read_error(value))
        except Exception as error:
            pending.future.set_exception(error)

    def lost(self, transport: asyncio.BaseTransport) -> None:
        """The connection is gone."""
        if self._welcome and not self._welcome.done():
            self._welcome.set_exception(ConnectionResetError("It was closed."))
        if transport is self._transport:
            self._lose()
            if self._open or not self.closed:
                self._reconnect()

    def _lose(self) -> None:
        if self._ticking:
            self._ticking.cancel()
        transport, self._transport = self._transport, None
        self._out.clear()
        if transport:
            transport.abort()

    # Connecting

    def _reconnect(self) -> None:
        if not self.closed and not self._connecting:
            self._connecting = self._loop.create_task(self._come_back())

    async def _come_back(self) -> None:
        try:
            await self._connect()
        except BrokerUnavailable as error:
            get_logger().error("no host can be reached", error=str(error))
            self._fail(error)
        finally:
            self._connecting = None

    def _fail(self, error: BrokerUnavailable) -> None:
        pending, self._open = self._open, {}
        for each in pending.values():
            if not each.future.done():
                each.future.set_exception(error)
                each.future.exception()  # whoever waits sees it; nobody need

    async def _connect(self) -> None:
        until = self._loop.time() + _PATIENCE
        while True:
            problem = await self._attempt()
            if not problem:
                return
            if self._loop.time() > until:
                raise BrokerUnavailable(f"{self._folder.path}: {problem}")
            await asyncio.sleep(_AGAIN)

    async def _attempt(self) -> str:
        """Try once to reach a host; nothing if it worked, else what is in the way."""
        self._welcome = self._loop.create_future()
        try:
            client = self._folder.connect()
            transport, _ = await self._loop.create_unix_connection(lambda: _Protocol(self), sock=client)
        except OSError:
            return self._start_host()
        transport.write(record(Hello(MAGIC, PROTOCOL, version("agentmesh"), self._process)))
        try:
            if not await on_time(self._welcome, _SILENT):
                transport.abort()
                return self._replace_silent()
            answer = self._welcome.result()
        except OSError:
            return "its host closed the connection."
        except Rubbish as error:
            transport.abort()
            return f"what listens at its socket is no agentmesh ({error})."
        if answer.answer == "welcome":
            self._begin(transport)
            return ""
        transport.abort()
        if answer.answer == "refused":
            raise BrokerUnavailable(answer.reason)
        return "it is moving to another process, which takes too long."

    def _start_host(self) -> str:
        if self._folder.is_free():
            return self._spawner.start()
        holder = self._folder.holder()
        who = f"pid {holder.pid}" if holder else "an unknown process"
        return f"{who} holds it and does not listen. End that process, or use another folder."

    def _begin(self, transport: asyncio.Transport) -> None:
        """A host is there: tell it what it has to know, then ask again what is open."""
        self._transport = transport
        for operation, arguments in (("keep", (list(self._open),)), *self._restore()):
            transport.write(self._record(self._next, operation, arguments))
            self._next += 1
        for number, pending in list(self._open.items()):
            if not pending.future.cancelled():
                transport.write(pending.record)
            elif pending.keep:
                transport.write(pending.record + self._record(0, "cancel", (number,)))
            else:
                del self._open[number]
        self._quiet, self._heard = 0, True
        self._tick_at = self._loop.time() + _TICK
        self._ticking = self._loop.call_at(self._tick_at, self._tick)

    def _tick(self) -> None:
        """Count the ticks without a word from the host. A tick that comes late counts for nothing: it was our own loop
        that stood still."""
        late = self._loop.time() - self._tick_at > _TICK
        self._quiet = 0 if self._heard or late else self._quiet + 1
        self._heard = False
        self._spawner.reap()
        if self._quiet >= _SILENT:
            with contextlib.suppress(BrokerUnavailable):
                self._replace_silent()
            self._lose()
            self._reconnect()
            return
        if self._quiet == _QUIET:
            self.request("ping", (), _as_is)
        self._tick_at = self._loop.time() + _TICK
        self._ticking = self._loop.call_at(self._tick_at, self._tick)

    def _replace_silent(self) -> str:
        """The host says nothing: kill it if it is the child, and tell who it is if it is somebody's program."""
        holder = self._folder.holder()
        if holder is None or is_dead(holder.process) or self._folder.is_free():
            return "its host does not answer."
        if holder.kind == "program":
            raise BrokerUnavailable(
                f"{self._folder.path} is held by the program with pid {holder.pid}, which does not answer: it may be "
                "stopped, or busy in a function that blocks. End it, or use another folder."
            )
        get_logger().warning("the host is silent and is replaced", pid=holder.pid)
        with contextlib.suppress(OSError):
            os.kill(holder.pid, signal.SIGKILL)
        return "its host was silent and had to be killed."


class _Protocol(asyncio.Protocol):
    """Hands what comes to the link."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._records = Records()
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            raws = self._records.feed(data)
            if raws:
                self._link.received(raws)
        except Rubbish as error:
            get_logger().error("the host sent what is not of the protocol", error=str(error))
            assert isinstance(self._transport, asyncio.Transport)
            self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        assert self._transport
        self._link.lost(self._transport)


async def on_time(future: "asyncio.Future[Any]", ticks: int) -> bool:
    """Wait for the future, for that many ticks of our loop that came on time. Whether it is done."""
    loop = asyncio.get_running_loop()
    while ticks and not future.done():
        began = loop.time()
        await asyncio.wait([future], timeout=_TICK)
        if loop.time() - began < 2 * _TICK:
            ticks -= 1
    return future.done()


def _as_is(value: Any) -> Any:
    return value
