"""Turns: everything that was asked for in one turn of the event loop is one transaction.

Operations are queued with a future and applied together at the end of the turn: what fell due comes first, then the
operations in order, then leases are granted. The rows are committed, and only after the COMMIT are callers told,
readers woken and workers given their leases. All of that is one synchronous function, so nobody sees what is not
stored. When a commit fails, memory is read back from the store, and exactly the callers of this turn fail.
"""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from agentmesh.broker.embedded.figures import Figures
from agentmesh.broker.embedded.state import MAX_BYTES, MAX_ROWS, State
from agentmesh.broker.embedded.store import Deposed, Store
from agentmesh.clock import Clock, Waiter, resolve
from agentmesh.errors import BrokerUnavailable, MeshError
from agentmesh.scheduling.alarms import Alarm, Alarms

T = TypeVar("T")

Told = list[tuple[Waiter, Any, BaseException | None]]
"""Whom to tell what after the commit."""

_ROWS_OF_AN_OPERATION: Final = 4
_UPKEEP: Final = 60_000
_AGAIN: Final = 5
_STALL: Final = 100
_RELIEF: Final = 1000
_PAUSE: Final = 1000

_pid = os.getpid()


def _forked() -> None:
    global _pid
    _pid = os.getpid()


os.register_at_fork(after_in_child=_forked)  # asking for the pid in each operation is slower than most of them


