"""Clusters for tests: the one that `tests/cluster/run.py` started for this worker, and ones that may be hurt."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agentmesh.ids import new_token
from deploy.nacos import NacosServer
from deploy.rocketmq import RocketMQ, free_ports


class Place(NamedTuple):
    """Where a mesh of one's own is."""

    broker: str
    registry: str

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "AGENTMESH_BROKER": self.broker, "AGENTMESH_REGISTRY": self.registry}


def namespace() -> str:
    return "t" + "".join(each for each in new_token() if each.isalnum())[:12]


@pytest.fixture(scope="session")
def rocketmq_url() -> str:
    """Of the cluster that all tests share whose meshes have a clock of their own: nobody moves its clock."""
    folder = os.environ.get("AGENTMESH_TEST_CLUSTER")
    if not folder:
        pytest.skip("no cluster: `make test-cluster` starts one")
    return Path(folder, "steady", "url").read_text().strip()


@pytest.fixture(scope="session")
def nacos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NacosServer]:
    """That all tests of this worker share."""
    server = NacosServer(tmp_path_factory.mktemp("nacos"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def place(rocketmq_url: str, nacos: NacosServer) -> Place:
    """A mesh of the test's own."""
    own = namespace()
    return Place(f"{rocketmq_url}&namespace={own}", f"{nacos.url}?namespace={own}")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[RocketMQ]:
    """A RocketMQ of the test's own, to be treated badly."""
    servers = RocketMQ(tmp_path / "rocketmq", first_port=free_ports(10))
    servers.start()
    yield servers
    servers.kill()
