"""Finding whoever hosts a folder: connecting to it, starting one where nobody does, replacing one that is silent."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Final

from agentmesh.broker.local.folder import Folder, peer
from agentmesh.broker.local.spawn import Spawner
from agentmesh.broker.local.wire import MAGIC, PROTOCOL, Hello, Records, Rubbish, Welcome, read_welcome, record
from agentmesh.broker.process import is_dead
from agentmesh.errors import BrokerUnavailable
from agentmesh.log import get_logger

TICK: Final = 0.5
SILENT: Final = 10
"""Ticks without a word after which a host counts as frozen."""

_PATIENCE: Final = 20.0
"""How long (s) it is tried."""

_FAILURES: Final = 3
"""How many hosts that end at once are enough."""

_AGAIN: Final = 0.02


class Wire(asyncio.Protocol):
    """The client's side of one connection: a welcome, then records."""

    def __init__(self, on_records: Callable[[Sequence[bytes]], None], on_lost: Callable[["Wire"], None]) -> None:
        self.welcome: asyncio.Future[Welcome] = asyncio.get_running_loop().create_future()
        self.welcome.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.peer = 0
        self.socket: socket.socket | None = None
        self._on_records = on_records
        self._on_lost = on_lost
        self._records = Records()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            raws = self._records.feed(data)
            if raws and not self.welcome.done():
                self.welcome.set_result(read_welcome(raws.pop(0)))
            if raws:
                self._on_records(raws)
        except Rubbish as error:
            get_logger().debug("what listens at the socket sent what is not of the protocol", error=str(error))
            if not self.welcome.done():
                self.welcome.set_exception(error)
            self.abort()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.welcome.done():
            self.welcome.set_exception(ConnectionResetError("It was closed."))
        self._on_lost(self)

    def write(self, data: bytes) -> None:
        if self._transport:
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()


class Finder:
    """Finds the host of a folder for the process `process`; `options` are those of a host that it has to start."""

    def __init__(self, folder: Folder, process: str, options: Sequence[str]) -> None:
        self._folder = folder
        self._process = process
        self._spawner = Spawner(folder, options)

    async def find(self, make: Callable[[], Wire]) -> Wire:
        """A connection that is welcome. Raises `BrokerUnavailable`, with what is in the way."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _PATIENCE
        while True:
            found = await self._attempt(make)
            if isinstance(found, Wire):
                self._spawner.reached()
                return found
            if loop.time() > until or self._spawner.failures >= _FAILURES:
                self._spawner.failures = 0
                raise BrokerUnavailable(f"{self._folder.path}: {found}")
            await asyncio.sleep(_AGAIN)

    async def _attempt(self, make: Callable[[], Wire]) -> Wire | str:
        """Try once to reach a host; else what is in the way."""
        try:
            wire = await self._connect(make)
        except OSError:
            return self._start_host()
        answer = None
        try:
            wire.write(record(Hello(MAGIC, PROTOCOL, version("agentmesh"), self._process)))
            if not await _on_time(wire.welcome, SILENT):
                return self.replace_silent(wire.peer)
            answer = wire.welcome.result()
        except OSError:
            return "its host closed the connection."
        except Rubbish as error:
            problem = f"what listens at its socket is no agentmesh ({error})."
            return self._start_host() if self._folder.is_free() else problem
        finally:
            if answer is None or answer.answer != "welcome":
                wire.abort()
        if answer.answer == "refused":
            raise BrokerUnavailable(answer.reason)
        return wire if answer.answer == "welcome" else "it is moving to another process, which takes too long."

    async def _connect(self, make: Callable[[], Wire]) -> Wire:
        client = self._folder.connect()
        pid, _ = peer(client)
        _, wire = await asyncio.get_running_loop().create_unix_connection(make, sock=client)
        wire.peer, wire.socket = pid, client
        return wire

    def _start_host(self) -> str:
        if self._folder.is_free():
            return self._spawner.start()
        holder = self._folder.holder()
        who = f"pid {holder.pid}" if holder else "an unknown process"
        return f"{who} holds it and does not listen. End that process, or use another folder."

    def replace_silent(self, pid: int) -> str:
        """The process `pid`, to which we were connected, says nothing: kill it if it is the child that hosts; what to
        say about it. Raises `BrokerUnavailable` if it is somebody's program, and tells which.
        """
        if self._folder.is_free():
            return self._spawner.start()
        holder = self._folder.holder()
        if holder is None or is_dead(holder.process) or pid not in (0, holder.pid):
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


async def _on_time(future: "asyncio.Future[Any]", ticks: int) -> bool:
    """Wait for the future, for that many ticks of our loop that came on time. Whether it is done."""
    loop = asyncio.get_running_loop()
    while ticks and not future.done():
        began = loop.time()
        await asyncio.wait([future], timeout=TICK)
        if loop.time() - began < 2 * TICK:
            ticks -= 1
    return future.done()
