"""The child that hosts a folder: an embedded broker behind a socket, and no user code."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any, Final

from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.store import Store
from agentmesh.broker.local.folder import LOCK, Folder, Lock
from agentmesh.broker.local.host import Host
from agentmesh.broker.local.spawn import LOG, shorten
from agentmesh.broker.process import name_process
from agentmesh.clock import Clock
from agentmesh.log import get_logger
from agentmesh.registry.embedded import EmbeddedRegistry

IDLE: Final = 30.0
"""For how long (s) it stays after its last client."""

_LOOK: Final = 1.0
_TRIES: Final = 50
_TRY: Final = 0.02


class Hosting:
    """An open host: `async with Hosting(folder, clock) as hosting`. `hosting.host` is None if another one has the
    folder."""

    def __init__(self, path: str | Path, clock: Clock, *, full: bool = False, retention: int = 0) -> None:
        self.host: Host | None = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._folder = Folder(path)
        self._clock = clock
        self._full = full
        self._retention = retention
        self._lock: Lock | None = None

    async def __aenter__(self) -> "Hosting":
        folder = self._folder
        process = name_process()
        for _ in range(_TRIES):  # somebody may just be looking whether the lock is free
            self._lock = folder.take("child", process)
            if self._lock:
                break
            await asyncio.sleep(_TRY)
        else:
            return self
        try:
            await self._open(folder, process)
        except BaseException:
            self._lock.release()
            raise
        return self

    async def _open(self, folder: Folder, process: str) -> None:
        store = Store(folder.database, process, full=self._full)
        try:
            broker = EmbeddedBroker(
                store, self._clock, process=process, on_close=store.close, retention=self._retention
            )
            broker.turns.on_deposed = self._deposed
            self.host = Host(broker, EmbeddedRegistry(broker, self._clock), self._clock)
            await self.host.listen(folder.listen())
        except BaseException:
            store.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        if self.host and self._lock:
            await asyncio.sleep(0)  # what was told leaves
            self.host.stop()
            self.host.broker.end()
            self._lock.release()

    async def idle(self, seconds: float) -> None:
        """Return once nobody has been there for so long. Meanwhile see to the log, and to whether the folder is still
        ours."""
        left = seconds
        while self.host and left > 0:
            await asyncio.sleep(min(left, _LOOK))
            left = seconds - self.host.idle() / 1000
            self._look_at_log()
            if self._lock and not self._lock.is_of(self._folder.path / LOCK):
                self._deposed()

    def _look_at_log(self) -> None:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(2), os.stat(self._folder.path / LOG)):
                shorten(2)

    def _deposed(self) -> None:
        """Somebody else hosts, or may: our clients find out whom to ask."""
        self._end("the folder has another host")
        if self.host:
            self.host.stop()

    def _end(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_result(why)


async def serve(path: str | Path, clock: Clock, *, full: bool = False, retention: int = 0, idle: float = IDLE) -> str:
    """Host the folder until nobody needs it, or somebody else took it over. Why it ended, for a log line."""
    async with Hosting(path, clock, full=full, retention=retention) as hosting:
        if hosting.host is None:
            return "another host has the folder"
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, hosting._end, f"told to by {number.name}")
        waiting: asyncio.Future[Any] = loop.create_task(hosting.idle(idle))
        await asyncio.wait({waiting, hosting.ended}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        why = hosting.ended.result() if hosting.ended.done() else "nobody was there any more"
        get_logger().info("the host ends", why=why)
        return why
