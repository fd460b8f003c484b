"""Time as a value that is passed in, so that tests and replays move it by hand."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from typing import Any, Protocol


class Timer(Protocol):
    """A callback that has not fired yet."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """The time in milliseconds since 1970 (UTC), and callbacks at a time."""

    def now(self) -> int: ...

    def call_at(self, when: int, callback: Callable[[], object]) -> Timer:
        """Call back once in the running loop at `when` (ms) or as soon as possible after it."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def call_at(self, when: int, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(max(0, when - self.now()) / 1000, callback)


class ManualClock:
    """A clock that stands still until `advance` moves it; timers fire in order of their time."""

    def __init__(self, now: int = 1_800_000_000_000) -> None:
        self._now = now
        self._order = itertools.count()
        self._timers: list[tuple[int, int, _ManualTimer]] = []

    def now(self) -> int:
        return self._now

    def call_at(self, when: int, callback: Callable[[], object]) -> Timer:
        timer = _ManualTimer(callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    async def advance(self, seconds: float) -> None:
        """Move on by `seconds`, firing what falls due on the way; the loop settles after each timer."""
        end = self._now + round(seconds * 1000)
        await settle()
        while self._timers and self._timers[0][0] <= end:
            when, _, timer = heapq.heappop(self._timers)
            self._now = max(self._now, when)
            if timer.callback is not None:
                timer.callback()
                await settle()
        self._now = end
        await settle()


class _ManualTimer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback: Callable[[], object] | None = callback

    def cancel(self) -> None:
        self.callback = None


async def settle(turns: int = 50) -> None:
    """Give everything that can run in this loop now the time to run."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def sleep(clock: Clock, seconds: float) -> None:
    """Wait `seconds` of the clock's time."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(clock.now() + round(seconds * 1000), lambda: resolve(done, None))
    try:
        await done
    finally:
        timer.cancel()


class Waiter(Protocol):
    """Who waits for an outcome: a future, or something like it."""

    def done(self) -> bool: ...

    def cancelled(self) -> bool: ...

    def set_result(self, value: Any, /) -> None: ...

    def set_exception(self, error: Any, /) -> None: ...


def resolve(future: Waiter, value: Any) -> None:
    """Give the future its result, unless it has one or was cancelled."""
    if not future.done():
        future.set_result(value)
