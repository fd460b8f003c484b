"""A client's connection to whoever hosts the folder, made again when it breaks.

Requests outlive connections: what was not answered is sent again, to the same host or the next one, under the same
number. When nobody hosts, the client starts a host; one that is silent for five seconds is replaced.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from agentmesh.broker.local.finder import SILENT, TICK, Finder, Wire
from agentmesh.broker.local.folder import Folder
from agentmesh.broker.local.wire import MAX_RECORD, WRITES, read_error, read_push, read_reply, record
from agentmesh.errors import BrokerUnavailable, PayloadCorrupt
from agentmesh.log import get_logger

Request = tuple[str, Sequence[Any]]
"""An operation and its arguments."""

_QUIET: Final = 2
"""Ticks without a word after which the host is asked."""

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
        self._restore = restore
        self._on_push = on_push
        self._on_orphan = on_orphan
        self._loop = asyncio.get_running_loop()
        self._finder = Finder(folder, process, options)
        self._pid = os.getpid()
        self._next = 1
        self._open: dict[int, Pending] = {}
        self._seen: list[int] = []
        self._out: list[bytes] = []
        self._wire: Wire | None = None
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
        seen = self._seen
        raw = self._record(number, operation, arguments)
        if len(raw) > MAX_RECORD:
            self._seen = seen
            raise PayloadCorrupt(f"{len(raw):,} bytes for one {operation}: {MAX_RECORD:,} is the limit. Send less.")
        self._open[number] = Pending(raw, future, read, otherwise, operation in WRITES)
        if self._wire:
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
        if self._wire:
            self._send(self._record(0, operation, arguments))

    def check_open(self) -> None:
        if self.closed:
            raise BrokerUnavailable("This broker is closed.")
        if os.getpid() != self._pid:
            raise BrokerUnavailable("This mesh was opened before a fork. Open it in one process, after the fork.")
        if asyncio.get_running_loop() is not self._loop:
            raise BrokerUnavailable("This mesh belongs to another event loop. Open one of its own there.")

    async def close(self) -> None:
        """Say goodbye, if anybody is there, and end."""
        if self.closed:
            return
        if self._wire:
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

    def abandon(self) -> None:
        """Let go of the connection; the loop that this link belonged to is over."""
        self.closed = True
        if self._wire and self._wire.socket:
            with contextlib.suppress(OSError):
                self._wire.socket.shutdown(socket.SHUT_RDWR)

    def _record(self, number: int, operation: str, arguments: Sequence[Any]) -> bytes:
        seen, self._seen = self._seen, []
        return record((number, seen, operation, arguments))

    def _cancel(self, number: int) -> None:
        pending = self._open.get(number)
        if pending is None:
            return
        if self._wire:
            self.tell("cancel", (number,))
        elif not pending.keep:
            del self._open[number]

    def _send(self, raw: bytes) -> None:
        """What is asked for in one turn of the loop goes in one piece."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(raw)

    def _flush(self) -> None:
        if self._wire and self._out:
            self._wire.write(b"".join(self._out))
        self._out.clear()

    # What the protocol tells

    def _received(self, raws: Sequence[bytes]) -> None:
        """Records from the host."""
        self._heard = True
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

    def _lost(self, wire: Wire) -> None:
        """The connection is gone."""
        if wire is self._wire:
            self._lose()
            self._reconnect()

    def _lose(self) -> None:
        if self._ticking:
            self._ticking.cancel()
        wire, self._wire = self._wire, None
        self._out.clear()
        if wire:
            wire.abort()

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
        wire = await self._finder.find(lambda: Wire(self._received, self._lost))
        self._begin(wire)

    def _begin(self, wire: Wire) -> None:
        """A host is there: tell it what it has to know, then ask again what is open."""
        self._wire = wire
        for operation, arguments in (("keep", (list(self._open),)), *self._restore(), ("here", ())):
            wire.write(self._record(self._next, operation, arguments))
            self._next += 1
        for number, pending in list(self._open.items()):
            if not pending.future.cancelled():
                wire.write(pending.record)
            elif pending.keep:
                wire.write(pending.record + self._record(0, "cancel", (number,)))
            else:
                del self._open[number]
        self._quiet, self._heard = 0, True
        self._tick_at = self._loop.time() + TICK
        self._ticking = self._loop.call_at(self._tick_at, self._tick)

    def _tick(self) -> None:
        """Count the ticks without a word from the host. A tick that comes late counts for nothing: it was our own loop
        that stood still."""
        late = self._loop.time() - self._tick_at > TICK
        self._quiet = 0 if self._heard or late else self._quiet + 1
        self._heard = False
        if self._quiet >= SILENT and self._wire:
            with contextlib.suppress(BrokerUnavailable):
                self._finder.replace_silent(self._wire.peer)
            self._lose()
            self._reconnect()
            return
        if self._quiet == _QUIET:
            self.request("ping", (), _as_is)
        self._tick_at = self._loop.time() + TICK
        self._ticking = self._loop.call_at(self._tick_at, self._tick)


def _as_is(value: Any) -> Any:
    return value
