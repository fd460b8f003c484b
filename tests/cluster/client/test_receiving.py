"""Receiving, acknowledging, giving back."""

import asyncio
import time

import pytest
from cluster.client.kit import Place, a_consumer, a_producer, collect, one, until

from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.client import Connection, Consumer, LiteConsumer, Outgoing, code_of
from agentmesh.errors import BrokerUnavailable, ConfigError, LeaseLost


async def test_an_acknowledged_message_never_comes_again(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    await producer.send(Outgoing(topic, b"1"))
    (message,) = await consumer.receive(invisible=10)
    await consumer.ack([message])
    lags = await place.remoting.lags(consumer.group, topic)
    assert await consumer.receive(poll=1) == []
    assert sum(each.written for each in lags) == 1


async def test_a_given_back_message_comes_again_as_its_second_attempt(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    number = await producer.send(Outgoing(topic, b"1"))
    (first,) = await consumer.receive()
    handle = first.handle
    await consumer.change_invisible(first, 1)
    assert first.handle != handle
    second = await one(consumer)
    assert (first.id, first.attempt, second.id, second.attempt) == (number, 1, number, 2)


async def test_a_handle_whose_time_is_over_is_a_lost_lease(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    await producer.send(Outgoing(topic, b"1"))
    (first,) = await consumer.receive()
    await consumer.change_invisible(first, 1)
    (second,) = await consumer.receive()
    with pytest.raises(LeaseLost):
        await consumer.ack([first])
    with pytest.raises(LeaseLost):
        await consumer.change_invisible(first, 10)
    await consumer.ack([second])


async def test_a_dead_letter_goes_to_the_groups_dead_letter_queue(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    await producer.send(Outgoing(topic, b"poison", properties={"a": "b"}))
    (message,) = await consumer.receive()
    await consumer.dead_letter(message)
    dead = f"%DLQ%{consumer.group}"

    async def arrived() -> bool:
        return dead in await place.remoting.topics() and await place.remoting.max_offset(dead) == 1

    await until(arrived)
    (record,) = (await place.remoting.pull(dead, 0)).records
    assert (record.body, record.properties["a"]) == (b"poison", "b")
    assert await consumer.receive(poll=1) == []


async def test_a_tag_chooses_messages(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic, "a || b")
    for tag in ("a", "c", "b"):
        await producer.send(Outgoing(topic, tag.encode(), tag=tag))
    assert {each.body for each in await collect(consumer, 2)} == {b"a", b"b"}


async def test_a_short_wait_ends_in_time_and_its_poll_serves_the_next_one(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    began = time.monotonic()
    assert await consumer.receive(poll=0.2) == []
    assert time.monotonic() - began < 2
    number = await producer.send(Outgoing(topic, b"1"))
    assert [each.id for each in await consumer.receive()] == [number]


async def test_a_cancelled_receive_loses_nothing(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    receiving = asyncio.create_task(consumer.receive())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await asyncio.shield(receiving)
    receiving.cancel()
    number = await producer.send(Outgoing(topic, b"1"))
    (message,) = await consumer.receive()
    assert (message.id, message.attempt) == (number, 1)


async def test_a_polite_close_takes_no_message_away(address: Address, connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    group = await place.group()
    leaving, staying = Consumer(connection, group, topic), Consumer(connection, group, topic)
    await leaving.start()
    await staying.start()
    assert await leaving.receive(poll=0.2) == []
    began = time.monotonic()
    closing = asyncio.create_task(leaving.close())
    await asyncio.sleep(0)
    sent = {await producer.send(Outgoing(topic, b"%d" % number)) for number in range(5)}
    received = {each.id: each.attempt for each in await collect(staying, 5)}
    await closing
    assert set(received) == sent
    assert time.monotonic() - began < 12


async def test_a_hurried_close_is_quick(address: Address, place: Place) -> None:
    topic = await place.topic()
    async with Connection(address) as connection:
        consumer = await a_consumer(connection, place, topic)
        assert await consumer.receive(poll=0.2) == []
        began = time.monotonic()
        await connection.close(hurry=True)
        assert time.monotonic() - began < 3
        with pytest.raises(BrokerUnavailable, match="closed"):
            await consumer.receive()


async def test_many_logical_clients_share_one_connection(address: Address, place: Place) -> None:
    topics = [await place.topic() for _ in range(5)]
    async with Connection(address) as connection:
        producer = await a_producer(connection)
        consumers = [await a_consumer(connection, place, topic) for topic in topics]
        sent = [await producer.send(Outgoing(topic, topic.encode())) for topic in topics]
        received = await asyncio.gather(*(collect(each, 1) for each in consumers))
        assert [each[0].id for each in received] == sent
        await connection.close(hurry=True)


async def test_a_missing_topic_is_named_with_the_line_that_creates_it(connection: Connection, place: Place) -> None:
    consumer = Consumer(connection, await place.group(), "cl-nobody-made-this")
    with pytest.raises(ConfigError, match="mqadmin updateTopic .* -t cl-nobody-made-this") as caught:
        await consumer.start()
    assert code_of(caught.value) == 40402


async def test_a_first_invisible_time_under_ten_seconds_is_refused(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    consumer = await a_consumer(connection, place, topic)
    with pytest.raises(ConfigError, match="10 s to 12 h"):
        await consumer.receive(invisible=3)


async def test_a_consumer_that_was_not_started_says_so(connection: Connection) -> None:
    with pytest.raises(BrokerUnavailable, match="not started"):
        await LiteConsumer(connection, "cl-g", "cl-p").receive()
