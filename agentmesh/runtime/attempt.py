"""One attempt at a task: its lease, its slot, its time, and why it was stopped."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from agentmesh.clock import Timer, resolve
from agentmesh.errors import LeaseLost
from agentmesh.ids import digest
from agentmesh.message import Draft

if TYPE_CHECKING:
    from agentmesh.contracts import Lease
    from agentmesh.runtime.client import Client

T = TypeVar("T")
GRACE: Final = 5000
"""How long (ms) a cancelled handler may take to end."""

Reason = Literal["", "cancelled", "lost", "timeout", "deadline", "released"]


class Slots:
    """How many handlers may run at once in a worker."""

    def __init__(self, count: int) -> None:
        self.free = count
        self._waiters: list[asyncio.Future[None]] = []

    async def wait(self) -> int:
        """The number of free slots, as soon as there is one."""
        while self.free < 1:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        return self.free

    def take(self) -> None:
        """Take one; beyond the last, the next ones wait longer."""
        self.free -= 1

    def give(self) -> None:
        self.free += 1
        if self._waiters and self.free > 0:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                resolve(waiter, None)


class Attempt:
    """A leased message while its handler runs.

    `reason` says why it was stopped, `asking` how many answers of a person it waits for, `steps` what earlier attempts
    recorded.
    """

    __slots__ = (
        "_ends",
        "_give_up",
        "_left",
        "_slots",
        "_timer",
        "_waits",
        "asking",
        "client",
        "concluded",
        "lease",
        "message",
        "reason",
        "steps",
        "task",
    )

    def __init__(
        self, client: "Client", lease: "Lease", slots: Slots, timeout: float, give_up: Callable[["Attempt"], None]
    ) -> None:
        self.client = client
        self.lease = lease
        self.message = lease.message
        self.reason: Reason = ""
        self.steps: dict[str, Any] = {}
        self.task: asyncio.Task[None] | None = None
        self.concluded = False
        self.asking = 0
        self._waits = 0
        self._slots = slots
        self._give_up = give_up
        self._left: float | None = timeout * 1000 if timeout else None
        self._ends = 0
        self._timer: Timer | None = None
        slots.take()
        self._run_time()

    def stop(self, reason: Reason) -> None:
        """Cancel the handler; the first reason counts. One that does not end within five seconds is given up."""
        if not self.reason and not self.concluded:
            self.reason = reason
            self._stop_time()
            self._timer = self.client.clock.call_at(self.client.clock.now() + GRACE, lambda: self._give_up(self))
            if self.task:
                self.task.cancel()

    def conclude(self) -> None:
        """The handler is done or given up: no more time, and the slot is free."""
        if not self.concluded:
            self.concluded = True
            self._stop_time()
            self._slots.give()

    async def write(self, drafts: Sequence[Draft]) -> None:
        """Append entries of this attempt to the call's log. Raises `LeaseLost`, which also stops the handler."""
        client, lease = self.client, self.lease
        stamped = await client.bodies.written(self.message.tenant, drafts, lease)
        try:
            await client.broker.append(self.message.log, stamped, lease=lease)
        except LeaseLost:
            self.stop("lost")
            raise

    async def write_step(self, step: dict[str, Any], *, end: bool) -> None:
        """Record a step: that it began, or how it ended."""
        await self.write([Draft("step", step, id=f"step-{digest(step['key'])}-{'end' if end else 'begin'}")])
        self.steps[step["key"]] = step

    async def waiting(self, waited: Coroutine[Any, Any, T]) -> T:
        """Await something outside; meanwhile the slot is somebody else's, and the attempt's time stands still."""
        self._waits += 1
        if self._waits == 1:
            self._stop_time()
            self._run_time(paused=True)
            self._slots.give()
        try:
            result = await waited
            if self._waits == 1:
                await self._slots.wait()
        finally:
            self._waits -= 1
            if not self._waits:
                self._slots.take()
                if not self.reason:
                    self._stop_time()
                    self._run_time()
        return result

    def _run_time(self, *, paused: bool = False) -> None:
        """Stop the handler at the end of its time or at the call's deadline, whichever is first."""
        alarms, deadline = self.client.hub.alarms, self.message.deadline
        if paused or self._left is None:
            self._ends = 0
            self._timer = alarms.call_at(deadline, lambda: self.stop("deadline"))
            return
        self._ends = self.client.clock.now() + round(self._left)
        reason: Reason = "timeout" if self._ends < deadline else "deadline"
        self._timer = alarms.call_at(min(self._ends, deadline), lambda: self.stop(reason))

    def _stop_time(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._ends:
            self._left = max(0, self._ends - self.client.clock.now())
            self._ends = 0
