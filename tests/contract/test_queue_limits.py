"""Contract, Queue: rates, quotas, and the limits of tenants."""

import asyncio

import pytest
from contract.kit import TOPIC, Backend, completed, counts, ids, leased, published, task, types

from agentmesh.contracts import Append, Broker, Delivery, Lease, Quota, Rate, Tenant
from agentmesh.errors import ConfigError, QuotaExceeded
from agentmesh.message import Draft

OTHER = "OtherAgentTask"


pytestmark = pytest.mark.needs("quotas")


async def begin(broker: Broker, limit: int = 100, topic: str = TOPIC) -> list[Lease]:
    return list(await broker.lease([topic], limit, 0, worker="w"))


async def names(broker: Broker, limit: int = 100, topic: str = TOPIC) -> list[str]:
    return [lease.message.key for lease in await begin(broker, limit, topic)]


async def test_a_rate_lets_a_seconds_worth_begin_at_once_and_then_evenly(backend: Backend, broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(rate=Rate(4, 1)))
    for _ in range(20):
        await published(broker)
    assert len(await begin(broker)) == 4
    assert await begin(broker) == []
    for _ in range(3):
        await backend.passes(0.249)
        assert await begin(broker) == []
        await backend.passes(0.001)
        assert len(await begin(broker)) == 1
    await backend.passes(60)
    assert len(await begin(broker)) == 4


async def test_a_rate_below_one_a_second_holds_one(backend: Backend, broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(rate=Rate(6, 60)))
    for _ in range(5):
        await published(broker)
    assert len(await begin(broker)) == 1
    await backend.passes(9.9)
    assert await begin(broker) == []
    await backend.passes(0.1)
    assert len(await begin(broker)) == 1


async def test_workers_that_wait_for_a_rate_go_on_by_themselves(backend: Backend, broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(rate=Rate(1, 10)))
    messages = [await published(broker) for _ in range(3)]
    workers = [asyncio.create_task(broker.lease([TOPIC], 1, 100, worker=f"w{n}")) for n in range(3)]
    begun = []
    for _ in range(3):
        await backend.passes(0)
        done = [worker for worker in workers if worker.done()]
        begun.append(len(done))
        await backend.passes(10)
    assert begun == [1, 2, 3]
    assert {lease.message.id for worker in workers for lease in await worker} == {message.id for message in messages}


async def test_a_rate_of_one_topic_holds_up_no_other(broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(rate=Rate(1, 3600)))
    await broker.declare(OTHER, Delivery())
    for topic in (TOPIC, TOPIC, OTHER, OTHER):
        await published(broker, topic=topic)
    leases = await broker.lease([TOPIC, OTHER], 1, 0, worker="w")
    leases = [*leases, *await broker.lease([TOPIC, OTHER], 5, 0, worker="w")]
    assert sorted(lease.message.topic for lease in leases) == [OTHER, OTHER, TOPIC]


async def test_a_rate_can_be_lifted_for_what_waits(backend: Backend, broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(rate=Rate(1, 3600)))
    for _ in range(3):
        await published(broker)
    await begin(broker)
    waiting = asyncio.create_task(broker.lease([TOPIC], 5, 60, worker="w"))
    await backend.passes(0)
    await broker.declare(TOPIC, Delivery())
    await backend.passes(0)
    assert len(await waiting) == 2


async def test_a_quota_that_queues_lets_so_many_of_a_tenant_run_and_others_go_on(
    backend: Backend, broker: Broker
) -> None:
    await broker.declare(TOPIC, Delivery(quota=Quota(per_tenant=2)))
    for number in range(4):
        await published(broker, tenant="a", key=f"a{number}")
    await published(broker, tenant="b", key="b0")
    first = await begin(broker)
    assert [lease.message.key for lease in first] == ["a0", "b0", "a1"]
    waiting = asyncio.create_task(broker.lease([TOPIC], 5, 60, worker="w"))
    await backend.passes(1)
    assert not waiting.done()
    await broker.ack(first[0])
    await backend.passes(0)
    assert [lease.message.key for lease in await waiting] == ["a2"]
    await broker.nack(first[2], error="E", not_before=backend.now() + 5000)
    assert await names(broker) == ["a3"]


