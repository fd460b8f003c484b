"""ACL 2.0 and TLS."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from cluster.client.kit import Place, a_certificate, a_consumer, a_lite_consumer, a_producer, collect

from agentmesh.broker.rocketmq.address import Address, Credentials
from agentmesh.broker.rocketmq.client import Connection, Outgoing, Producer
from agentmesh.broker.rocketmq.remoting import Remoting, lite_queue
from agentmesh.errors import Unauthorized
from deploy.rocketmq import PASSWORD, USER, RocketMQ, free_ports

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """The administrator's address of a cluster whose proxy has a certificate; its broker has none."""
    folder: Path = tmp_path_factory.mktemp("secured")
    certificate, key = a_certificate(folder)
    servers = RocketMQ(folder / "cluster", first_port=free_ports(10), acl=True, tls=(certificate, key))
    servers.start()
    credentials = Credentials(USER, PASSWORD)
    yield Address(
        servers.endpoint, servers.remoting, "", credentials, tls=True, ca=str(certificate), remoting_tls=False
    )
    servers.kill()


@pytest.fixture
async def home(secured: Address) -> AsyncIterator[Place]:
    remoting = Remoting(secured)
    yield Place(remoting)
    await remoting.close()


async def test_everything_works_signed_and_encrypted(secured: Address, home: Place) -> None:
    parent, topic = await home.topic(type="LITE"), await home.topic()
    async with Connection(secured) as connection:
        producer = await a_producer(connection)
        consumer = await a_consumer(connection, home, topic)
        replies = await a_lite_consumer(connection, home, parent)
        await replies.subscribe("call-1")
        await producer.send(Outgoing(topic, b"1"))
        await producer.send(Outgoing(parent, b"2", lite_topic="call-1"))
        assert [each.body for each in await collect(consumer, 1)] == [b"1"]
        assert [each.body for each in await collect(replies, 1)] == [b"2"]
        await connection.close(hurry=True)
    assert [each.body for each in (await home.remoting.pull(lite_queue(parent, "call-1"), 0)).records] == [b"2"]


async def test_a_proxy_is_read_over_tls(secured: Address, home: Place) -> None:
    topic = await home.topic()
    host, _, port = secured.endpoint.rpartition(":")
    through = Remoting(msgspec.structs.replace(secured, remoting=f"{host}:{int(port) - 1}", remoting_tls=True))
    assert await through.kind() == "proxy"
    assert await through.max_offset(topic) == 0
    await through.close()


@pytest.mark.parametrize(
    ("credentials", "said"),
    [(None, "wants a user"), (Credentials(USER, "wrong-1"), "secret key"), (Credentials("nobody", "x"), "nobody")],
)
async def test_a_stranger_is_refused_on_both_protocols(
    secured: Address, credentials: Credentials | None, said: str
) -> None:
    stranger = msgspec.structs.replace(secured, credentials=credentials)
    async with Connection(stranger) as connection:
        with pytest.raises(Unauthorized, match=said):
            await Producer(connection).start()
    remoting = Remoting(stranger)
    with pytest.raises(Unauthorized, match=said):
        await remoting.topics()
    await remoting.close()


async def test_a_tenant_stays_in_its_prefix_and_is_told_what_is_missing(secured: Address, home: Place) -> None:
    other = await home.topic()
    admin = home.remoting
    await admin.create_topic("t1-tasks")
    await admin.create_group("t1-workers")
    await admin.create_user("tenant", "tenant-secret-1")
    await admin.grant("tenant", ["Topic:t1-*"], ["Pub", "Sub"])
    await admin.grant("tenant", ["Group:t1-*"], ["Sub"])
    scoped = msgspec.structs.replace(secured, credentials=Credentials("tenant", "tenant-secret-1"))
    async with Connection(scoped) as connection:
        producer = await a_producer(connection)
        number = await producer.send(Outgoing("t1-tasks", b"1"))
        with pytest.raises(Unauthorized, match=f"createAcl .* -s User:tenant -r Topic:{other} -a Pub,Sub"):
            await producer.send(Outgoing(other, b"1"))
        await connection.close(hurry=True)
    assert number in {each.id for each in (await admin.pull("t1-tasks", 0)).records}
    remoting = Remoting(scoped)
    with pytest.raises(Unauthorized, match="User 'tenant'"):
        await remoting.create_topic("cl-theirs")
    await remoting.close()
