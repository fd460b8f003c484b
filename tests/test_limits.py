"""Rates, quotas and the limits of tenants, on a clock."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmesh.contracts import Delivery, Quota, Rate, Tenant
from agentmesh.errors import ConfigError, QuotaExceeded
from agentmesh.scheduling.limits import (
    Account,
    Bucket,
    Use,
    check_delivery,
    check_room,
    check_tenant,
    has_room,
    renewed,
)

RATES = st.builds(Rate, st.integers(1, 2000), st.sampled_from([0.5, 1.0, 60.0, 3600.0]))


@given(rate=RATES, steps=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 60)), max_size=30))
def test_a_bucket_gives_what_flows_into_it_and_what_it_holds(rate: Rate, steps: list[tuple[int, int]]) -> None:
    now, bucket = 1_800_000_000_000, Bucket(rate, 1_800_000_000_000)
    flow = Fraction(rate.count) / Fraction(round(rate.seconds * 1000))
    held = most = max(Fraction(1), flow * 1000)
    for later, wanted in steps:
        now += later
        held = min(most, held + later * flow)
        for _ in range(wanted):
            assert (bucket.wait(now) == 0) == (held >= 1)
            if held < 1:
                wait = bucket.wait(now)
                assert held + wait * flow >= 1 > held + (wait - 1) * flow
                break
            bucket.spend()
            held -= 1


@given(rate=RATES, seconds=st.integers(1, 100))
def test_no_more_begin_in_a_time_than_flow_and_one_second_holds(rate: Rate, seconds: int) -> None:
    bucket, begun = Bucket(rate, 0), 0
    for now in range(0, seconds * 1000, 100):
        while not bucket.wait(now) and begun < 10_000:
            bucket.spend()
            begun += 1
    assert begun <= rate.count * (seconds + 1) / rate.seconds + 1


def test_a_clock_that_goes_back_fills_no_bucket() -> None:
    bucket = Bucket(Rate(1, 10), 1000)
    bucket.spend()
    assert bucket.wait(500) == 10_000
    assert bucket.wait(6000) == 5000


def test_a_rate_that_stays_keeps_its_bucket() -> None:
    bucket = renewed(None, Rate(5), 0)
    assert bucket
    assert renewed(bucket, Rate(5), 10) is bucket
    assert renewed(bucket, Rate(6), 10) is not bucket
    assert renewed(bucket, None, 10) is None


def test_what_a_running_task_waits_for_has_room_of_its_own() -> None:
    account, in_topic = Account(Tenant("acme", running=1)), Use()
    account.running, quota = 1, Quota()
    assert not has_room(quota, in_topic, account, 0)
    assert has_room(quota, in_topic, account, 1)
    account.running = 2
    account.deepen(1, 1)
    assert not has_room(quota, in_topic, account, 1)
    assert has_room(quota, in_topic, account, 2)
    account.deepen(1, -1)
    assert has_room(quota, in_topic, account, 1)


@given(depths=st.lists(st.integers(0, 5), max_size=20), limit=st.integers(1, 5))
def test_the_floor_is_the_first_depth_with_room(depths: list[int], limit: int) -> None:
    use = Use()
    for depth in depths:
        use.running += 1
        use.deepen(depth, 1)
    floor = use.floor(limit)
    assert sum(depth >= floor for depth in depths) < limit
    assert floor == 0 or sum(depth >= floor - 1 for depth in depths) >= limit


@pytest.mark.parametrize(
    ("quota", "waiting", "used", "said"),
    [
        (Quota(total=3, over="refuse"), 0, (3, 1, 1), "WeatherAgentTask has 3 unfinished tasks, and may have 3"),
        (Quota(per_tenant=1, over="refuse"), 0, (3, 1, 1), "Tenant 'acme' on WeatherAgentTask has 1 unfinished"),
        (Quota(), 5, (3, 1, 5), "agentmesh tenant set acme --waiting"),
        (Quota(total=3, per_tenant=1, over="queue"), 0, (9, 9, 9), ""),
        (Quota(total=4, per_tenant=2, over="refuse"), 6, (3, 1, 5), ""),
    ],
)
def test_a_refusal_says_which_limit_how_much_there_is_and_what_to_do(
    quota: Quota, waiting: int, used: tuple[int, int, int], said: str
) -> None:
    tenant = Tenant("acme", waiting=waiting)
    if not said:
        check_room("WeatherAgentTask", quota, tenant, used)
        return
    with pytest.raises(QuotaExceeded, match="raise the limit") as caught:
        check_room("WeatherAgentTask", quota, tenant, used)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "tenant",
    [
        Tenant(""),
        Tenant("a\nb"),
        Tenant("\ud800"),
        Tenant("a", weight=0),
        Tenant("a", weight=1001),
        Tenant("a", ceiling=10),
        Tenant("a", ceiling=-1),
        Tenant("a", running=-1),
        Tenant("a", waiting=-1),
        Tenant("a", rate=Rate(0)),
        Tenant("a", rate=Rate(1, 0)),
        Tenant("a", rate=Rate(1, float("nan"))),
    ],
)
def test_a_tenant_out_of_range_is_refused(tenant: Tenant) -> None:
    with pytest.raises(ConfigError):
        check_tenant(tenant)


@pytest.mark.parametrize(
    "delivery",
    [
        Delivery(aging=-1),
        Delivery(aging=float("nan")),
        Delivery(aging=float("inf")),
        Delivery(rate=Rate(0)),
        Delivery(quota=Quota(total=-1)),
        Delivery(quota=Quota(per_tenant=-1)),
    ],
)
def test_a_delivery_out_of_range_is_refused(delivery: Delivery) -> None:
    with pytest.raises(ConfigError):
        check_delivery(delivery)


def test_what_is_in_range_is_taken() -> None:
    check_tenant(Tenant("杭州", weight=1000, ceiling=0, running=1, waiting=10**6, rate=Rate(1, 3600)))
    check_delivery(Delivery(aging=0, rate=Rate(1000, 0.5), quota=Quota(total=1, per_tenant=1)))
