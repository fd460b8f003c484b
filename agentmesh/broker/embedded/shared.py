"""One broker per store and process: every mesh of the process that opens the same store gets the same broker."""

import asyncio
import os
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from agentmesh.errors import BrokerUnavailable


class Sharable(Protocol):
    """A broker that counts its users."""

    users: int

    def abandon(self) -> None: ...


B = TypeVar("B", bound=Sharable)


class Shared(Generic[B]):
    """The brokers that are open, by URL. A broker belongs to one event loop."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[B, asyncio.AbstractEventLoop]] = {}
        self._inherited: list[object] = []

    def disown(self) -> None:
        """In a forked child: what is open is the parent's. It is kept, since to close it would touch the parent's file
        (sqlite.org/howtocorrupt.html, 2.6)."""
        self._inherited.extend(self._open.values())
        self._open.clear()

    def open(self, url: str, make: Callable[[Callable[[], None]], B]) -> B:
        """The open broker of `url`, else what `make` makes; it gets what to call when the broker is closed.

        Raises `BrokerUnavailable` if a loop that still runs in another thread has it open.
        """
        loop = asyncio.get_running_loop()
        found = self._open.get(url)
        if found and found[1].is_running() and found[1] is not loop:
            raise BrokerUnavailable(f"{url} is open in another event loop of this process, {os.getpid()}.")
        if found and found[1] is loop:
            found[0].users += 1
            return found[0]
        if found:  # its loop ended without closing it
            found[0].abandon()

        def forget() -> None:
            self._open.pop(url, None)

        broker = make(forget)
        self._open[url] = broker, loop
        return broker
