"""The clock that is moved by hand, and the machine's."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmesh.clock import Clock, ManualClock, SystemClock, resolve, sleep


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(1000)
    await asyncio.sleep(0)
    assert clock.now() == 1000
    await clock.advance(1.5)
    assert clock.now() == 2500


@given(st.lists(st.integers(0, 5000), max_size=20), st.lists(st.integers(0, 2000), max_size=5))
def test_timers_fire_in_order_at_their_time_and_once(times: list[int], steps: list[int]) -> None:
    clock = ManualClock(0)
    fired: list[tuple[int, int]] = []

    async def run() -> None:
        for number, when in enumerate(times):
            clock.call_at(when, lambda number=number: fired.append((clock.now(), number)))
        for step in steps:
            await clock.advance(step / 1000)

    asyncio.run(run())
    end = sum(steps)
    due = sorted((when, number) for number, when in enumerate(times) if when <= end and steps)
    assert fired == due
    assert clock.now() == end


async def test_a_timer_may_set_another_that_falls_due_on_the_way() -> None:
    clock, fired = ManualClock(0), []

    def again() -> None:
        fired.append(clock.now())
        clock.call_at(clock.now() + 1000, again)

    clock.call_at(500, again)
    await clock.advance(3)
    assert fired == [500, 1500, 2500]


async def test_a_timer_in_the_past_fires_with_the_next_move_and_time_does_not_go_back() -> None:
    clock, fired = ManualClock(5000), []
    clock.call_at(10, lambda: fired.append(clock.now()))
    await clock.advance(0)
    assert fired == [5000]


async def test_a_cancelled_timer_does_not_fire() -> None:
    clock, fired = ManualClock(0), []
    clock.call_at(10, lambda: fired.append(1)).cancel()
    await clock.advance(1)
    assert fired == []


async def test_the_loop_settles_after_each_timer() -> None:
    clock, seen = ManualClock(0), []

    async def ticking() -> None:
        for _ in range(3):
            await sleep(clock, 1)
            seen.append(clock.now())

    task = asyncio.create_task(ticking())
    await clock.advance(10)
    assert task.done()
    assert seen == [1000, 2000, 3000]


@pytest.mark.parametrize("clock", [ManualClock(), SystemClock()])
async def test_a_sleep_that_is_cancelled_leaves_no_timer_behind(clock: Clock) -> None:
    task = asyncio.create_task(sleep(clock, 60))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_machines_clock_tells_milliseconds_and_calls_back() -> None:
    clock = SystemClock()
    assert abs(clock.now() - time.time() * 1000) < 1000
    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    then = clock.now() + 5
    clock.call_at(then, lambda: resolve(done, clock.now()))
    assert await asyncio.wait_for(done, 5) >= then - 1
    late: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    clock.call_at(clock.now() - 1000, lambda: resolve(late, 1))
    assert await asyncio.wait_for(late, 5) == 1


async def test_a_future_keeps_its_first_result() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    resolve(future, 1)
    resolve(future, 2)
    assert await future == 1
    gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    gone.cancel()
    resolve(gone, 1)
    assert gone.cancelled()
