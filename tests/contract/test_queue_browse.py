"""Contract, Queue: browse and stats."""

import pytest
from contract.kit import TOPIC, Backend, ids, leased, published

from agentmesh.contracts import Broker, Delivery
from agentmesh.errors import BrokerUnavailable, TopicNotFound


@pytest.mark.needs("priority")
async def test_browse_shows_what_waits_and_what_runs_in_order_of_age(backend: Backend, broker: Broker) -> None:
    first = await published(broker, priority=0)
    second = await published(broker, priority=9)
    delayed = await published(broker, not_before=backend.now() + 1000)
    await leased(broker)
    found = await broker.browse(TOPIC)
    assert [(stored.message.id, stored.state, stored.attempt) for stored in found] == [
        (first.id, "waiting", 0),
        (second.id, "running", 1),
        (delayed.id, "waiting", 0),
    ]
    assert [stored.message.body for stored in found] == [first.body, second.body, delayed.body]
    assert {stored.reason for stored in found} == {""}


async def test_browse_takes_nothing_away(broker: Broker) -> None:
    message = await published(broker)
    assert await ids(broker) == await ids(broker) == [message.id]
    assert (await leased(broker)).attempt == 1


@pytest.mark.parametrize("dead", [False, True])
async def test_browse_goes_through_the_messages_in_pages(broker: Broker, dead: bool) -> None:
    messages = [await published(broker) for _ in range(7)]
    if dead:
        for _ in messages:
            await broker.nack(await leased(broker), dead="poison")
    pages, after = [], 0
    while page := await broker.browse(TOPIC, after, 3, dead=dead):
        pages.append([stored.message.id for stored in page])
        after = page[-1].position
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [each for page in pages for each in page] == [message.id for message in messages]


async def test_browse_keeps_topics_and_dead_letters_apart(broker: Broker) -> None:
    await broker.declare("OtherTask", Delivery())
    dead = await published(broker)
    await broker.nack(await leased(broker), dead="poison")
    here, there = await published(broker), await published(broker, topic="OtherTask")
    assert await ids(broker) == [here.id]
    assert await ids(broker, dead=True) == [dead.id]
    assert await ids(broker, "OtherTask") == [there.id]
    assert await ids(broker, "OtherTask", dead=True) == []


async def test_browse_of_an_unknown_topic_is_refused(broker: Broker) -> None:
    with pytest.raises(TopicNotFound):
        await broker.browse("NobodyTask")


async def test_a_task_that_was_given_back_waits_with_its_attempts(broker: Broker) -> None:
    await published(broker)
    await broker.nack(await leased(broker), error="E")
    (stored,) = await broker.browse(TOPIC)
    assert (stored.state, stored.attempt) == ("waiting", 1)


async def test_a_task_whose_worker_was_lost_waits_with_its_attempts(backend: Backend, broker: Broker) -> None:
    await published(broker)
    await leased(broker)
    await backend.passes(31)

    async def waits() -> bool:
        return [(stored.state, stored.attempt) for stored in await broker.browse(TOPIC)] == [("waiting", 1)]

    await backend.until(waits)


async def test_stats_count_what_waits_runs_and_is_dead(backend: Backend, broker: Broker) -> None:
    began = backend.now()
    await published(broker, not_before=began + 10_000)
    assert (await broker.stats([TOPIC]))[0].oldest is None
    for _ in range(3):
        await published(broker)
        await backend.passes(1)
    assert (await broker.stats([TOPIC]))[0].oldest == backend.about(began)
    await leased(broker)
    await broker.nack(await leased(broker), dead="poison")
    (stats,) = await broker.stats([TOPIC])
    assert (stats.topic, stats.waiting, stats.running, stats.dead, stats.oldest) == (
        TOPIC,
        2,
        1,
        1,
        backend.about(began + 2000),
    )


async def test_stats_of_an_empty_topic_are_zero(broker: Broker) -> None:
    (stats,) = await broker.stats([TOPIC])
    assert (stats.waiting, stats.running, stats.dead, stats.oldest) == (0, 0, 0, None)


async def test_stats_of_all_topics_come_by_name(broker: Broker) -> None:
    for name in ("ZTask", "ATask"):
        await broker.declare(name, Delivery())
    assert [stats.topic for stats in await broker.stats()] == ["ATask", TOPIC, "ZTask"]


async def test_stats_of_an_unknown_topic_are_refused(broker: Broker) -> None:
    with pytest.raises(TopicNotFound):
        await broker.stats([TOPIC, "NobodyTask"])


@pytest.mark.needs("reopens")
async def test_stats_are_the_same_after_a_restart(backend: Backend, broker: Broker) -> None:
    for _ in range(3):
        await published(broker)
    await broker.nack(await leased(broker), dead="poison")
    before = await broker.stats()
    assert await (await backend.reopen()).stats() == before


async def test_a_closed_broker_can_neither_be_browsed_nor_counted(backend: Backend, broker: Broker) -> None:
    await backend.close()
    with pytest.raises(BrokerUnavailable):
        await broker.browse(TOPIC)
    with pytest.raises(BrokerUnavailable):
        await broker.stats()
