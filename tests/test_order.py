"""Which waiting task is next: beside a model that looks at everything, and what it promises to tenants."""

import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentmesh.contracts import Tenant
from agentmesh.scheduling.order import ANY, Waiting

LANES = ["", "1.0.0", "1.1.0"]
TENANTS = ["default", "acme", "杭州", "zoo"]
AGING = 1000
HEAVIEST = 4


class Known(NamedTuple):
    """A task as the model knows it."""

    position: int
    since: int
    tenant: str
    priority: int
    lane: str
    depth: int


class WaitingMachine(RuleBasedStateMachine):
    """`Waiting` beside a model that goes through all tasks whenever one is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.tenants: dict[str, Tenant] = {}
        self.waiting = Waiting(self.tenants, AGING)
        self.tasks: dict[int, Known] = {}
        self.away: dict[int, Known] = {}
        self.barred: dict[str, int] = {}
        self.full: set[str] = set()
        self.next = 1
        self.now = 100_000

    def tenant(self, name: str) -> Tenant:
        return self.tenants.get(name) or Tenant(name)

    def base(self, task: Known) -> int:
        return min(task.priority, self.tenant(task.tenant).highest)

    def level(self, task: Known) -> int:
        return (
            min(9, self.base(task) + max(0, self.now - task.since) // self.waiting.aging)
            if self.waiting.aging
            else self.base(task)
        )

    def heads(self, lanes: Sequence[str], floor: int) -> list[Known]:
        """The first of each tenant, lane, priority and depth."""
        found: dict[object, Known] = {}
        for task in sorted(self.tasks.values()):
            if task.lane in lanes and task.depth >= max(floor, self.barred.get(task.tenant, 0)):
                found.setdefault((task.tenant, task.lane, task.priority, task.depth), task)
        return list(found.values())

    def candidates(self, lanes: Sequence[str], floor: int = 0) -> tuple[dict[str, Known], int]:
        """The best of each tenant that takes part, and the lowest priority with which one does."""
        heads = self.heads(lanes, floor)
        highest = max(map(self.level, heads), default=0)
        lowest = min((self.base(head) for head in heads if self.level(head) == highest), default=0)
        part = {head.tenant for head in heads if self.base(head) >= lowest}
        best = {
            tenant: max(
                (head for head in heads if head.tenant == tenant), key=lambda head: (self.level(head), -head.position)
            )
            for tenant in part
        }
        return best, lowest

    def put(self, task: Known) -> None:
        self.tasks[task.position] = task
        self.waiting.add(*task)

    @rule(
        new=st.lists(
            st.tuples(
                st.sampled_from([3, 4, 4, 5, 9, 0]),
                st.sampled_from(["", "", "", "", *LANES]),
                st.sampled_from(TENANTS),
                st.sampled_from([0, 0, 0, 0, 0, 0, 1, 2]),
                st.sampled_from([0, 400, 900, 1500, 3000, 6000, -50]),
            ),
            min_size=1,
            max_size=8,
        )
    )
    def some_come(self, new: list[tuple[int, str, str, int, int]]) -> None:
        for each in new:
            self.comes(*each)

    def comes(self, priority: int, lane: str, tenant: str, depth: int, waited: int) -> None:
        self.put(Known(self.next, self.now - waited, tenant, priority, lane, depth))
        self.next += 1

    @rule(count=st.integers(60, 80), lane=st.sampled_from(LANES), tenant=st.sampled_from(TENANTS))
    def many_come(self, count: int, lane: str, tenant: str) -> None:
        for number in range(count):
            self.comes(number % 3 * 4, lane, tenant, 0, 0)

    @rule(lanes=st.lists(st.sampled_from(LANES), unique=True).map(tuple), count=st.sampled_from([1, 1, 2, 3, 5, 8, 30]))
    def some_are_taken(self, lanes: tuple[str, ...], count: int) -> None:
        for _ in range(count):
            self.is_taken(lanes)

    def is_taken(self, lanes: tuple[str, ...]) -> None:
        asked: list[tuple[str, int]] = []

        def may(tenant: str, depth: int) -> bool:
            best, _ = self.candidates(lanes)
            assert best[tenant].depth == depth
            asked.append((tenant, depth))
            if tenant in self.full:
                self.barred[tenant] = depth + 1
            return tenant not in self.full

        taken = self.waiting.take(lanes, self.now, may)
        best, _ = self.candidates(lanes)
        if taken is None:
            assert not best
            return
        tenant = asked[-1][0]
        assert best[tenant].position == taken
        self.away[taken] = self.tasks.pop(taken)

    @rule(lanes=st.lists(st.sampled_from(LANES), unique=True).map(tuple), floor=st.integers(1, 3))
    def a_deep_one_is_taken(self, lanes: tuple[str, ...], floor: int) -> None:
        heads = self.heads(lanes, floor)
        expected = max(heads, key=lambda head: (self.level(head), -head.position), default=None)
        taken = self.waiting.take(lanes, self.now, None, floor)
        assert taken == (expected.position if expected else None)
        if taken is not None:
            self.away[taken] = self.tasks.pop(taken)

    @precondition(lambda self: self.away)
    @rule(data=st.data(), anew=st.booleans())
    def comes_back(self, data: st.DataObject, anew: bool) -> None:
        task = self.away.pop(data.draw(st.sampled_from(sorted(self.away))))
        self.put(task._replace(since=self.now) if anew else task)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def comes_although_it_waits(self, data: st.DataObject) -> None:
        task = self.tasks[data.draw(st.sampled_from(sorted(self.tasks)))]
        self.waiting.add(*task._replace(since=0))

    @rule(position=st.integers(0, 100))
    def leaves(self, position: int) -> None:
        self.waiting.remove(position)
        if position in self.tasks:
            self.away[position] = self.tasks.pop(position)

    @rule()
    def most_leave(self) -> None:
        for position in list(self.tasks)[1:]:
            self.leaves(position)

    @rule(later=st.sampled_from([10, 700, 1500, 4000, 20_000]))
    def time_passes(self, later: int) -> None:
        self.now += later

    @rule(tenant=st.sampled_from(TENANTS), weight=st.integers(1, HEAVIEST), ceiling=st.sampled_from([None, 0, 3, 9]))
    def is_set(self, tenant: str, weight: int, ceiling: int | None) -> None:
        self.tenants[tenant] = Tenant(tenant, weight=weight, ceiling=ceiling)
        self.waiting.renew(self.tenants[tenant])

    @rule(tenant=st.sampled_from(TENANTS))
    def is_full(self, tenant: str) -> None:
        self.full.add(tenant)

    @rule(tenant=st.sampled_from(TENANTS))
    def has_room(self, tenant: str) -> None:
        self.full.discard(tenant)
        self.barred.pop(tenant, None)
        self.waiting.release(tenant)

    @rule(aging=st.sampled_from([0, AGING]))
    def ages(self, aging: int) -> None:
        self.waiting.aging = aging

    @invariant()
    def counts(self) -> None:
        assert len(self.waiting) == len(self.tasks)
        heads = self.heads(LANES, 0)
        assert self.waiting.ready() == bool(heads)
        assert self.waiting.deepest == max((head.depth for head in heads), default=-1)
        for lanes in (("",), ("", "1.0.0"), tuple(LANES)):
            best, lowest = self.candidates(lanes)
            assert self.waiting.lowest(lanes, self.now) == (lowest if best else -1)
        for position in (*list(self.tasks)[:5], *list(self.away)[:5], 0, self.next):
            assert (position in self.waiting) == (position in self.tasks)


TestWaiting = WaitingMachine.TestCase
TestWaiting.settings = settings(  # without Phase.shrink, which may take minutes here: add it to look into a failure
    max_examples=150, stateful_step_count=40, phases=[Phase.explicit, Phase.generate]
)


class TurnsMachine(RuleBasedStateMachine):
    """Tenants with tasks of one priority, and how often each is passed over before its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = Waiting()
        self.tasks: dict[int, str] = {}
        self.served: set[str] = set()
        self.passed_over: Counter[str] = Counter()
        self.others: dict[str, set[str]] = {}
        self.next = 1

    @rule(tenant=st.sampled_from(["a", "b", "c", "d"]), count=st.sampled_from([1, 1, 2, 40]))
    def come(self, tenant: str, count: int) -> None:
        for _ in range(count):
            self.waiting.add(self.next, 0, tenant, 4)
            self.tasks[self.next] = tenant
            self.next += 1

    @rule()
    def somebody_new_comes(self) -> None:
        self.come(f"new-{self.next}", 1)

    @rule(tenant=st.sampled_from(["a", "b"]), weight=st.integers(1, HEAVIEST))
    def is_set(self, tenant: str, weight: int) -> None:
        self.waiting.renew(Tenant(tenant, weight=weight))

    @rule(count=st.sampled_from([1, 2, 3, 20]))
    def are_taken(self, count: int) -> None:
        for _ in range(count):
            taken = self.waiting.take()
            assert (taken is None) == (not self.tasks)
            if taken is not None:
                self.note_turn(self.tasks.pop(taken), {*self.tasks.values()})

    def note_turn(self, served: str, left: set[str]) -> None:
        """Others have their turns first, and those who have just come one task; before a first task, only these."""
        self.served.add(served)
        self.passed_over[served] = 0
        self.others[served] = set()
        for tenant in left - {served}:
            self.passed_over[tenant] += 1
            others = self.others.setdefault(tenant, set())
            others.add(served)
            assert self.passed_over[tenant] <= len(others) * (HEAVIEST + 1 if tenant in self.served else 1)


