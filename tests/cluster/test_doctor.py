"""`agentmesh doctor` for a mesh on RocketMQ and Nacos."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from cluster.conftest import Place
from cluster.nacos.forgetful import forgetful
from contract.cluster import ServersClock

from agentmesh.broker.rocketmq import open_rocketmq
from agentmesh.broker.rocketmq.address import read_address
from agentmesh.broker.rocketmq.broker import RocketMQBroker
from agentmesh.broker.rocketmq.health import examine
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.contracts import Delivery
from agentmesh.registry.nacos import sdk
from deploy.rocketmq import RocketMQ, free_ports

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
]


class Ahead(ServersClock):
    """The clock of a machine that nobody set."""

    def now(self) -> int:
        return super().now() + 90_000


class Told(NamedTuple):
    """What doctor said: its exit code, and what it found, as `area: status: text / fix`."""

    code: int
    found: list[str]

    def of(self, area: str) -> list[str]:
        return [each for each in self.found if each.startswith(f"{area}: ")]


async def doctor(
    folder: Path, mesh: str, *registries: str, options: tuple[str, ...] = (), keys: Mapping[str, str] | None = None
) -> Told:
    command = [sys.executable, "-m", "agentmesh", "doctor", "--json", "--mesh", mesh, *options]
    for each in registries:
        command += ["--registry", each]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENTMESH_")}
    environment |= keys or {}
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, cwd=folder, env=environment)
    out, _ = await process.communicate()
    found = [f"{each['area']}: {each['status']}: {each['text']} / {each['fix']}" for each in json.loads(out)]
    assert process.returncode is not None
    return Told(process.returncode, found)


@pytest.fixture
def clock(rocketmq_url: str) -> ServersClock:
    """That of the servers, which other tests move."""
    return ServersClock(clock_file())


def clock_file() -> Path:
    return Path(os.environ["AGENTMESH_TEST_CLUSTER"], "steady", "clock")


@pytest.fixture
async def mesh(place: Place, clock: ServersClock) -> AsyncIterator[RocketMQBroker]:
    """A mesh that was opened."""
    broker = await open_rocketmq(place.broker, clock)
    yield broker
    await broker.close()


@pytest.fixture
async def remoting(place: Place) -> AsyncIterator[Remoting]:
    remoting = Remoting(read_address(place.broker))
    yield remoting
    await remoting.close()


@pytest.fixture(scope="module")
def badly_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a cluster with nearly everything set as it should not be."""
    wrong = ("storeType=default", "fileReservedTime=40", "waitTimeMillsInSendQueue=200", "maxMessageSize=1048576")
    folder = tmp_path_factory.mktemp("badly")
    servers = RocketMQ(folder, first_port=free_ports(10), lite=False, events=100, settings=wrong)
    servers.start()
    yield servers.url
    servers.kill()


async def test_a_mesh_in_order_has_no_problems_and_tells_what_is_in_it(
    mesh: RocketMQBroker, place: Place, tmp_path: Path
) -> None:
    await mesh.declare("SkyAgentTask", Delivery())
    health = await mesh.health()
    assert health.problems == []
    assert health.facts["version"] == "5.5.0"
    assert health.facts["topics"] == 1
    told = await doctor(tmp_path, *place)
    for said in (
        "broker: ok: RocketMQ 5.5.0, broker-a of DefaultCluster / ",
        "flags: ok: LiteTopics on, defaultRocksDB, kept 744 h / ",
        "lite: ok: LiteTopics can be written, read and followed / ",
        "queues: ok: 1 topics, 1 queues of tasks / ",
        "contents: ok: 1 topics; 0 tasks waiting, 0 running, 0 dead / ",
    ):
        assert said in told.found
    assert "keeps what it is given" in told.of("registry")[0]
    assert "1,024 characters of metadata" in told.of("registry")[0]


async def test_every_setting_that_is_wrong_comes_with_its_line_whether_the_mesh_opens_or_not(
    badly_set: str, tmp_path: Path
) -> None:
    told = await doctor(tmp_path, badly_set)
    assert told.code == 1
    lines = [
        "enableLmq=true",
        "enableMultiDispatch=true",
        "storeType=defaultRocksDB",
        "maxClientEventCount=100000",
        "waitTimeMillsInSendQueue=2000",
        "maxMessageSize=4194304",
        "fileReservedTime=744",
    ]
    fixes = [each.partition(" / broker.conf: ")[2].partition(" ")[0] for each in told.of("flags")]
    assert fixes == lines
    assert told.of("topics") == ["topics: ok: the mesh (no namespace) is not there yet; the first use makes it / "]
    assert "registry: fail: a rocketmq:// mesh has no registry of its own" in told.of("registry")[0]


