"""What is next, what falls due, and whether there is another attempt: against models that are obviously right."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentmesh.contracts import Retry
from agentmesh.scheduling.order import Waiting
from agentmesh.scheduling.retry import Again, Dead, after_lost, after_raised, back_off
from agentmesh.scheduling.timers import Timers

LANES = ["", "1.0.0", "1.1.0"]


class WaitingMachine(RuleBasedStateMachine):
    """`Waiting` beside a dict that is sorted whenever something is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = Waiting()
        self.model: dict[int, tuple[int, str]] = {}
        self.away: dict[int, tuple[int, str]] = {}
        self.next = 1

    @rule(priority=st.integers(0, 9), lane=st.sampled_from(LANES))
    def comes(self, priority: int, lane: str) -> None:
        self.waiting.add(self.next, priority, lane)
        self.model[self.next] = priority, lane
        self.next += 1

    @rule(count=st.integers(60, 80), lane=st.sampled_from(LANES))
    def many_come(self, count: int, lane: str) -> None:
        for number in range(count):
            self.comes(number % 10, lane)

    @rule(lanes=st.lists(st.sampled_from(LANES), unique=True))
    def is_taken(self, lanes: list[str]) -> None:
        fitting = [(-priority, position) for position, (priority, lane) in self.model.items() if lane in lanes]
        expected = min(fitting)[1] if fitting else None
        assert self.waiting.take(lanes) == expected
        if expected is not None:
            self.away[expected] = self.model.pop(expected)

    @precondition(lambda self: self.away)
    @rule(data=st.data())
    def comes_back(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(sorted(self.away)))
        self.model[position] = self.away.pop(position)
        self.waiting.add(position, *self.model[position])

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def comes_although_it_waits(self, data: st.DataObject) -> None:
        position = data.draw(st.sampled_from(sorted(self.model)))
        self.waiting.add(position, *self.model[position])

    @rule(position=st.integers(0, 100))
    def leaves(self, position: int) -> None:
        self.waiting.remove(position)
        if position in self.model:
            self.away[position] = self.model.pop(position)

    @rule()
    def most_leave(self) -> None:
        for position in list(self.model)[1:]:
            self.leaves(position)

    @invariant()
    def counts(self) -> None:
        assert len(self.waiting) == len(self.model)
        for position in (*list(self.model)[:5], *list(self.away)[:5], 0, self.next):
            assert (position in self.waiting) == (position in self.model)


TestWaiting = WaitingMachine.TestCase
TestWaiting.settings = settings(max_examples=60, stateful_step_count=40)


class TimersMachine(RuleBasedStateMachine):
    """`Timers` beside a dict of times."""

    RESOLUTION = 50

    def __init__(self) -> None:
        super().__init__()
        self.timers: Timers[int] = Timers(self.RESOLUTION)
        self.model: dict[int, int] = {}
        self.now = 1000

    def bucket_end(self, key: int) -> int:
        return -(-self.model[key] // self.RESOLUTION) * self.RESOLUTION

    @rule(key=st.integers(0, 30), later=st.integers(-2000, 2000))
    def is_set(self, key: int, later: int) -> None:
        when = max(0, self.now + later)
        self.timers.set(key, when)
        self.model[key] = when

    @rule(key=st.integers(0, 30))
    def is_removed(self, key: int) -> None:
        self.timers.remove(key)
        self.model.pop(key, None)

    @rule(later=st.integers(0, 1000), limit=st.integers(0, 40))
    def falls_due(self, later: int, limit: int) -> None:
        self.now += later
        due = {key for key in self.model if self.bucket_end(key) <= self.now}
        found = self.timers.due(self.now, limit)
        assert len(found) == len(set(found)) == min(limit, len(due))
        assert set(found) <= due
        assert all(self.model[key] <= self.now for key in found)
        ends = [self.bucket_end(key) for key in found]
        assert ends == sorted(ends)
        left = due - set(found)
        assert all(self.bucket_end(key) >= ends[-1] for key in left) if found else True
        for key in found:
            del self.model[key]

    @invariant()
    def knows_when_to_ask_again(self) -> None:
        assert len(self.timers) == len(self.model)
        assert self.timers.next() == min(map(self.bucket_end, self.model), default=None)


TestTimers = TimersMachine.TestCase
TestTimers.settings = settings(max_examples=60, stateful_step_count=40)


def test_a_key_is_due_at_the_end_of_its_bucket_never_early() -> None:
    timers: Timers[str] = Timers(50)
    timers.set("a", 101)
    assert timers.next() == 150
    assert timers.due(149, 10) == []
    assert timers.due(150, 10) == ["a"]
    assert timers.next() is None


@given(lost=st.integers(0, 10), limit=st.integers(0, 10))
def test_a_lost_attempt_is_repeated_up_to_the_limit_and_without_one_for_ever(lost: int, limit: int) -> None:
    verdict = after_lost(Retry(lost=limit), lost)
    if limit and lost >= limit:
        assert isinstance(verdict, Dead)
        assert str(lost) in verdict.reason
    else:
        assert verdict == Again(0)


@given(raised=st.integers(1, 20), attempts=st.integers(1, 10), now=st.integers(0, 2**50))
def test_an_attempt_that_raised_waits_longer_each_time_up_to_the_limit(raised: int, attempts: int, now: int) -> None:
    retry = Retry(attempts=attempts, backoff=0.5, max=8)
    verdict = after_raised(retry, "ValueError: x", raised, now)
    if raised >= attempts:
        assert isinstance(verdict, Dead)
        assert "ValueError: x" in verdict.reason
    else:
        assert verdict == Again(now + round(1000 * min(8, 0.5 * 2 ** (raised - 1))))


def test_a_handler_may_say_when_it_wants_to_be_tried_again() -> None:
    assert after_raised(Retry(attempts=3), "E", 1, 1000, after=0) == Again(1000)
    assert after_raised(Retry(attempts=3), "E", 1, 1000, after=2.5) == Again(3500)
    assert isinstance(after_raised(Retry(attempts=3), "E", 3, 1000, after=0), Dead)


@pytest.mark.parametrize("raised", [1, 2, 100, 10**6])
def test_the_back_off_never_exceeds_its_maximum(raised: int) -> None:
    assert 0 < back_off(Retry(backoff=1, max=60), raised) <= 60