class Turns:
    """The turns of one event loop over one `State`. `tell` is called after each commit, before the state settles;
    `upkeep` within a turn, a minute after the opening, then after so many milliseconds as it returns.

    With `durability=full` a commit is followed by a sync in a thread, and what was done is told after that; meanwhile
    there is no other turn, and `settled` is what readers wait for.
    """

    def __init__(
        self,
        store: Store,
        state: State,
        clock: Clock,
        tell: Callable[[], None],
        upkeep: Callable[[], int],
    ) -> None:
        self.closed = False
        self.figures = Figures(clock.now())
        self.before_commit: Callable[[Told], None] | None = None
        self.on_deposed: Callable[[], None] | None = None
        self.syncing: asyncio.Future[None] | None = None
        self._pid = _pid
        self._thread = threading.get_ident()
        self._store = store
        self._state = state
        self._clock = clock
        self._tell_others = tell
        self._upkeep = upkeep
        self._upkeep_at = clock.now() + _UPKEEP
        self._loop = asyncio.get_running_loop()
        self._operations: deque[tuple[Callable[..., Any], tuple[Any, ...], int, int, Waiter]] = deque()
        self._scheduled = False
        self._alarms = Alarms(clock)
        self._alarm: Alarm | None = None
        self._alarm_at = self._due_at = 0
        self._failing = False
        self._unread = ""
        self._closing = False
        self._synced: Callable[[], None] | None = None
        self._schedule()

    def submit(
        self, apply: Callable[..., T], *arguments: Any, size: int = 0, rows: int = _ROWS_OF_AN_OPERATION
    ) -> asyncio.Future[T]:
        """Queue `apply(*arguments)`, which writes about `rows` rows of `size` bytes together. The future resolves after
        the COMMIT.
        """
        self.begin_soon()
        future: asyncio.Future[T] = self._loop.create_future()
        self._operations.append((apply, arguments, rows, size, future))
        return future

    def submit_for(
        self,
        waiter: Waiter,
        apply: Callable[..., Any],
        *arguments: Any,
        size: int = 0,
        rows: int = _ROWS_OF_AN_OPERATION,
    ) -> None:
        """As `submit`, telling `waiter`."""
        self.begin_soon()
        self._operations.append((apply, arguments, rows, size, waiter))

    async def settled(self) -> None:
        """Wait until what memory holds is as durable as it is to be."""
        while self.syncing:
            await asyncio.shield(self.syncing)

    def begin_soon(self) -> None:
        """Let there be a turn. Raises `BrokerUnavailable` when it is closed, or another loop's."""
        self.check_here()
        self._schedule()

    def check_here(self) -> None:
        """As `check_open`. Raises in another loop as well."""
        self.check_open()
        # a loop that runs does so in the thread that made us, unless it moved: then it is asked for, which is slow
        if threading.get_ident() != self._thread or not self._loop.is_running():
            if asyncio.get_running_loop() is not self._loop:
                raise BrokerUnavailable("This mesh belongs to another event loop. Open one of its own there.")
            self._thread = threading.get_ident()

    def check_open(self) -> None:
        if self.closed:
            raise BrokerUnavailable("This broker is closed.")
        if _pid != self._pid:
            raise BrokerUnavailable("This mesh was opened before a fork. Open it in one process, after the fork.")
        if self._unread:
            raise BrokerUnavailable(self._unread)

    def new_future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    async def until(self, future: asyncio.Future[T], when: int, otherwise: T) -> T:
        """The future's result, or `otherwise` at that time (ms)."""
        alarm = self._alarms.call_at(when, lambda: resolve(future, otherwise))
        try:
            return await future
        finally:
            alarm.cancel()

    def arm(self) -> None:
        """Come back when something falls due; after a failed commit, in a second."""
        if self._failing:
            self._due_at = self._clock.now() + _PAUSE
        else:
            due = self._state.tasks.next_due()
            self._due_at = self._upkeep_at if due is None else max(min(due, self._upkeep_at), self._state.now)
        if self._alarm is None or self._due_at < self._alarm_at:  # one that rings early does no harm
            if self._alarm:
                self._alarm.cancel()
            self._alarm = self._alarms.call_at(self._due_at, self._on_alarm)
            self._alarm_at = self._due_at

    def close(self) -> None:
        """Do what was asked for so far, then nothing more."""
        if self._synced:
            self._synced()
        self._closing = True
        while self._operations and not self.closed:
            self._turn()
        self.closed = True
        self._alarms.close()

    def _schedule(self) -> None:
        if not self._scheduled and not self.syncing:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _on_alarm(self) -> None:
        self._alarm = None
        if not self.closed:
            self._schedule()

    def _turn(self) -> None:
        self.figures.turn(self._work, self._operations, self._state)

    def _work(self) -> None:
        self._scheduled = False
        if self.closed or _pid != self._pid or self.syncing:
            return
        state = self._state
        told: Told = []
        state.begin(self._clock.now())
        try:
            if self._failing:
                self._recover()
            self._due()
            self._apply(told)
            state.grant()
            if self.before_commit:
                self.before_commit(told)
            if state.changes.rows:
                self._store.commit(state.changes)
                if self._store.sync_due:
                    self._sync(told)
                    return
        except Exception as error:  # whatever it was, nothing of this turn may leave
            self._undo(told, error)
        else:
            self._tell(told)
        self._go_on()

    def _go_on(self) -> None:
        if (self._operations or self._state.offers) and not self._failing:
            self._schedule()
        if not self.closed:
            self.arm()

    def _sync(self, told: Told) -> None:
        """Let a thread see to it that the disk has what was committed, then tell; at the end of all, here and now."""
        if self._closing:
            self._finish_sync(told, self._store.sync)
            return
        done = self.syncing = self._loop.run_in_executor(self._store.threads, self._store.sync)

        def finish(_: object = None) -> None:
            if self._synced:
                self._synced = None
                self.syncing = None
                self._finish_sync(told, done.result if done.done() else self._store.sync)

        self._synced = finish
        done.add_done_callback(finish)

    def _finish_sync(self, told: Told, result: Callable[[], None]) -> None:
        try:
            result()
        except Exception as error:
            self._undo(told, error)
        else:
            self._tell(told)
        self._go_on()

    def _due(self) -> None:
        now = self._state.now
        if self._due_at and now - self._due_at > _STALL:
            # A handler held the loop past our alarm: no worker of this process could renew its leases meanwhile.
            self._state.tasks.postpone(now - self._due_at + _RELIEF)
            self._due_at = now
        self._state.due()
        if now >= self._upkeep_at:
            self._upkeep_at = now + self._upkeep()

    def _apply(self, told: Told) -> None:
        changes = self._state.changes
        while self._operations:
            apply, arguments, rows, size, future = self._operations[0]
            full = changes.rows + rows > MAX_ROWS or changes.size + size > MAX_BYTES
            if full and changes.rows:
                return
            self._operations.popleft()
            if future.cancelled():
                continue
            try:
                told.append((future, apply(*arguments), None))
            except MeshError as error:
                told.append((future, None, error))
            except BaseException as error:
                told.append((future, None, error))
                raise

    def _tell(self, told: Told) -> None:
        self.figures.committed(self._state)
        for future, value, error in told:
            if not future.done():
                if error is None:
                    future.set_result(value)
                else:
                    future.set_exception(error)
        for request in self._state.granted:
            if not request.future.done():  # while the disk was waited for, its time may have been over
                request.future.set_result(request.granted)
        self._tell_others()
        self._state.settle()

    def _undo(self, told: Told, error: Exception) -> None:
        """A turn failed: its callers fail, and memory is what the store says."""
        failed = error if isinstance(error, MeshError) else BrokerUnavailable(f"The broker failed: {error!r}.")
        self.figures.failed()
        if self._failing:  # the probe failed before anything was applied
            told.extend((future, None, None) for *_, future in self._operations)
            self._operations.clear()
        for future, _, refused in told:
            if not future.done():
                future.set_exception(refused or failed)
        if isinstance(error, Deposed):
            self.closed = True
            if self.on_deposed:
                self.on_deposed()
            return
        if not self._failing:
            self._failing = True
            self._reload()

    def _recover(self) -> None:
        """Go on if the store can be written again."""
        self._store.probe(self._state.now)
        if self._unread:
            self._reload()
        if self._unread:
            raise BrokerUnavailable(self._unread)
        self._failing = False

    def _reload(self) -> None:
        """Read memory back from the store. Until that succeeds nobody reads and nobody writes."""
        try:
            self._state.reload()
        except MeshError as error:
            self._unread = str(error)
        else:
            self._unread = ""