async def test_topics_that_are_missing_or_of_another_type_come_with_the_lines_that_make_them(
    mesh: RocketMQBroker, place: Place, remoting: Remoting, tmp_path: Path
) -> None:
    await mesh.declare("SkyAgentTask", Delivery())
    name, missing = mesh.names.lane("SkyAgentTask"), mesh.names.parent_of("memory")
    for each in (name, missing):
        await remoting.delete_topic(each)
    await remoting.create_topic(name, type="FIFO")
    await remoting.create_group(name, retries=3)
    told = await doctor(tmp_path, *place)
    topics, groups = told.of("topics"), told.of("groups")
    assert topics[0].startswith(f"topics: fail: There is no topic {missing}. / mqadmin updateTopic -n 127.0.0.1:")
    assert topics[0].endswith(f" -t {missing} -r 1 -w 1 -a +message.type=LITE,+lite.topic.expiration=35790")
    assert f"Topic {name} is of type FIFO, and has to be NORMAL" in topics[1]
    assert f"deleteTopic -n 127.0.0.1:{remoting_port(topics[0])} -c DefaultCluster -t {name} && mqadmin" in topics[1]
    assert f"groups: fail: Group {name} gives up a message after 3 deliveries" in groups[0]
    assert groups[0].endswith(f"-c DefaultCluster -g {name} -r 1000000")


def remoting_port(line: str) -> str:
    """Of the name server in a line of mqadmin."""
    return line.partition("-n 127.0.0.1:")[2].partition(" ")[0]


async def test_inboxes_that_killed_processes_left_are_counted_and_removed_by_mending(
    mesh: RocketMQBroker, place: Place, remoting: Remoting, tmp_path: Path
) -> None:
    inbox = mesh.inbox("alive")
    await inbox.subscribe("call-1")
    left = [mesh.names.waking(f"killed {number}", "call") for number in range(2)]
    for each in left:
        await remoting.create_group(each, lite_parent=mesh.names.parent_of("call"))
    told = await doctor(tmp_path, *place)
    assert "inboxes: warn: 2 of 3 inbox groups are left over: their processes are gone." in told.of("inboxes")[0]
    assert f"deleteSubGroup -n 127.0.0.1:{remoting_port(told.of('inboxes')[0])}" in told.of("inboxes")[0]
    mended = await doctor(tmp_path, *place, options=("--mend",))
    assert mended.of("inboxes")[-1] == "inboxes: ok: mended: 2 groups in which nobody is any more are deleted / "
    groups = await remoting.groups()
    assert not groups & set(left)
    assert sum(each.startswith(mesh.names.parent_of("inbox-")) for each in groups) == 1


async def test_a_clock_that_is_off_is_a_problem_and_is_logged_when_a_mesh_opens(
    place: Place, clock: ServersClock, capsys: pytest.CaptureFixture[str]
) -> None:
    ahead = Ahead(clock_file())
    broker = await open_rocketmq(place.broker, ahead)
    assert "the clocks differ" in capsys.readouterr().err
    problems = (await broker.health()).problems
    assert len(problems) == 1
    assert re.match(r"Our clock is (89|9\d) s ahead of the broker's:", problems[0])
    assert "timedatectl set-ntp true" in problems[0]
    assert (await examine(read_address(place.broker), clock, broker.stats)).health().problems == []
    await broker.close()


async def test_a_port_that_makes_nothing_is_answered_by_the_lines_of_an_administrator(
    place: Place, tmp_path: Path
) -> None:
    address = read_address(place.broker)
    proxy = Remoting(msgspec.structs.replace(address, remoting=address.endpoint))
    host, _, port = proxy.endpoint.rpartition(":")
    await proxy.close()
    told = await doctor(tmp_path, f"rocketmq://{address.endpoint}?remoting={host}:{int(port) - 1}&namespace=other")
    assert "broker: fail: " in told.of("broker")[0]
    assert "?remoting=HOST:10911" in told.of("broker")[0]
    lines = told.of("needs")[0].partition(" / ")[2].splitlines()
    assert len(lines) == 13
    assert {line.split()[1] for line in lines} == {"updateTopic", "updateSubGroup"}
    assert all("other-agentmesh-" in line for line in lines)


async def test_doctor_says_what_is_wrong_where_nothing_answers(tmp_path: Path) -> None:
    told = await doctor(
        tmp_path, "rocketmq://127.0.0.1:1?remoting=127.0.0.1:2", "nacos://127.0.0.1:3", "https://127.0.0.1:4"
    )
    assert told.code == 1
    assert "proxy: fail: Introducing a client at RocketMQ 127.0.0.1:1" in told.of("proxy")[0]
    assert "broker: fail: Asking for the brokers at RocketMQ 127.0.0.1:2: no answer" in told.of("broker")[0]
    assert "registry: fail: nacos://127.0.0.1:3 cannot be reached" in told.of("registry")[0]
    assert "registry: fail: https://127.0.0.1:4 cannot be reached" in told.of("registry")[1]


async def test_a_nacos_that_stores_nothing_fails(place: Place, tmp_path: Path) -> None:
    await asyncio.to_thread(sdk.load)
    async with forgetful() as url:
        told = await doctor(tmp_path, place.broker, url)
    assert told.code == 1
    assert "says that it stored a document, and does not have it" in told.of("registry")[0]
