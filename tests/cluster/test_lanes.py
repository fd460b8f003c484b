"""Lanes: topics by priority, and a lane for each tenant; what no lane holds is refused."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest
from contract.cluster import Cluster
from contract.kit import TOPIC, published

from agentmesh.contracts import Broker, Delivery, Quota, Rate, Tenant
from agentmesh.errors import ConfigError

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
WAIT = 20


@pytest.fixture
def cluster(rocketmq_url: str) -> Cluster:
    return Cluster()


@pytest.fixture
async def broker(cluster: Cluster) -> AsyncIterator[Broker]:
    broker = await cluster.open()
    yield broker
    await broker.close()


@pytest.mark.promise(5)
async def test_of_a_topic_by_priority_the_highest_goes_first_and_equals_in_their_order(broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(priority=True))
    await broker.set_tenant(Tenant("acme", ceiling=9))
    stored = [await published(broker, priority=number % 10, tenant="acme") for number in range(30)]
    leased = []
    for _ in stored:
        (lease,) = await broker.lease([TOPIC], 1, WAIT, worker="w")
        leased.append(lease)
    wanted = sorted(stored, key=lambda message: -message.priority)
    assert [lease.message.id for lease in leased] == [message.id for message in wanted]


async def test_a_tenants_ceiling_holds_there_too(broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(priority=True))
    pushing = await published(broker, priority=9, tenant="pushing")
    polite = await published(broker, priority=6)
    leased = [(await broker.lease([TOPIC], 1, WAIT, worker="w"))[0].message.id for _ in range(2)]
    assert leased == [polite.id, pushing.id]


@pytest.mark.promise(5)
async def test_a_tenants_flood_delays_another_tenants_first_task_by_no_more_than_what_was_fetched(
    broker: Broker,
) -> None:
    await broker.declare(TOPIC, Delivery(isolate="tenant"))
    for _ in range(150):
        await published(broker, tenant="flood")
    first = await published(broker, tenant="small")
    leased = []
    while not leased or leased[-1] != first.id:
        (lease,) = await broker.lease([TOPIC], 1, WAIT, worker="w")
        leased.append(lease.message.id)
        assert len(leased) <= 3
    assert leased[-1] == first.id


async def test_of_two_tenants_the_heavier_one_gets_more(broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(isolate="tenant"))
    await broker.set_tenant(Tenant("three", weight=3))
    for _ in range(60):
        await published(broker, tenant="one")
        await published(broker, tenant="three")
    await broker.lease([TOPIC], 8, WAIT, worker="w")  # both lanes are read from now on
    shares: Counter[str] = Counter()
    while shares.total() < 40:
        for lease in await broker.lease([TOPIC], 4, WAIT, worker="w"):
            shares[lease.message.tenant] += 1
    assert 1 < shares["three"] / shares["one"] <= 4


async def test_a_weight_and_a_ceiling_outlive_the_process(broker: Broker, cluster: Cluster) -> None:
    await broker.set_tenant(Tenant("three", weight=3, ceiling=9))
    other = await cluster.open()
    assert list(await other.tenants()) == [Tenant("three", weight=3, ceiling=9)]
    await other.close()


@pytest.mark.parametrize(
    "delivery", [Delivery(rate=Rate(5, 1.0)), Delivery(quota=Quota(total=5)), Delivery(quota=Quota(per_tenant=5))]
)
async def test_what_no_broker_counts_over_all_workers_is_refused_with_what_to_do(
    broker: Broker, delivery: Delivery
) -> None:
    with pytest.raises(ConfigError, match=r"no rate and no quota over all workers.*delivery\.concurrency"):
        await broker.declare(TOPIC, delivery)


@pytest.mark.parametrize("limits", [{"running": 3}, {"waiting": 3}, {"rate": Rate(3, 1.0)}])
async def test_so_are_a_tenants_limits(broker: Broker, limits: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="Set weight and ceiling only"):
        await broker.set_tenant(Tenant("acme", **limits))
    assert [tenant.name for tenant in await broker.tenants()] == []