async def test_a_quota_that_queues_lets_so_many_of_all_run(backend: Backend, broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(quota=Quota(total=2)))
    for number in range(4):
        await published(broker, key=str(number))
    assert await names(broker) == ["0", "1"]
    waiting = asyncio.create_task(broker.lease([TOPIC], 5, 60, worker="w"))
    await backend.passes(29)
    assert not waiting.done()
    await backend.passes(2)  # the leases run out
    assert [lease.message.key for lease in await waiting] == ["0", "1"]
    await broker.declare(TOPIC, Delivery())
    assert await names(broker) == ["2", "3"]


async def test_what_a_running_task_calls_begins_although_the_quota_is_full(broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(quota=Quota(total=1)))
    await broker.set_tenant(Tenant("a", running=1))
    await published(broker, tenant="a", key="caller")
    assert await names(broker) == ["caller"]
    await published(broker, tenant="a", key="next")
    await published(broker, tenant="a", key="called", hops=1)
    await published(broker, tenant="a", key="called too", hops=1)
    assert await names(broker) == ["called"]
    await published(broker, tenant="a", key="called by it", hops=2)
    assert await names(broker) == ["called by it"]


@pytest.mark.parametrize("quota", [Quota(total=2, over="refuse"), Quota(per_tenant=2, over="refuse")])
async def test_a_quota_that_refuses_counts_what_is_unfinished(backend: Backend, broker: Broker, quota: Quota) -> None:
    await broker.declare(TOPIC, Delivery(quota=quota))
    first = await published(broker)
    await published(broker, not_before=backend.now() + 60_000)
    refused = task()
    with pytest.raises(QuotaExceeded, match="2 unfinished tasks, and may have 2"):
        await broker.publish(refused)
    assert await types(broker, refused.id) == []
    assert await broker.publish(first) is False
    lease = await leased(broker)
    with pytest.raises(QuotaExceeded):
        await broker.publish(refused)
    await broker.ack(lease)
    assert await broker.publish(refused) is True
    assert await counts(broker) == (2, 0, 0)


async def test_a_quota_for_each_tenant_refuses_that_tenant_alone(broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(quota=Quota(per_tenant=1, over="refuse")))
    await published(broker, tenant="a")
    with pytest.raises(QuotaExceeded, match="Tenant 'a' on WeatherAgentTask"):
        await broker.publish(task(tenant="a"))
    await published(broker, tenant="b")


