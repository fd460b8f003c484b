"""The backend whose host is another process: the clocks of both are moved together."""

import atexit
import functools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from agentmesh.broker.local import LocalBroker, open_local
from agentmesh.broker.local.folder import Folder
from agentmesh.broker.local.remote import Belongings, Remote
from agentmesh.broker.process import name_process
from agentmesh.clock import ManualClock, settle


class BothClocks(ManualClock):
    """Ours, and that of the host."""

    def __init__(self, host: "HostProcess", now: int) -> None:
        super().__init__(now)
        self._host = host

    async def advance(self, seconds: float) -> None:
        await settle()
        await self._host.advance(seconds)
        await super().advance(seconds)
        await self._host.catch_up()
        await settle()


class HostProcess:
    """`manual_host.py` and a connection to move its clock."""

    def __init__(self, folder: Path, now: int) -> None:
        self.clock = BothClocks(self, now)
        self._folder = folder
        self._pid = 0
        self._control: Remote | None = None
        self._brokers: list[LocalBroker] = []

    async def open(self, *, alone: bool) -> LocalBroker:
        if not self._pid:
            await self._start()
        broker = await open_local(self._folder, self.clock, alone=alone)
        self._brokers = [each for each in self._brokers if each.users > 0]
        self._brokers.append(broker)
        return broker

    async def _start(self) -> None:
        hosts = _hosts()
        assert hosts.stdin
        assert hosts.stdout
        hosts.stdin.write(f"{self._folder} {self.clock.now()}\n")
        hosts.stdin.flush()
        self._pid = int(hosts.stdout.readline())
        self._control = Remote(Folder(self._folder), name_process(), Belongings())
        await self._control.link.open()

    async def advance(self, seconds: float) -> None:
        """What was asked for so far comes first, and what the time brings has arrived when this returns."""
        await self.catch_up()
        if self._control:
            await self._control.link.ask("advance", (seconds,), _ignore)
        await self.catch_up()

    async def catch_up(self) -> None:
        for broker in self._brokers:
            if broker.remote and not broker.remote.link.closed:
                await broker.remote.link.ask("ping", (), _ignore)
        await settle()

    async def stop(self) -> None:
        if self._control:
            await self._control.close()
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)


@functools.cache
def _hosts() -> "subprocess.Popen[str]":
    """One process for all hosts: what they import is there already."""
    command = [sys.executable, str(Path(__file__).parent / "manual_host.py")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.kill)
    return process


def _ignore(_: Any) -> None:
    """Its arriving is all."""
