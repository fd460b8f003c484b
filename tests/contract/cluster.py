"""The backend whose servers are RocketMQ's: their wall clock is moved together with ours."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from contract.kit import FOLDER

from agentmesh.broker.rocketmq import open_rocketmq
from agentmesh.broker.rocketmq.address import read_address
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.clock import ManualClock, SystemClock, Timer
from agentmesh.contracts import Broker
from agentmesh.ids import new_token

_OWN = Path(FOLDER, os.environ.get("PYTEST_XDIST_WORKER", "gw0"))
"""Of the one for this process: whoever moves a clock is alone with it."""

_SETTLES = 3.5
"""Seconds of real time in which what is on its way arrives, and what servers look after once a second is done."""


class ServersClock(ManualClock):
    """Time goes on by itself, as the servers' does; `advance` jumps, theirs and ours."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._system = SystemClock()
        self._waiting: dict[_Jumping, None] = {}

    @property
    def shift(self) -> int:
        """Nanoseconds."""
        return int.from_bytes(self._file.read_bytes()[:8], "little", signed=True)

    def now(self) -> int:
        return self._system.now() + self.shift // 1_000_000

    def call_at(self, when: int, callback: Callable[[], object]) -> Timer:
        timer = _Jumping(self, when, callback)
        self._waiting[timer] = None
        return timer

    def forget(self, timer: "_Jumping") -> None:
        self._waiting.pop(timer, None)

    async def advance(self, seconds: float) -> None:
        """Jump, and give the servers the time to notice."""
        if seconds >= 1:
            jumped = self.shift + round(seconds * 1_000_000_000)
            with self._file.open("r+b") as file:
                file.write(jumped.to_bytes(8, "little", signed=True))
            for timer in list(self._waiting):
                timer.again()
        await asyncio.sleep(_SETTLES)


class _Jumping:
    """A timer that is set anew when time jumps."""

    def __init__(self, clock: ServersClock, when: int, callback: Callable[[], object]) -> None:
        self._clock = clock
        self._when = when
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = None
        self.again()

    def again(self) -> None:
        if self._handle:
            self._handle.cancel()
        wait = max(0, self._when - self._clock.now()) / 1000
        self._handle = asyncio.get_running_loop().call_later(wait, self._fire)

    def _fire(self) -> None:
        self._clock.forget(self)
        self._callback()

    def cancel(self) -> None:
        self._clock.forget(self)
        if self._handle:
            self._handle.cancel()


def servers_clock() -> ServersClock:
    """That of the servers of this process."""
    return ServersClock(_OWN / "clock")


class Cluster:
    """A mesh of its own in the cluster."""

    def __init__(self) -> None:
        self.clock = servers_clock()
        self._namespace = "t" + new_token().replace("-", "x").replace("_", "y")[:10]

    @property
    def _url(self) -> str:
        return f"{(_OWN / 'url').read_text().strip()}&namespace={self._namespace}"

    async def open(self) -> Broker:
        return await open_rocketmq(self._url, self.clock)

    async def sweep(self) -> None:
        """Leave nothing behind: servers look after what they have every second or two."""
        remoting = Remoting(read_address(self._url))
        groups, topics = await asyncio.gather(remoting.groups(), remoting.topics())
        await asyncio.gather(*(remoting.delete_group(each) for each in groups if self._namespace in each))
        await asyncio.gather(*(remoting.delete_topic(each) for each in topics if self._namespace in each))
        await remoting.close()
