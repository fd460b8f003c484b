"""Words that the tests of several processes are written in."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from agentmesh import errors
from agentmesh.broker.local import LocalBroker, open_local
from agentmesh.broker.local.folder import Folder
from agentmesh.broker.process import is_dead
from agentmesh.clock import SystemClock
from agentmesh.errors import MeshError

TOPIC = "WorkTask"
SECONDS = 20.0


async def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Wait until it holds (it may be a coroutine function); returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, f"it does not come to hold within {seconds:g} s"
        await asyncio.sleep(0.01)


class Program:
    """Another process, which does what it is told (`puppet.py`)."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._listening = asyncio.create_task(self._listen())

    def ask(self, do: str, *arguments: Any, **more: Any) -> "asyncio.Future[Any]":
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        asked = {"n": number, "do": do, "with": arguments, "more": more}
        self._writer.write(json.dumps(asked).encode() + b"\n")
        return self._waiting[number]

    async def do(self, do: str, *arguments: Any, seconds: float = SECONDS, **more: Any) -> Any:
        async with asyncio.timeout(seconds):
            return await self.ask(do, *arguments, **more)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    async def end(self) -> None:
        self._listening.cancel()
        self._writer.close()
        with contextlib.suppress(ProcessLookupError):
            self.kill()

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            answer = json.loads(line)
            future = self._waiting.pop(answer["n"])
            if future.done():
                continue
            if "error" in answer:
                name, text = answer["error"]
                kind = getattr(errors, name, AssertionError)
                error = kind.__new__(kind)
                Exception.__init__(error, text)
                future.set_exception(error)
            else:
                future.set_result(answer["value"])


class Programs:
    """Starts programs; all of them, and the hosts of `folder`, are gone at the end."""

    def __init__(self, folder: Path, nursery: "subprocess.Popen[str]") -> None:
        self.folder = folder
        self._nursery = nursery
        self._programs: list[Program] = []

    async def start(self, *, opened: bool = True, **options: Any) -> Program:
        """One that has the folder open, unless told otherwise; `options` as for `open_local`."""
        came: asyncio.Future[Program] = asyncio.get_running_loop().create_future()

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.set_result(Program(json.loads(await reader.readline())["value"], reader, writer))

        with tempfile.TemporaryDirectory() as place:  # a path that is short enough for a socket
            server = await asyncio.start_unix_server(meet, f"{place}/s", limit=10_000_000)
            assert self._nursery.stdin
            self._nursery.stdin.write(f"{place}/s\n")
            self._nursery.stdin.flush()
            program = await came
            server.close()
        self._programs.append(program)
        if opened:
            await program.do("open", str(self.folder), **options)
        return program

    async def end(self) -> None:
        for program in self._programs:
            await program.end()
        self.end_host()

    def host(self) -> int:
        """The pid of whoever hosts."""
        holder = Folder(self.folder).holder()
        assert holder
        return holder.pid

    def host_kind(self) -> str:
        holder = Folder(self.folder).holder()
        return holder.kind if holder else ""

    async def killed_host(self) -> int:
        """Kill the child that hosts; its pid."""
        pid = self.host()
        assert self.host_kind() == "child"
        os.kill(pid, signal.SIGKILL)
        return pid

    def end_host(self) -> None:
        holder = Folder(self.folder).holder()
        if holder and holder.kind == "child" and not is_dead(holder.process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder.pid, signal.SIGKILL)


def nursery() -> "subprocess.Popen[str]":
    command = [sys.executable, str(Path(__file__).parent / "puppet.py")]
    return subprocess.Popen(command, stdin=subprocess.PIPE, text=True)


@contextlib.asynccontextmanager
async def joined(folder: Path, **options: Any) -> AsyncIterator[LocalBroker]:
    """The folder, open in this process."""
    broker = await open_local(folder, SystemClock(), **options)
    try:
        yield broker
    finally:
        with contextlib.suppress(MeshError):
            await broker.close()
