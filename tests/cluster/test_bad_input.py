"""Wrong addresses, wrong servers, wrong rights, wrong messages: each is a named error that says what to do.

See also client/test_wrong_servers.py, client/test_secured.py and nacos/test_publishing.py, a layer below.
"""

import asyncio
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cluster.conftest import Place
from cluster.nacos.forgetful import forgetful
from cluster.test_doctor import doctor

from agentmesh import Agent, Mesh, skill
from agentmesh.broker.rocketmq.address import Address, Credentials, read_address
from agentmesh.broker.rocketmq.client import Connection, Outgoing, Producer
from agentmesh.broker.rocketmq.names import Names
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.errors import BrokerUnavailable, ConfigError, Conflict, RegistryUnavailable, Unauthorized
from agentmesh.registry.nacos import sdk
from deploy.rocketmq import PASSWORD, USER, RocketMQ, free_ports

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
]
DOCTOR = "`agentmesh doctor` says what else is wrong"


class EchoAgent(Agent):
    """Echoes."""

    @skill
    async def echo(self, text: str) -> str:
        """Give a text back."""
        return text


def another_echo() -> type[Agent]:
    """An agent of the same topic and version, with another card."""

    class EchoAgent(Agent):
        """Shouts."""

        @skill
        async def shout(self, text: str) -> str:
            """Give a text back, louder."""
            return text.upper()

    return EchoAgent


@asynccontextmanager
async def a_web_server() -> AsyncIterator[str]:
    """HOST:PORT of something that speaks HTTP."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def opening(broker: str, registry: str, **options: Any) -> str:
    """What is said when the mesh is opened, which must fail."""
    with pytest.raises((BrokerUnavailable, ConfigError, Unauthorized)) as caught:
        async with Mesh(broker, registry, **options):
            pass
    return f"{type(caught.value).__name__}: {caught.value}"


def at(place: Place, endpoint: str = "", remoting: str = "") -> str:
    """The mesh's URL with other ports."""
    address = read_address(place.broker)
    ports = f"{endpoint or address.endpoint}?remoting={remoting or address.remoting}"
    return f"rocketmq://{ports}&namespace={address.namespace}"


# Where nothing listens, or something else


async def test_an_endpoint_where_nothing_listens_is_named(place: Place) -> None:
    said = await opening(at(place, "127.0.0.1:1"), place.registry)
    assert said.startswith("BrokerUnavailable: ")
    assert "127.0.0.1:1: UNAVAILABLE" in said
    assert "Check that a RocketMQ proxy listens for gRPC" in said


async def test_an_endpoint_where_a_web_server_listens_is_named(place: Place) -> None:
    async with a_web_server() as where:
        said = await opening(at(place, where), place.registry)
        assert said.startswith("BrokerUnavailable: ")
        assert f"Check that a RocketMQ proxy listens for gRPC at {where}" in said
        said = await opening(at(place, remoting=where), place.registry)
        assert said.startswith("BrokerUnavailable: ")
        assert "Check the port." in said or "listens there for the remoting protocol" in said


async def test_the_ports_of_a_cluster_given_for_each_other_are_named(place: Place) -> None:
    address = read_address(place.broker)
    said = await opening(at(place, address.remoting), place.registry)
    assert said.startswith("BrokerUnavailable: ")
    assert f"listens for gRPC at {address.remoting} (by default on port 8081)" in said
    said = await opening(at(place, remoting=address.endpoint), place.registry)
    assert said.startswith("BrokerUnavailable: ")
    assert "remoting protocol" in said


async def test_a_proxy_given_for_the_broker_is_named_with_the_ports_that_will_do(place: Place) -> None:
    host, _, port = read_address(place.broker).endpoint.rpartition(":")
    said = await opening(at(place, remoting=f"{host}:{int(port) - 1}"), place.registry)
    assert said.startswith("ConfigError: ")
    assert "?remoting=HOST:10911" in said
    assert DOCTOR in said


