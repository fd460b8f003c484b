"""Hours of calls in a short time: does memory grow, does the file, and how long is the loop held?

Calls come at a steady rate while every so often the clock leaps on by an hour. So each call's log ends as many leaps
later as its life has hours, and once the first do, as much is removed as is added: nothing may grow from then on. What
is not real is only how many calls an hour has; all that is done for each of them is.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from agentmesh.broker.local import LocalBroker, open_local
from agentmesh.cli.bench.call import BODY, TOPIC, wake, work
from agentmesh.cli.bench.lite import rss
from agentmesh.clock import Timer
from agentmesh.contracts import Delivery
from agentmesh.ids import new_id
from agentmesh.message import Message

LEAPS: Final = 60
_HOUR: Final = 3_600_000
_WORKERS: Final = 16
_TICK: Final = 0.001


class LeapingClock:
    """The machine's clock, and the hours that were leapt over."""

    def __init__(self) -> None:
        self._leapt = 0
        self._order = itertools.count()
        self._timers: list[tuple[int, int, _Timer]] = []

    def now(self) -> int:
        return time.time_ns() // 1_000_000 + self._leapt

    def call_at(self, when: int, callback: Callable[[], object]) -> Timer:
        timer = _Timer(callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    def leap(self) -> None:
        """An hour passes at once."""
        self._leapt += _HOUR

    async def run(self) -> None:
        """Fire what falls due, until cancelled."""
        while True:
            await asyncio.sleep(_TICK)
            while self._timers and self._timers[0][0] <= self.now():
                heapq.heappop(self._timers)[2].callback()


class _Timer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback

    def cancel(self) -> None:
        self.callback = _nothing


def _nothing() -> None:
    """What a cancelled timer does."""


class Stalls:
    """How late a timer of every millisecond fires (ms): for so long the loop was held, by whomever."""

    def __init__(self) -> None:
        self.late: list[float] = []

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_TICK)
            self.late.append((time.perf_counter() - began - _TICK) * 1000)

    def figures(self) -> dict[str, float]:
        late = sorted(self.late)
        return {"stall_p99_ms": round(late[int(len(late) * 0.99)], 2), "stall_max_ms": round(late[-1], 2)}


async def measure(folder: Path, seconds: float, rate: int) -> dict[str, Any]:
    """The row of `agentmesh bench soak`."""
    idle = await _idle()
    clock = LeapingClock()
    ticking = asyncio.create_task(clock.run())
    broker = await open_local(folder, clock)
    stalls = Stalls()
    try:
        await broker.declare(TOPIC, Delivery(lease=86_400))
        workers = [asyncio.create_task(work(broker, f"worker-{number}")) for number in range(_WORKERS)]
        workers.append(asyncio.create_task(stalls.run()))
        try:
            half, end, longest_wal, per_s = await _load(broker, clock, folder, seconds, rate)
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    finally:
        await broker.close()
        ticking.cancel()
    figures = {
        "per_s": per_s,
        "wal_max_mb": longest_wal,
        **{f"{name}_at_half": value for name, value in half.items()},
        **{f"{name}_at_end": value for name, value in end.items()},
        **stalls.figures(),
    }
    ratio = {name: round(end[name] / half[name], 3) for name in half}
    return {"name": "soak", "figures": figures, "floor": idle, "ratio": ratio}


async def _idle() -> dict[str, float]:
    """The stalls of a loop that does nothing else."""
    stalls = Stalls()
    watching = asyncio.create_task(stalls.run())
    await asyncio.sleep(2)
    watching.cancel()
    return stalls.figures()


async def _load(
    broker: LocalBroker, clock: LeapingClock, folder: Path, seconds: float, rate: int
) -> tuple[dict[str, float], dict[str, float], float, int]:
    """Sizes at half the time and at the end, the longest write-ahead log (MB), and how many calls a second ended."""
    inbox = broker.inbox("soak")
    waiting: dict[str, asyncio.Future[None]] = {}
    waking = asyncio.create_task(wake(inbox, waiting))
    began = time.perf_counter()
    half: dict[str, float] = {}
    longest = 0.0
    leaps = calls = 0
    open_calls: set[asyncio.Task[None]] = set()

    async def call() -> None:
        name = new_id("call")
        done = waiting[name] = asyncio.get_running_loop().create_future()
        await inbox.subscribe(name, -1)
        await broker.publish(Message(id=name, topic=TOPIC, body=BODY, deadline=clock.now() + 3 * _HOUR))
        await done

    while (passed := time.perf_counter() - began) < seconds:
        due = int(passed * rate) - calls
        for _ in range(min(due, 64 - len(open_calls))):
            task = asyncio.create_task(call())
            open_calls.add(task)
            task.add_done_callback(open_calls.discard)
            calls += 1
        if passed > (leaps + 1) * seconds / LEAPS:
            leaps += 1
            clock.leap()
            longest = max(longest, _megabytes(folder / "mesh.db-wal"))
        if not half and passed > seconds / 2:
            half = _sizes(folder)
        await asyncio.sleep(_TICK)
    end = _sizes(folder)
    await asyncio.gather(*open_calls)
    waking.cancel()
    return half, end, longest, round(calls / seconds)


def _sizes(folder: Path) -> dict[str, float]:
    return {"rss_mb": round(rss(), 1), "file_mb": _megabytes(folder / "mesh.db")}


def _megabytes(path: Path) -> float:
    return round(path.stat().st_size / 1e6, 1)
