"""Sending."""

import asyncio
import time

import pytest
from cluster.client.kit import Place, a_consumer, a_lite_consumer, a_producer, collect, one

from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.client import Connection, Outgoing
from agentmesh.errors import BrokerUnavailable, ConfigError, PayloadCorrupt, PayloadTooLarge


async def test_everything_a_message_carries_arrives(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    before = time.time() * 1000
    sent = Outgoing(topic, "天气".encode(), keys=("k1", "k2"), tag="t", properties={"a": "甲", "b": ""})
    number = await producer.send(sent)
    (message,) = await collect(consumer, 1)
    assert (message.id, message.topic, message.body) == (number, topic, "天气".encode())
    assert (message.keys, message.tag, message.attempt, message.lite_topic) == (("k1", "k2"), "t", 1, "")
    assert message.properties["a"] == "甲"
    assert abs(message.born - before) < 60_000


async def test_many_sends_at_once_are_all_stored_once_and_each_gets_its_own_id(
    connection: Connection, place: Place
) -> None:
    topic = await place.topic(queues=2)
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    ids = await asyncio.gather(*(producer.send(Outgoing(topic, b"%d" % number)) for number in range(500)))
    messages = await collect(consumer, 500)
    assert {each.id: each.body for each in messages} == {ids[number]: b"%d" % number for number in range(500)}
    assert await consumer.receive(poll=1) == []


async def test_a_batch_is_stored_in_its_order(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    ids = await producer.send_batch([Outgoing(topic, b"%d" % number) for number in range(20)])
    pulled = await place.remoting.pull(topic, 0)
    assert [each.id for each in pulled.records] == ids
    assert [each.body for each in pulled.records] == [b"%d" % number for number in range(20)]


async def test_lite_messages_are_refused_in_a_batch_since_they_would_be_lost(
    connection: Connection, place: Place
) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    with pytest.raises(ConfigError, match="NORMAL messages of one topic"):
        await producer.send_batch([Outgoing(parent, b"1", lite_topic="a"), Outgoing(parent, b"2", lite_topic="a")])


async def test_lite_messages_sent_at_once_all_arrive(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    names = [f"call-{number}" for number in range(100)]
    await asyncio.gather(*(consumer.subscribe(each) for each in names))
    await asyncio.gather(*(producer.send(Outgoing(parent, each.encode(), lite_topic=each)) for each in names))
    messages = await collect(consumer, 100)
    assert {each.lite_topic: each.body for each in messages} == {each: each.encode() for each in names}


async def test_the_highest_priority_comes_first(connection: Connection, place: Place) -> None:
    topic = await place.topic(type="PRIORITY", queues=10)
    producer = await a_producer(connection)
    for priority in (0, 9, 4):
        await producer.send(Outgoing(topic, b"%d" % priority, priority=priority))
    consumer = await a_consumer(connection, place, topic)
    assert [(await one(consumer)).body for _ in range(3)] == [b"9", b"4", b"0"]


async def test_a_delayed_message_comes_at_its_time(connection: Connection, place: Place) -> None:
    topic = await place.topic(type="DELAY")
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    at = int(time.time() * 1000) + 2000
    await producer.send(Outgoing(topic, b"later", deliver_at=at))
    await collect(consumer, 1)
    assert time.time() * 1000 >= at - 100


async def test_one_message_that_is_refused_does_not_harm_those_it_shared_a_batch_with(
    connection: Connection, place: Place
) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    bodies = [b"1", b"", b"2"]
    results = await asyncio.gather(*(producer.send(Outgoing(topic, each)) for each in bodies), return_exceptions=True)
    assert [isinstance(each, str) for each in results] == [True, False, True]
    assert isinstance(results[1], PayloadCorrupt)
    assert (await place.remoting.max_offset(topic)) == 2


async def test_a_body_over_the_limit_names_the_setting(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    with pytest.raises(PayloadTooLarge, match="maxMessageSize"):
        await producer.send(Outgoing(topic, bytes(5 << 20)))


async def test_large_bodies_pass_below_the_limit(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    bodies = {bytes([number]) * (3 << 20) for number in range(1, 4)}
    await asyncio.gather(*(producer.send(Outgoing(topic, each)) for each in bodies))
    received = [(await one(consumer)).body for _ in range(3)]
    assert set(received) == bodies


async def test_a_message_of_several_types_is_refused(connection: Connection, place: Place) -> None:
    producer = await a_producer(connection)
    with pytest.raises(ConfigError, match="not several"):
        await producer.send(Outgoing("cl-any", b"1", lite_topic="a", priority=3))


async def test_close_waits_for_what_is_on_its_way_and_refuses_what_comes_after(
    connection: Connection, place: Place
) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    sends = [asyncio.create_task(producer.send(Outgoing(topic, b"%d" % number))) for number in range(200)]
    await asyncio.sleep(0)
    await producer.close()
    assert len(await asyncio.gather(*sends)) == 200
    with pytest.raises(BrokerUnavailable, match="closed"):
        await producer.send(Outgoing(topic, b"late"))


async def test_a_send_that_a_hurried_close_breaks_off_is_an_error_and_no_cancellation(
    address: Address, place: Place
) -> None:
    parent = await place.topic(type="LITE")
    async with Connection(address) as connection:
        producer = await a_producer(connection)
        sends = [
            asyncio.create_task(producer.send(Outgoing(parent, bytes(50_000), lite_topic="a"))) for _ in range(300)
        ]
        await sends[0]
        await connection.close(hurry=True)
        async with asyncio.timeout(5):
            results = await asyncio.gather(*sends, return_exceptions=True)
    assert {type(each) for each in results} == {str, BrokerUnavailable}