def test_the_command_line_tells_it_in_a_line_and_by_its_exit_code(place: Place, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agentmesh", "stats", "--mesh", at(place, "127.0.0.1:1"), "--registry"]
    done = subprocess.run([*command, place.registry], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr.startswith("error: ")
    assert "Check that a RocketMQ proxy listens" in done.stderr
    assert "Traceback" not in done.stderr


# Servers that are set up wrongly


@pytest.fixture(scope="module")
def local_mode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    servers = RocketMQ(tmp_path_factory.mktemp("local"), first_port=free_ports(10), mode="local")
    servers.start("namesrv", "proxy")
    yield servers.url
    servers.kill()


@pytest.mark.slow
async def test_a_proxy_in_local_mode_is_named_before_anything_waits(
    local_mode: str, place: Place, tmp_path: Path
) -> None:
    said = await opening(local_mode, place.registry)
    assert said.startswith("ConfigError: ")
    assert "LOCAL mode, which has no LiteTopics. Start it in CLUSTER mode" in said
    assert "mqproxy -pm cluster" in (await doctor(tmp_path, local_mode)).of("lite")[0]


@pytest.fixture(scope="module")
def without_lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    servers = RocketMQ(tmp_path_factory.mktemp("off"), first_port=free_ports(10), lite=False)
    servers.start()
    yield servers.url
    servers.kill()


@pytest.mark.slow
async def test_lite_topics_that_are_switched_off_are_named_before_anything_is_lost(
    without_lite: str, place: Place
) -> None:
    said = await opening(without_lite, place.registry)
    assert said.startswith("ConfigError: ")
    assert "LiteTopics are switched off there" in said
    assert "enableLmq=true and enableMultiDispatch=true (broker.conf)" in said


async def test_an_agents_topic_of_another_type_is_named_with_the_lines_that_change_it(place: Place) -> None:
    address = read_address(place.broker)
    name = Names(address.namespace).lane("EchoAgentTask")
    remoting = Remoting(address)
    await remoting.create_topic(name, type="FIFO")
    async with Mesh(*place) as mesh:
        with pytest.raises(ConfigError, match=f"another type.*deleteTopic .* -t {name}.*updateTopic .* -t {name}"):
            await mesh.serve(EchoAgent())
    assert (await remoting.topic_config(name) or {})["message.type"] == "FIFO"
    await remoting.close()


async def test_a_topic_of_the_mesh_of_another_type_is_named_when_opening(place: Place) -> None:
    address = read_address(place.broker)
    name = Names(address.namespace).parent_of("session")
    remoting = Remoting(address)
    await remoting.create_topic(name, type="FIFO")
    said = await opening(*place)
    assert said.startswith(f"ConfigError: Topic {name} is of another type: FIFO, and has to be LITE.")
    assert DOCTOR in said
    await remoting.close()


# Rights


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RocketMQ]:
    """A cluster that wants to know who asks."""
    servers = RocketMQ(tmp_path_factory.mktemp("secured"), first_port=free_ports(10), acl=True)
    servers.start()
    (servers.folder / "conf" / "tools.yml").write_text(f"accessKey: {USER}\nsecretKey: {PASSWORD}\n")
    yield servers
    servers.kill()


def administrator(servers: RocketMQ) -> Address:
    return msgspec.structs.replace(read_address(servers.url), credentials=Credentials(USER, PASSWORD))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("user", "secret", "wanted"),
    [
        ("", "", "give the access key and the secret key"),
        (USER, "wrong-secret", "secret key is wrong"),
        ("stranger", "secret-1", "User:stranger is not found"),
    ],
)
async def test_who_is_not_known_is_told_so_when_opening(
    secured: RocketMQ, place: Place, user: str, secret: str, wanted: str
) -> None:
    said = await opening(secured.url, place.registry, access_key=user or None, secret_key=secret or None)
    assert said.startswith("Unauthorized: ")
    assert wanted in said
    assert DOCTOR in said
    assert secret not in said or not secret


@pytest.mark.slow
async def test_the_line_that_doctor_prints_gives_the_rights_that_a_mesh_needs(
    secured: RocketMQ, place: Place, tmp_path: Path
) -> None:
    remoting = Remoting(administrator(secured))
    await remoting.create_user("mesh", "mesh-secret-1")
    await remoting.close()
    url, keys = f"{secured.url}&namespace=mine", {"access_key": "mesh", "secret_key": "mesh-secret-1"}
    assert (await opening(url, place.registry, **keys)).startswith("Unauthorized: ")
    told = await doctor(tmp_path, url, keys={"AGENTMESH_ACCESS_KEY": "mesh", "AGENTMESH_SECRET_KEY": "mesh-secret-1"})
    line = told.of("needs")[0].partition(" / ")[2].splitlines()[0]
    line = line.replace("NAMESRV:9876", secured.namesrv).replace("CLUSTER", "DefaultCluster")
    assert "success" in await asyncio.to_thread(secured.mqadmin, *shlex.split(line)[1:])
    async with Mesh(url, place.registry, **keys) as mesh:
        await mesh.serve(EchoAgent())
        assert await mesh.call("EchoAgentTask", {"text": "x"}) == "x"
    other = f"{secured.url}&namespace=theirs"
    said = await opening(other, place.registry, **keys)
    assert said.startswith("Unauthorized: ")
    assert "User 'mesh' has no right to it" in said


# Messages and clocks


async def test_a_message_of_somebody_elses_format_becomes_a_dead_letter_and_the_worker_goes_on(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    address = read_address(place.broker)
    name = Names(address.namespace).lane("EchoAgentTask")
    remoting = Remoting(address)
    async with Mesh(*place) as mesh:
        await mesh.serve(EchoAgent())
        async with Connection(address) as connection:
            producer = Producer(connection)
            await producer.start()
            for body in (b"\xff\x00 no task", b'{"hello": "world"}', b"[" * 10_000):
                await producer.send(Outgoing(name, body))
        assert await mesh.call("EchoAgentTask", {"text": "still here"}) == "still here"
    letters = await remoting.pull(f"%DLQ%{name}", 0, wait=5)
    assert b"\xff\x00 no task" in [each.body for each in letters.records]
    assert "not a task of ours" in capsys.readouterr().err
    await remoting.close()


# Registries


async def test_of_two_publishers_of_one_version_the_second_is_told(place: Place) -> None:
    async with Mesh(*place) as one, Mesh(*place) as two:
        await one.serve(EchoAgent())
        with pytest.raises(Conflict, match="EchoAgentTask .* is registered with another card.*needs a new version"):
            await two.serve(another_echo()())


async def test_a_nacos_that_stores_nothing_is_found_out_before_an_agent_is_served(place: Place, tmp_path: Path) -> None:
    await asyncio.to_thread(sdk.load)
    async with forgetful() as url, Mesh(place.broker, url, cache=tmp_path) as mesh:
        with pytest.raises(RegistryUnavailable, match="does not have it: its storage did not start"):
            await mesh.serve(EchoAgent())


async def test_a_mesh_without_a_registry_is_told_to_name_one(place: Place) -> None:
    assert "name one with --registry nacos://HOST:PORT" in await opening(place.broker, "mesh")