async def test_of_many_publishes_in_one_turn_only_those_beyond_the_quota_are_refused(broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(quota=Quota(total=3, over="refuse")))
    results = await asyncio.gather(*(broker.publish(task()) for _ in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [bool] * 3 + [QuotaExceeded] * 2


@pytest.mark.needs("transactions")
async def test_an_ack_that_publishes_beyond_the_quota_is_refused_whole(broker: Broker) -> None:
    await broker.declare(OTHER, Delivery(quota=Quota(total=1, over="refuse")))
    message = await published(broker)
    lease = await leased(broker)
    with pytest.raises(QuotaExceeded):
        await broker.ack(lease, [completed(lease)], [task(OTHER), task(OTHER)])
    assert await types(broker, message.id) == ["submitted", "accepted"]
    assert await ids(broker, OTHER) == []
    with pytest.raises(QuotaExceeded):
        await broker.nack(lease, dead="poison", publishes=[task(OTHER), task(OTHER)])
    assert await counts(broker) == (0, 1, 0)
    known = task(OTHER)
    await broker.ack(lease, [completed(lease)], [known, known])
    assert await ids(broker, OTHER) == [known.id]


async def test_a_task_may_be_followed_by_another_where_the_quota_is_one(broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(quota=Quota(total=1, over="refuse")))
    await published(broker)
    await broker.ack(await leased(broker), publishes=[task(id="call-next")])
    await broker.nack(await leased(broker), dead="moved on", publishes=[task(id="call-last")])
    lease = await leased(broker)
    assert lease.message.id == "call-last"
    with pytest.raises(QuotaExceeded):
        await broker.nack(lease, error="E", publishes=[task()])
    await broker.append("call-last", [Draft("cancelled", {"by": "me"}, id="cancelled")])
    await broker.nack(lease, publishes=[task(id="call-after")])
    assert await ids(broker) == ["call-after"]


async def test_a_tenant_runs_so_many_over_all_topics(backend: Backend, broker: Broker) -> None:
    await broker.declare(OTHER, Delivery())
    await broker.set_tenant(Tenant("a", running=2))
    for topic in (TOPIC, OTHER):
        for number in range(2):
            await published(broker, topic=topic, tenant="a", key=f"{topic[0]}{number}")
    await published(broker, topic=OTHER, tenant="b", key="b")
    first = await begin(broker)
    assert [lease.message.key for lease in first] == ["W0", "W1"]
    assert await names(broker, topic=OTHER) == ["b"]
    waiting = asyncio.create_task(broker.lease([OTHER], 5, 60, worker="w"))
    await backend.passes(0)
    await broker.ack(first[0])
    await backend.passes(0)
    assert [lease.message.key for lease in await waiting] == ["O0"]
    await broker.set_tenant(Tenant("a"))
    assert await names(broker, topic=OTHER) == ["O1"]


async def test_a_tenant_has_so_many_unfinished_over_all_topics(broker: Broker) -> None:
    await broker.declare(OTHER, Delivery())
    await broker.set_tenant(Tenant("a", waiting=2))
    known = await published(broker, tenant="a")
    await published(broker, topic=OTHER, tenant="a")
    with pytest.raises(QuotaExceeded, match="agentmesh tenant set a --waiting"):
        await broker.publish(task(tenant="a"))
    assert await broker.publish(known) is False
    await published(broker, tenant="b")
    await broker.set_tenant(Tenant("a", waiting=3))
    await published(broker, tenant="a")


async def test_a_tenants_rate_holds_up_nobody_else(backend: Backend, broker: Broker) -> None:
    await broker.declare(OTHER, Delivery())
    await broker.set_tenant(Tenant("a", rate=Rate(1, 10)))
    for number in range(3):
        await published(broker, tenant="a", key=f"a{number}")
        await published(broker, tenant="b", key=f"b{number}")
    await published(broker, topic=OTHER, tenant="a", key="other")
    assert await names(broker) == ["a0", "b0", "b1", "b2"]
    waiting = asyncio.create_task(broker.lease([OTHER, TOPIC], 1, 60, worker="w"))
    await backend.passes(9.9)
    assert not waiting.done()
    await backend.passes(0.1)
    (lease,) = await waiting
    waiting = asyncio.create_task(broker.lease([OTHER, TOPIC], 1, 60, worker="w"))
    await backend.passes(10)
    (again,) = await waiting
    assert {"a1", "a2", "other"} > {lease.message.key, again.message.key}


@pytest.mark.needs("reopens")
async def test_limits_outlive_the_broker_and_count_what_there_is(backend: Backend, broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(quota=Quota(total=3, over="refuse")))
    await broker.set_tenant(Tenant("a", running=1, waiting=2))
    for _ in range(2):
        await published(broker, tenant="a")
    broker = await backend.reopen()
    with pytest.raises(QuotaExceeded, match="Tenant 'a' has 2"):
        await broker.publish(task(tenant="a"))
    await published(broker)
    with pytest.raises(QuotaExceeded, match="WeatherAgentTask has 3"):
        await broker.publish(task())
    assert sorted(lease.message.tenant for lease in await begin(broker)) == ["a", "default"]


async def test_a_task_past_its_deadline_takes_no_token(backend: Backend, broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(rate=Rate(1, 3600)))
    await published(broker, deadline=backend.now() + 100)
    kept = await published(broker)
    await backend.passes(0.2)
    assert [lease.message.id for lease in await begin(broker)] == [kept.id]


@pytest.mark.parametrize(
    "delivery", [Delivery(rate=Rate(0)), Delivery(quota=Quota(total=-1)), Delivery(aging=-1), Delivery(rate=Rate(1, 0))]
)
async def test_limits_that_are_none_are_refused(broker: Broker, delivery: Delivery) -> None:
    with pytest.raises(ConfigError):
        await broker.declare(TOPIC, delivery)
    assert await counts(broker) == (0, 0, 0)


async def test_appends_are_held_up_by_no_limit(broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(rate=Rate(1, 3600), quota=Quota(total=1, over="refuse")))
    await published(broker)
    lease = await leased(broker)
    await broker.ack(lease, [completed(lease), Append("log-a", [Draft("data", 1)])])
    assert await types(broker, "log-a") == ["data"]