TestTurns = TurnsMachine.TestCase
TestTurns.settings = settings(max_examples=100, stateful_step_count=40)


def fill(waiting: Waiting, first: int, count: int, tenant: str, priority: int = 4, since: int = 0) -> None:
    for position in range(first, first + count):
        waiting.add(position, since, tenant, priority)


def take(waiting: Waiting, count: int, now: int = 0) -> list[int]:
    taken = [waiting.take((ANY,), now) for _ in range(count)]
    return [position for position in taken if position is not None]


@pytest.mark.promise(5)
@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    others=st.integers(0, 9),
    rounds=st.integers(1, 4),
    start=st.integers(0, 60),
)
def test_tenants_that_always_wait_share_by_weight(weights: list[int], others: int, rounds: int, start: int) -> None:
    tenants = {str(number): Tenant(str(number), weight=weight) for number, weight in enumerate(weights)}
    waiting = Waiting(tenants)
    for number in range(len(weights)):
        fill(waiting, number * 1000, 1000, str(number))
    take(waiting, start + len(weights))  # the first of each, and somewhere into the rounds
    served = Counter(position // 1000 for position in take(waiting, rounds * sum(weights)))
    for number, weight in enumerate(weights):
        assert rounds * weight - weight <= served[number] <= rounds * weight + weight
    assert served.total() == rounds * sum(weights)


@pytest.mark.promise(5)
@given(age=st.integers(0, 1000), before=st.integers(0, 50), weight=st.integers(1, 1000))
def test_the_first_task_of_a_tenant_comes_next_however_much_of_another_waits_and_however_long(
    age: int, before: int, weight: int
) -> None:
    waiting = Waiting({"flood": Tenant("flood", weight=weight)}, aging=60_000)
    fill(waiting, 1, 200, "flood")
    now = age * 1000
    take(waiting, before, now)
    waiting.add(1000, now, "acme", 4)
    assert take(waiting, 2, now)[-1 if before == 0 else 0] == 1000


def test_of_a_hundred_thousand_tasks_of_one_tenant_none_is_touched_for_another() -> None:
    waiting, small = Waiting(aging=60_000), Waiting(aging=60_000)
    fill(waiting, 1, 100_000, "flood")
    fill(small, 1, 10, "flood")

    def cost(of: Waiting) -> float:
        began = time.perf_counter()
        for number in range(300):
            for tenant in ("acme", "zoo"):
                of.add(200_000 + number, 0, tenant, 4 + number % 3)
                of.remove(200_000 + number)
            of.add(200_000 + number, 0, "acme", 5)
            assert of.take((ANY,), number * 1000) is not None
        return time.perf_counter() - began

    cost(small)
    assert min(cost(waiting) for _ in range(5)) < 5 * min(cost(small) for _ in range(5)) + 0.01


def test_a_tenant_of_many_with_one_task_each_costs_no_more_than_one_of_few() -> None:
    def cost(tenants: int) -> float:
        waiting = Waiting(aging=60_000)
        for number in range(tenants):
            waiting.add(number, number, str(number), number % 10)
        began = time.perf_counter()
        assert len(take(waiting, 200, now=tenants)) == 200
        return time.perf_counter() - began

    cost(400)
    assert min(cost(20_000) for _ in range(2)) < 40 * min(cost(400) for _ in range(3)) + 0.1


def test_a_newcomer_is_first_and_then_has_its_turns() -> None:
    waiting = Waiting()
    fill(waiting, 1, 10, "a")
    assert take(waiting, 2) == [1, 2]
    fill(waiting, 100, 10, "b")
    assert take(waiting, 5) == [100, 3, 101, 4, 102]


def test_nobody_is_a_newcomer_again_by_coming_and_going() -> None:
    waiting = Waiting({"a": Tenant("a", weight=3)})
    fill(waiting, 1, 100, "a")
    take(waiting, 1)
    order = ""
    for number in range(200, 220):
        if len(waiting) < 100:
            waiting.add(number, 0, "b", 4)
        for position in take(waiting, 1):
            order += "a" if position < 200 else "b"
    assert "bb" not in order
    assert order.count("a") >= 3 * order.count("b") - 3


def test_a_new_weight_holds_for_what_waits() -> None:
    waiting = Waiting()
    for number, tenant in enumerate("ab"):
        fill(waiting, number * 1000, 500, tenant)
    before = Counter(position // 1000 for position in take(waiting, 100))
    waiting.renew(Tenant("a", weight=3))
    after = Counter(position // 1000 for position in take(waiting, 100))
    assert (before[0], before[1]) == (50, 50)
    assert abs(after[0] - 75) <= 3


def test_a_higher_priority_is_first_whatever_the_weights() -> None:
    waiting = Waiting({"a": Tenant("a", weight=1000, ceiling=9)})
    fill(waiting, 1, 5, "a", priority=8)
    waiting.add(10, 0, "default", 9)
    assert take(waiting, 2) == [10, 1]


def test_a_ceiling_lowers_what_waits_and_lifts_it_again() -> None:
    waiting = Waiting()
    waiting.add(1, 0, "default", 6)
    waiting.add(2, 0, "acme", 9)
    waiting.add(3, 0, "acme", 9)
    waiting.renew(Tenant("acme", ceiling=9))
    assert take(waiting, 1) == [2]
    waiting.renew(Tenant("acme", ceiling=5))
    assert take(waiting, 2) == [1, 3]


@given(aging=st.integers(1, 100), priority=st.integers(0, 9), other=st.integers(0, 9), waited=st.integers(0, 2000))
def test_waiting_lifts_a_task_one_level_for_each_aging(aging: int, priority: int, other: int, waited: int) -> None:
    waiting = Waiting(aging=aging)
    waiting.add(1, 0, "default", priority)
    waiting.add(2, waited, "default", other)
    level = min(9, priority + waited // aging)
    assert take(waiting, 1, now=waited) == [1 if level >= other else 2]


def test_waiting_makes_equal_never_more() -> None:
    waiting = Waiting(aging=1000)
    fill(waiting, 1, 3, "old", priority=0)
    waiting.add(10, 9000, "new", 2)
    waiting.add(11, 9000, "new", 0)
    assert sorted(take(waiting, 2, now=9000)) == [1, 10]
    assert sorted(take(waiting, 2, now=9000)) == [2, 11]


def test_without_aging_nothing_is_lifted() -> None:
    waiting = Waiting(aging=0)
    waiting.add(1, 0, "default", 0)
    waiting.add(2, 10**9, "default", 1)
    assert take(waiting, 2, now=10**9) == [2, 1]


def test_tenants_and_versions_that_are_gone_leave_nothing_behind() -> None:
    waiting = Waiting(aging=1000)
    waiting.add(0, 0, "stays", 4)
    tracemalloc.start()
    try:
        for number in range(1, 5000):
            waiting.add(number, number, f"tenant-{number}", number % 10, f"1.0.{number}")
            assert waiting.take((f"1.0.{number}",), number) == number
        assert tracemalloc.get_traced_memory()[0] < 2_000_000  # kept, they would be 10 MB
    finally:
        tracemalloc.stop()
