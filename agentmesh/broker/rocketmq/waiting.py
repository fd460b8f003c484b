"""Waiting for something, by the clock that was passed in."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from agentmesh.clock import Clock, resolve


class Bell:
    """Any number wait for it, each with an event of its own: nobody who clears theirs takes a ring from another. Who
    has waited longest is told first.
    """

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Event, None] = {}

    def ring(self) -> None:
        """Tell everybody."""
        for event in self._listeners:
            event.set()

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set at every ring, to be cleared before one looks."""
        event = asyncio.Event()
        self._listeners[event] = None
        try:
            yield event
        finally:
            del self._listeners[event]


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
