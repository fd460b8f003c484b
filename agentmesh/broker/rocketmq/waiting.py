"""Waiting for something, by the clock that was passed in."""

import asyncio

from agentmesh.clock import Clock, resolve


async def happens(event: asyncio.Event, clock: Clock, until: int) -> bool:
    """Whether the event is set by then (ms)."""
    if event.is_set():
        return True
    if clock.now() >= until:
        return False
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = clock.call_at(until, lambda: resolve(over, None))
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((over, waiting), return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        waiting.cancel()
    return event.is_set()
