"""Plans of drills."""

from collections import Counter

import pytest

from agentmesh.cli.chaos.plan import ANY_SERVER, CLUSTER, Card, make_plan
from agentmesh.cli.chaos.sabotage import SABOTAGES

NAMES = {"worker": ["worker-0", "worker-1"], "caller": ["caller-0"], "supervisor": ["supervisor-0"], "host": ["host"]}


def test_a_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert make_plan(7, 60, NAMES) == make_plan(7, 60, NAMES)
    assert make_plan(7, 60, NAMES) != make_plan(8, 60, NAMES)


@pytest.mark.parametrize("seed", range(5))
def test_every_kind_of_fault_comes_even_in_a_short_drill(seed: int) -> None:
    plan = make_plan(seed, 20, NAMES)
    assert {fault.kind for fault in plan} == {"kill", "stop", "cut", "quota", "split"}
    assert {fault.target for fault in plan if fault.kind == "kill"} >= {"host", "caller-0", "supervisor-0"}
    assert Counter(fault.kind for fault in plan)["kill"] >= 20
    assert [fault.at for fault in plan] == sorted(fault.at for fault in plan)
    assert all(fault.at < 20 for fault in plan)


def test_who_is_not_there_is_not_hurt() -> None:
    targets = {fault.target for fault in make_plan(1, 60, {**NAMES, "supervisor": []})}
    assert targets == {"worker-0", "worker-1", "caller-0", "host"}


@pytest.mark.parametrize("name", SABOTAGES)
def test_each_sabotage_has_faults_that_show_its_damage(name: str) -> None:
    ordinary = {(fault.kind, fault.target.partition("-")[0]) for fault in make_plan(1, 60, NAMES)}
    special = {(fault.kind, fault.target.partition("-")[0]) for fault in make_plan(1, 60, NAMES, name)}
    assert special < ordinary


@pytest.mark.parametrize("seed", range(3))
def test_on_a_cluster_servers_that_nobody_told_of_are_left_alone_and_stops_outlast_a_lease(seed: int) -> None:
    plan = make_plan(seed, 60, NAMES, CLUSTER, 1.2)
    assert {fault.kind for fault in plan} == {"kill", "stop"}
    assert not [fault for fault in plan if fault.target == "host"]
    assert Counter(fault.kind for fault in plan)["kill"] >= 20
    assert max(fault.seconds for fault in plan) > 10


@pytest.mark.parametrize("seed", range(3))
def test_each_server_that_was_told_of_is_killed_and_one_is_frozen(seed: int) -> None:
    names = {**NAMES, "broker": ["broker"], "nacos": ["nacos"], ANY_SERVER: ["broker", "nacos"]}
    cards: dict[Card, int] = {("kill", "broker", ""): 1, ("kill", "nacos", ""): 1, ("stop", ANY_SERVER, "frozen"): 1}
    plan = make_plan(seed, 60, names, CLUSTER, 1.2, cards)
    assert {fault.target for fault in plan if fault.kind == "kill"} >= {"broker", "nacos", "worker-0", "caller-0"}
    frozen = [fault for fault in plan if fault.kind == "stop" and fault.target in ("broker", "nacos")]
    assert frozen
    assert all(30 <= fault.seconds <= 32 for fault in frozen)
