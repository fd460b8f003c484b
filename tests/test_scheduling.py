"""What falls due, and whether there is another attempt: against models that are obviously right."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agentmesh.contracts import Retry, RetryOn
from agentmesh.scheduling.retry import Again, Dead, after_lost, after_raised, back_off, rule_for
from agentmesh.scheduling.timers import Timers


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


@given(raised=st.integers(1, 20), attempts=st.integers(1, 10), now=st.integers(0, 2**50), task=st.text())
def test_an_attempt_that_raised_waits_longer_each_time_up_to_the_limit(
    raised: int, attempts: int, now: int, task: str
) -> None:
    retry = Retry(attempts=attempts, backoff=0.5, max=8)
    verdict = after_raised(retry, "ValueError: x", raised, now, task=task)
    if raised >= attempts:
        assert isinstance(verdict, Dead)
        assert "ValueError: x" in verdict.reason
    else:
        whole = 1000 * min(8, 0.5 * 2 ** (raised - 1))
        assert isinstance(verdict, Again)
        assert whole / 2 <= verdict.not_before - now <= whole


def test_a_handler_may_say_when_it_wants_to_be_tried_again() -> None:
    assert after_raised(Retry(attempts=3), "E", 1, 1000, after=0, task="call-1") == Again(1000)
    assert after_raised(Retry(attempts=3), "E", 1, 1000, after=2.5, task="call-1") == Again(3500)
    assert isinstance(after_raised(Retry(attempts=3), "E", 3, 1000, after=0), Dead)


@given(raised=st.integers(1, 10**6), task=st.text(), backoff=st.floats(0, 1000), longest=st.floats(0, 1000))
def test_the_back_off_is_between_half_and_the_whole_and_the_same_again(
    raised: int, task: str, backoff: float, longest: float
) -> None:
    retry = Retry(backoff=backoff, max=longest)
    whole = min(longest, backoff * 2.0 ** min(raised - 1, 60))
    assert whole / 2 <= back_off(retry, raised, task) <= whole
    assert back_off(retry, raised, task) == back_off(retry, raised, task)


def test_what_failed_together_does_not_come_back_together() -> None:
    retry = Retry(backoff=16, max=16)
    drawn = sorted(back_off(retry, 1, f"call-{number}") for number in range(1000))
    for number in range(8):  # in each second of the second half about as many
        assert 80 <= sum(8 + number <= wait < 9 + number for wait in drawn) <= 170
    assert back_off(retry, 1, "call-1") != back_off(retry, 2, "call-1")


class Flaky(ConnectionError): ...


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ((), None),
        (("ValueError",), None),
        (("OSError",), Retry(attempts=3, backoff=1, max=60)),
        ((RetryOn("OSError"),), Retry(attempts=3, backoff=1, max=60)),
        ((RetryOn("OSError", attempts=9), RetryOn("ConnectionError", max=5)), Retry(attempts=3, backoff=1, max=5)),
        (("OSError", RetryOn("Exception", attempts=2)), Retry(attempts=3, backoff=1, max=60)),
        (("ValueError", RetryOn("Flaky", 7, 0.0, 2.0), "Flaky"), Retry(attempts=7, backoff=0, max=2)),
    ],
)
def test_the_rule_of_the_nearest_class_holds(on: tuple[str | RetryOn, ...], expected: Retry | None) -> None:
    rule = rule_for(Retry(on=on), Flaky)
    assert (rule and (rule.attempts, rule.backoff, rule.max)) == (
        expected and (expected.attempts, expected.backoff, expected.max)
    )
