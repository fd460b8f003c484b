"""Contract, Admin: tenants and dead letters."""

import asyncio

import pytest
from contract.kit import TOPIC, Backend, counts, ids, leased, published, task, types

from agentmesh.contracts import Broker, Delivery, Quota, Rate, Tenant
from agentmesh.errors import ConfigError, Conflict, QuotaExceeded, TopicNotFound


async def dead_letters(broker: Broker, count: int, topic: str = TOPIC) -> list[int]:
    """So many dead letters; their positions."""
    for _ in range(count):
        await published(broker, topic=topic)
        await broker.nack(await leased(broker, topic=topic), dead="poison")
    return [stored.position for stored in await broker.browse(topic, dead=True)][-count:]


@pytest.mark.needs("quotas")
async def test_tenants_that_were_set_are_listed_by_name(broker: Broker) -> None:
    assert list(await broker.tenants()) == []
    zoo = Tenant("zoo", weight=3, ceiling=7, running=2, waiting=9, rate=Rate(5, 60))
    for tenant in (zoo, Tenant("杭州"), Tenant("acme", weight=2)):
        await broker.set_tenant(tenant)
    await broker.set_tenant(Tenant("acme", weight=4))
    assert list(await broker.tenants()) == [Tenant("acme", weight=4), zoo, Tenant("杭州")]


@pytest.mark.parametrize(
    "tenant", [Tenant(""), Tenant("a", weight=0), Tenant("a", ceiling=10), Tenant("a", rate=Rate(0))]
)
async def test_a_tenant_that_cannot_be_is_refused(broker: Broker, tenant: Tenant) -> None:
    with pytest.raises(ConfigError):
        await broker.set_tenant(tenant)
    assert list(await broker.tenants()) == []


async def test_dead_letters_are_discarded_by_position(broker: Broker) -> None:
    first, second, third = await dead_letters(broker, 3)
    assert await broker.discard(TOPIC, [first, third]) == 2
    assert [stored.position for stored in await broker.browse(TOPIC, dead=True)] == [second]
    assert await broker.discard(TOPIC, [first, second, second, 10**6]) == 1
    assert await counts(broker) == (0, 0, 0)


async def test_positions_of_another_topic_or_of_tasks_that_wait_are_no_dead_letters(broker: Broker) -> None:
    await broker.declare("OtherAgentTask", Delivery())
    (position,) = await dead_letters(broker, 1)
    await published(broker)
    (waiting,) = await broker.browse(TOPIC)
    assert await broker.discard("OtherAgentTask", [position]) == 0
    assert await broker.discard(TOPIC, [waiting.position]) == 0
    assert await counts(broker) == (1, 0, 1)


async def test_a_dead_letter_is_removed_with_what_is_published_instead(broker: Broker) -> None:
    (position,) = await dead_letters(broker, 1)
    (dead,) = await broker.browse(TOPIC, dead=True)
    again = task(parent=dead.message.id)
    assert await broker.discard(TOPIC, [position], [again]) == 1
    assert await counts(broker) == (1, 0, 0)
    assert (await broker.read(again.id))[0].data["parent"] == dead.message.id


@pytest.mark.needs("transactions")
async def test_a_discard_that_is_refused_has_done_nothing(broker: Broker) -> None:
    (position,) = await dead_letters(broker, 1)
    await broker.declare("FullAgentTask", Delivery(quota=Quota(total=1, over="refuse")))
    new = task()
    with pytest.raises(Conflict):
        await broker.discard(TOPIC, [position, position + 1000], [new])
    with pytest.raises(TopicNotFound):
        await broker.discard(TOPIC, [position], [new, task("NobodyTask")])
    with pytest.raises(QuotaExceeded):
        await broker.discard(TOPIC, [position], [new, task("FullAgentTask"), task("FullAgentTask")])
    assert await counts(broker) == (0, 0, 1)
    assert await types(broker, new.id) == []


async def test_of_two_who_discard_the_same_in_one_turn_one_publishes(broker: Broker) -> None:
    (position,) = await dead_letters(broker, 1)
    results = await asyncio.gather(
        *(broker.discard(TOPIC, [position], [task()]) for _ in range(2)),
        broker.discard(TOPIC, [position]),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [int, Conflict, int]
    assert (results[0], results[2]) == (1, 0)
    assert await counts(broker) == (1, 0, 0)


async def test_the_position_of_a_dead_letter_is_never_that_of_another(broker: Broker) -> None:
    (first,) = await dead_letters(broker, 1)
    await broker.discard(TOPIC, [first])
    (second,) = await dead_letters(broker, 1)
    assert second > first


async def test_dead_letters_of_a_topic_that_was_removed_can_be_seen_and_discarded(broker: Broker) -> None:
    message = await published(broker)
    await broker.declare(TOPIC, None)
    assert await ids(broker, dead=True) == [message.id]
    assert [(stats.topic, stats.dead) for stats in await broker.stats()] == [(TOPIC, 1)]
    assert await counts(broker) == (0, 0, 1)
    with pytest.raises(TopicNotFound):
        await broker.browse(TOPIC)
    (dead,) = await broker.browse(TOPIC, dead=True)
    assert await broker.discard(TOPIC, [dead.position]) == 1
    with pytest.raises(TopicNotFound):
        await broker.browse(TOPIC, dead=True)
    assert list(await broker.stats()) == []


@pytest.mark.needs("reopens")
async def test_what_was_discarded_stays_away_after_a_restart(backend: Backend, broker: Broker) -> None:
    first, second = await dead_letters(broker, 2)
    await broker.discard(TOPIC, [first])
    broker = await backend.reopen()
    assert [stored.position for stored in await broker.browse(TOPIC, dead=True)] == [second]
    assert (await dead_letters(broker, 1))[0] > second
