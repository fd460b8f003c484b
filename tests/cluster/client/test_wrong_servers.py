"""Servers that are set up in a way that loses messages, or can do nothing: each is a named error."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cluster.client.kit import Place, a_producer, until

from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.client import Connection, LiteConsumer, Outgoing, Producer
from agentmesh.broker.rocketmq.remoting import Remoting, lite_queue
from agentmesh.errors import BrokerUnavailable, ConfigError
from deploy.rocketmq import RocketMQ, free_ports

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def without_lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    servers = RocketMQ(tmp_path_factory.mktemp("off"), first_port=free_ports(10), lite=False)
    servers.start()
    yield Address(servers.endpoint, servers.remoting)
    servers.kill()


@pytest.fixture(scope="module")
def local_mode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    servers = RocketMQ(tmp_path_factory.mktemp("local"), first_port=free_ports(10), mode="local")
    servers.start("namesrv", "proxy")
    yield Address(servers.endpoint, servers.remoting)
    servers.kill()


async def test_lite_topics_that_are_switched_off_are_found_out_before_anything_is_lost(without_lite: Address) -> None:
    remoting = Remoting(without_lite)
    await remoting.create_topic("cl-parent", type="LITE")
    with pytest.raises(ConfigError, match="enableLmq=true"):
        await remoting.check_lite("cl-parent")
    with pytest.raises(ConfigError, match="enableMultiDispatch=true"):
        await remoting.pull(lite_queue("cl-parent", "call-1"), 0)
    await remoting.close()


async def test_a_proxy_in_local_mode_is_named(local_mode: Address) -> None:
    remoting = Remoting(local_mode)
    place = Place(remoting)
    parent = await place.topic(type="LITE")
    async with Connection(local_mode) as connection:

        async def is_known() -> bool:
            with contextlib.suppress(ConfigError):
                return bool(await connection.route("anybody", parent))
            return False

        await until(is_known)
        consumer = LiteConsumer(connection, await place.group(lite_parent=parent), parent)
        await consumer.start()
        with pytest.raises(ConfigError, match="LOCAL mode.*-pm cluster"):
            await consumer.subscribe("call-1")
        with pytest.raises(ConfigError, match="LOCAL mode"):
            await consumer.receive()
        await connection.close(hurry=True)
    await remoting.close()


@pytest.mark.parametrize("lite_topic", ["", "call-1"])
async def test_a_topic_of_another_type_is_named_with_the_lines_that_change_it(
    connection: Connection, place: Place, lite_topic: str
) -> None:
    topic = await place.topic(type="NORMAL" if lite_topic else "LITE")
    producer = await a_producer(connection)
    with pytest.raises(ConfigError, match=f"another type.*deleteTopic .* -t {topic} .*updateTopic .* -t {topic}"):
        await producer.send(Outgoing(topic, b"1", lite_topic=lite_topic))


async def test_a_missing_topic_is_named_with_the_line_that_creates_it(connection: Connection) -> None:
    producer = await a_producer(connection)
    with pytest.raises(ConfigError, match="no such topic.*updateTopic .* -t cl-nobody-made-this"):
        await producer.send(Outgoing("cl-nobody-made-this", b"1"))


@pytest.mark.parametrize("endpoint", ["127.0.0.1:1", "nobody.invalid:8081"])
async def test_a_wrong_endpoint_is_named(endpoint: str) -> None:
    async with Connection(Address(endpoint)) as connection:
        with pytest.raises(BrokerUnavailable, match=endpoint):
            await Producer(connection).start()


async def test_a_port_of_another_protocol_is_named(address: Address) -> None:
    async with Connection(Address(address.remoting_endpoint)) as connection:
        with pytest.raises(BrokerUnavailable, match="port 8081"):
            await Producer(connection).start()
    remoting = Remoting(msgspec.structs.replace(address, remoting=address.endpoint))
    with pytest.raises(BrokerUnavailable, match="remoting protocol"):
        await remoting.topics()
    await remoting.close()


async def test_tls_to_a_server_whose_certificate_nobody_vouches_for_is_refused(address: Address) -> None:
    """A proxy of RocketMQ answers TLS with a certificate of its own making, unless it was given one."""
    encrypted = msgspec.structs.replace(address, tls=True)
    async with Connection(encrypted) as connection:
        with pytest.raises(ConfigError, match="ca=PATH"):
            await Producer(connection).start()
    remoting = Remoting(encrypted)
    with pytest.raises(ConfigError, match="ca=PATH"):
        await remoting.topics()
    await remoting.close()


async def test_an_authority_that_cannot_be_read_is_named(address: Address, tmp_path: Path) -> None:
    missing = msgspec.structs.replace(address, tls=True, ca=str(tmp_path / "no.pem"))
    with pytest.raises(ConfigError, match=r"no\.pem"):
        Connection(missing)
    with pytest.raises(ConfigError, match=r"no\.pem"):
        Remoting(missing)
