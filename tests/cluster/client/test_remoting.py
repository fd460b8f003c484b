"""The remoting protocol against real servers."""

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from cluster.client.kit import Place, a_consumer, a_lite_consumer, a_producer, collect, until

from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.client import Connection, Outgoing
from agentmesh.broker.rocketmq.remoting import Record, Remoting, lite_queue
from agentmesh.errors import BrokerUnavailable, ConfigError


@pytest.fixture
async def name_server(address: Address, remoting: Remoting) -> AsyncIterator[Remoting]:
    """The same cluster by its name server, which the broker knows."""
    found = (await remoting.broker_config())["namesrvAddr"]
    other = Remoting(msgspec.structs.replace(address, remoting=found))
    yield other
    await other.close()


@pytest.fixture
async def proxy(address: Address, name_server: Remoting) -> AsyncIterator[Remoting]:
    """The same cluster by its proxy, whose remoting port is one below that of gRPC."""
    host, _, port = address.endpoint.rpartition(":")
    other = Remoting(msgspec.structs.replace(address, remoting=f"{host}:{int(port) - 1}"))
    yield other
    await other.close()


async def test_a_lite_topic_is_read_at_any_offset_by_anybody(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    for number in range(5):
        await producer.send(Outgoing(parent, b"%d" % number, lite_topic="log"))
    queue = lite_queue(parent, "log")
    everything = await place.remoting.pull(queue, 0)
    assert [(each.offset, each.body) for each in everything.records] == [(n, b"%d" % n) for n in range(5)]
    assert (everything.next, everything.min, everything.max) == (5, 0, 5)
    part = await place.remoting.pull(queue, 3, limit=1)
    assert ([each.body for each in part.records], part.next) == ([b"3"], 4)
    assert (await place.remoting.max_offset(queue), await place.remoting.min_offset(queue)) == (5, 0)


async def test_reading_takes_nothing_away_from_a_consumer(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    consumer = await a_lite_consumer(connection, place, parent)
    await consumer.subscribe("log")
    await producer.send(Outgoing(parent, b"1", lite_topic="log"))
    await place.remoting.pull(lite_queue(parent, "log"), 0)
    assert len(await collect(consumer, 1)) == 1


async def test_a_lite_topic_that_was_never_written_to_is_empty(place: Place) -> None:
    parent = await place.topic(type="LITE")
    pulled = await place.remoting.pull(lite_queue(parent, "never"), 0)
    assert (pulled.records, pulled.next, pulled.max) == ([], 0, 0)
    assert await place.remoting.max_offset(lite_queue(parent, "never")) == 0


async def test_the_offset_at_a_time_is_the_first_message_since(connection: Connection, place: Place) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    for number in range(3):
        await producer.send(Outgoing(parent, b"%d" % number, lite_topic="log"))
        await asyncio.sleep(0.05)
    queue = lite_queue(parent, "log")
    records = (await place.remoting.pull(queue, 0)).records
    assert await place.remoting.offset_at(queue, records[1].stored) == 1
    assert await place.remoting.offset_at(queue, 0) == 0


async def test_a_waiting_pull_is_answered_when_something_comes(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    pulling = asyncio.create_task(place.remoting.pull(topic, 0, wait=15))
    await place.remoting.topic_config(topic)
    await producer.send(Outgoing(topic, b"1"))
    assert [each.body for each in (await pulling).records] == [b"1"]


async def test_messages_are_found_by_key_those_of_lite_topics_too(connection: Connection, place: Place) -> None:
    parent, topic = await place.topic(type="LITE"), await place.topic()
    producer = await a_producer(connection)
    await producer.send(Outgoing(parent, b"1", lite_topic="a", keys=("key-1",)))
    await producer.send(Outgoing(parent, b"2", lite_topic="b", keys=("key-1", "key-2")))
    await producer.send(Outgoing(topic, b"3", keys=("key-1",)))
    found: list[Record] = []

    async def indexed() -> bool:
        found[:] = await place.remoting.by_key(parent, "key-1")
        return len(found) == 2

    await until(indexed)
    assert [(each.lite_topic, each.body) for each in found] == [("a", b"1"), ("b", b"2")]
    assert [each.body for each in await place.remoting.by_key(topic, "key-1")] == [b"3"]
    assert await place.remoting.by_key(parent, "key-9") == []


async def test_topics_are_created_described_and_deleted(remoting: Remoting, place: Place) -> None:
    topic = await place.topic(type="LITE", queues=2, expiration_minutes=60)
    config = await remoting.topic_config(topic)
    assert config == {"message.type": "LITE", "lite.topic.expiration": "60", "queues": "2"}
    assert topic in await remoting.topics()
    await remoting.delete_topic(topic)
    assert await remoting.topic_config(topic) is None
    assert topic not in await remoting.topics()
    await remoting.delete_topic(topic)


async def test_groups_are_created_and_deleted(remoting: Remoting, place: Place) -> None:
    parent = await place.topic(type="LITE")
    group = await place.group(lite_parent=parent, retries=3)
    assert group in await remoting.groups()
    await remoting.delete_group(group)
    assert group not in await remoting.groups()


async def test_lags_say_how_far_a_group_is(connection: Connection, place: Place) -> None:
    topic = await place.topic()
    producer = await a_producer(connection)
    consumer = await a_consumer(connection, place, topic)
    await producer.send_batch([Outgoing(topic, b"%d" % number) for number in range(3)])
    await collect(consumer, 3)

    async def caught_up() -> bool:
        return [(each.written, each.read) for each in await place.remoting.lags(consumer.group, topic)] == [(3, 3)]

    await until(caught_up)


async def test_the_broker_tells_its_version_settings_and_time(remoting: Remoting) -> None:
    assert (await remoting.broker_version()).startswith("5.")
    assert (await remoting.broker_config())["enableLmq"] == "true"
    skew = await remoting.broker_time() - time.time() * 1000
    assert abs(skew) < 60_000
    await remoting.check_lite("cl-any")


async def test_a_proxy_reads_and_says_what_it_cannot_do(connection: Connection, place: Place, proxy: Remoting) -> None:
    parent = await place.topic(type="LITE")
    producer = await a_producer(connection)
    await producer.send(Outgoing(parent, b"1", lite_topic="log"))
    assert await proxy.kind() == "proxy"
    assert [each.body for each in (await proxy.pull(lite_queue(parent, "log"), 0)).records] == [b"1"]
    assert await proxy.max_offset(lite_queue(parent, "log")) == 1
    with pytest.raises(ConfigError, match=r"remoting=HOST:10911"):
        await proxy.create_topic("cl-never")
    with pytest.raises(ConfigError, match="mqadmin updateTopic"):
        await proxy.pull("cl-nobody-made-this", 0)


async def test_a_name_server_leads_to_all_its_brokers(
    connection: Connection, place: Place, name_server: Remoting, remoting: Remoting
) -> None:
    assert await name_server.kind() == "name server"
    topic = await place.topic()
    producer = await a_producer(connection)
    await producer.send(Outgoing(topic, b"1"))
    assert [each.body for each in (await name_server.pull(topic, 0)).records] == [b"1"]
    (addresses,) = (await name_server.cluster()).values()
    assert addresses["0"] == remoting.endpoint
    await name_server.delete_topic(topic)
    assert await remoting.topic_config(topic) is None


async def test_a_cluster_without_a_name_servers_address_cannot_be_listed(remoting: Remoting) -> None:
    with pytest.raises(ConfigError):
        await remoting.cluster()


async def test_many_requests_are_on_their_way_at_once(place: Place) -> None:
    topic = await place.topic()
    answers = await asyncio.gather(*(place.remoting.max_offset(topic) for _ in range(500)))
    assert set(answers) == {0}


async def test_a_missing_topic_is_named_with_the_line_that_creates_it(remoting: Remoting) -> None:
    with pytest.raises(ConfigError, match="mqadmin updateTopic .* -t cl-nobody-made-this"):
        await remoting.pull("cl-nobody-made-this", 0)


async def test_a_wrong_port_is_named(address: Address) -> None:
    remoting = Remoting(msgspec.structs.replace(address, remoting="127.0.0.1:1"))
    with pytest.raises(BrokerUnavailable, match="127.0.0.1:1.*10911"):
        await remoting.topics()
    await remoting.close()


async def test_a_closed_client_refuses_requests(address: Address) -> None:
    remoting = Remoting(address)
    await remoting.topics()
    await remoting.close()
    with pytest.raises(BrokerUnavailable, match="closed"):
        await remoting.topics()
