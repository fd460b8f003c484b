"""LiteTopics: subscribing, waking up, rewinding."""

import asyncio

import pytest
from cluster.client.kit import Place, a_lite_consumer, a_producer, collect, until

from agentmesh.broker.rocketmq.client import Connection, LiteConsumer, Outgoing, lite
from agentmesh.errors import BrokerUnavailable, ConfigError


async def test_what_was_written_before_the_subscription_arrives_too(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    for number in range(5):
        await producer.send(Outgoing(parent, b"%d" % number, lite_topic="call-1"))
    await consumer.subscribe("call-1")
    messages = await collect(consumer, 5)
    assert [(each.offset, each.body) for each in messages] == [(number, b"%d" % number) for number in range(5)]


async def test_only_subscribed_names_wake_a_consumer(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    await consumer.subscribe("mine")
    await producer.send(Outgoing(parent, b"1", lite_topic="other"))
    await producer.send(Outgoing(parent, b"2", lite_topic="mine"))
    assert [each.lite_topic for each in await collect(consumer, 1)] == ["mine"]
    assert await consumer.receive(poll=1) == []


async def test_an_unsubscribed_name_wakes_nobody(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    await consumer.subscribe("a")
    await consumer.subscribe("b")
    await consumer.unsubscribe("a")
    await producer.send(Outgoing(parent, b"1", lite_topic="a"))
    await producer.send(Outgoing(parent, b"2", lite_topic="b"))
    assert [each.lite_topic for each in await collect(consumer, 1)] == ["b"]
    assert consumer.names == {"b"}


async def test_replace_leaves_exactly_these_names(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    await consumer.subscribe("gone")
    await consumer.subscribe("kept")
    await consumer.replace(["kept", "new"])
    for name in ("gone", "kept", "new"):
        await producer.send(Outgoing(parent, b"1", lite_topic=name))
    assert {each.lite_topic for each in await collect(consumer, 2)} == {"kept", "new"}
    assert consumer.names == {"kept", "new"}


async def test_an_offset_rewinds_the_group(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    await consumer.subscribe("log")
    for number in range(4):
        await producer.send(Outgoing(parent, b"%d" % number, lite_topic="log"))
    first = await collect(consumer, 4)
    await consumer.subscribe("log", 2)
    again = await collect(consumer, 2)
    assert ([each.offset for each in first], [each.offset for each in again]) == ([0, 1, 2, 3], [2, 3])
    await consumer.subscribe("log", "min")
    assert [each.offset for each in await collect(consumer, 4)] == [0, 1, 2, 3]


async def test_resubscribing_does_no_harm(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    await consumer.subscribe("a")
    await asyncio.gather(*(consumer.resubscribe("a") for _ in range(5)))
    await producer.send(Outgoing(parent, b"1", lite_topic="a"))
    assert len(await collect(consumer, 1)) == 1
    assert await consumer.receive(poll=1) == []


async def test_one_message_of_a_lite_topic_waits_for_the_ack_of_those_before(
    connection: Connection, place: Place
) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    await consumer.subscribe("a")
    await producer.send(Outgoing(parent, b"1", lite_topic="a"))
    (first,) = await consumer.receive()
    await producer.send(Outgoing(parent, b"2", lite_topic="a"))
    assert await consumer.receive(poll=1) == []
    await consumer.ack([first])
    assert [each.body for each in await collect(consumer, 1)] == [b"2"]


async def test_a_given_back_lite_message_comes_again(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    await consumer.subscribe("a")
    await producer.send(Outgoing(parent, b"1", lite_topic="a"))
    (first,) = await consumer.receive()
    await consumer.change_invisible(first, 1)
    (second,) = await collect(consumer, 1)
    assert (second.id, second.attempt) == (first.id, 2)


async def test_a_lite_message_can_be_moved_to_the_dead_letters(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    await consumer.subscribe("a")
    await producer.send(Outgoing(parent, b"1", lite_topic="a"))
    (message,) = await consumer.receive()
    await consumer.dead_letter(message)
    dead = f"%DLQ%{consumer.group}"

    async def arrived() -> bool:
        return dead in await place.remoting.topics() and await place.remoting.max_offset(dead) == 1

    await until(arrived)
    (record,) = (await place.remoting.pull(dead, 0)).records
    assert (record.body, record.lite_topic) == (b"1", "a")


async def test_the_newest_subscriber_of_an_exclusive_group_takes_over_and_the_old_one_hears_of_it(
    connection: Connection, place: Place
) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    old = await a_lite_consumer(connection, place, parent, exclusive=True)
    new = LiteConsumer(connection, old.group, parent)
    await new.start()
    await old.subscribe("a")
    await new.subscribe("a")
    async with asyncio.timeout(10):
        assert await old.revoked.get() == "a"
    assert old.names == set()
    await producer.send(Outgoing(parent, b"1", lite_topic="a"))
    assert [each.body for each in await collect(new, 1)] == [b"1"]


async def test_beyond_the_names_of_one_client_there_is_another(
    connection: Connection, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lite, "NAMES", 10)
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    names = [f"n-{number}" for number in range(35)]
    receiving = asyncio.create_task(collect(consumer, 35))
    await asyncio.gather(*(consumer.subscribe(each) for each in names))
    await asyncio.gather(*(producer.send(Outgoing(parent, b"1", lite_topic=each)) for each in names))
    assert {each.lite_topic for each in await receiving} == set(names)
    info = [await place.remoting.lite_topic_info(parent, each) for each in names]
    assert len({each["subscriber"][0]["clientId"] for each in info if each}) == 4


async def test_the_servers_know_thousands_of_names_of_one_consumer(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    names = [f"n-{number}" for number in range(4000)]
    await asyncio.gather(*(consumer.subscribe(each) for each in names))
    wake = [names[0], names[1899], names[1900], names[3999]]
    for each in wake:
        await producer.send(Outgoing(parent, b"1", lite_topic=each))
    assert {each.lite_topic for each in await collect(consumer, 4)} == set(wake)


async def test_a_full_sync_undoes_no_subscription_that_is_on_its_way(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    syncing = asyncio.Event()

    async def sync() -> None:
        while not syncing.is_set():
            await consumer.replace(consumer.names)

    task = asyncio.create_task(sync())
    received = asyncio.create_task(collect(consumer, 300))
    for number in range(300):
        await consumer.subscribe(f"c-{number}")
        await producer.send(Outgoing(parent, b"1", lite_topic=f"c-{number}"))
    syncing.set()
    await task
    assert len(await received) == 300


async def test_a_name_that_cannot_be_is_refused_before_it_is_sent(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    consumer = await a_lite_consumer(connection, place, parent)
    for name in ("a.b", "", "x" * 65, "a/b", "天"):
        with pytest.raises(ConfigError, match="cannot name a LiteTopic"):
            await consumer.subscribe(name)
    assert consumer.names == set()


async def test_a_group_that_is_bound_to_nothing_is_refused_with_the_line_that_binds_it(
    connection: Connection, place: Place
) -> None:
    parent = await place.topic(type="LITE")
    consumer = LiteConsumer(connection, await place.group(), parent)
    with pytest.raises(ConfigError, match=r"\+lite.bind.topic="):
        await consumer.start()


async def test_a_closed_consumer_refuses_names(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    consumer = await a_lite_consumer(connection, place, parent)
    await consumer.close(hurry=True)
    with pytest.raises(BrokerUnavailable, match="closed"):
        await consumer.subscribe("a")
