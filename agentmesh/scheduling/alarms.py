"""Alarms: many timers behind one of the clock's."""

from collections.abc import Callable
from typing import Any

from agentmesh.clock import Clock, Timer
from agentmesh.scheduling.timers import Timers


class Alarm:
    """A callback that has not fired yet."""

    __slots__ = ("_timers", "call")

    def __init__(self, timers: "Timers[Alarm]", call: Callable[[], object]) -> None:
        self._timers = timers
        self.call = call

    def cancel(self) -> None:
        self._timers.remove(self)


class Alarms:
    """Sets timers as a clock does, for those of which nearly all are cancelled: that costs a tenth here.

    The clock's timer is only ever moved forward: it may ring early, and then finds nothing to do.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timers: Timers[Alarm] = Timers(1)
        self._timer: Timer | None = None
        self._at = 0

    def call_at(self, when: int, call: Callable[[], Any]) -> Alarm:
        """As `Clock.call_at`."""
        alarm = Alarm(self._timers, call)
        self._timers.set(alarm, when)
        if self._timer is None or when < self._at:
            self._arm(when)
        return alarm

    def close(self) -> None:
        """Ring no more, unless another one is set."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _arm(self, when: int) -> None:
        self.close()
        self._timer = self._clock.call_at(when, self._ring)
        self._at = when

    def _ring(self) -> None:
        self._timer = None
        due = self._timers.due(self._clock.now(), 1)
        following = self._timers.next()
        if following is not None:
            self._arm(following)
        for alarm in due:
            alarm.call()
