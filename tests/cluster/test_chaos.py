"""`agentmesh chaos` on a cluster of its own: servers, workers, callers and supervisors are killed and frozen under
traffic, and nothing is lost or happens twice.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentmesh.broker.rocketmq.address import read_address
from agentmesh.broker.rocketmq.remoting import Remoting
from deploy.cluster import servers
from deploy.rocketmq import free_ports

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parent.parent.parent
SECONDS = 130


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, str, Path]]:
    """The URLs of a mesh and a registry, and the file that tells of their servers."""
    folder, port = tmp_path / "cluster", free_ports(12)
    command = [sys.executable, "-m", "deploy.cluster", "up", "--folder", str(folder), "--port", str(port)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    rocketmq, nacos = servers(folder, port)
    yield rocketmq.url, nacos.url, folder / "servers.json"
    rocketmq.kill()
    nacos.kill()


def drill(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "agentmesh", "chaos", "--json", "--seed", "3", *arguments]
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1, 3), done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.promise(3)
@pytest.mark.promise(4)
async def test_whoever_is_killed_and_frozen_servers_too_nothing_is_lost_or_done_twice(
    cluster: tuple[str, str, Path], tmp_path: Path
) -> None:
    mesh, registry, file = cluster
    code, told = drill(
        tmp_path, "--mesh", mesh, "--registry", registry, "--servers", str(file), "--seconds", str(SECONDS)
    )
    assert (told["lost"], told["doubled"], told["findings"]) == (0, 0, [])
    assert sum(told["ended"].values()) == told["started"]
    assert told["died"] == []
    assert not [name for name in told["troubles"] if "traceback" in name]
    assert told["killed"].keys() >= {"broker", "proxy", "nacos", "worker", "caller", "supervisor"}
    assert told["stopped"].keys() & {"broker", "proxy", "nacos", "namesrv"}
    assert sum(told["killed"].values()) >= 20
    assert code == (0 if told["started"] >= 1000 else 3)
    remoting = Remoting(read_address(mesh))
    assert not [name for name in await remoting.topics() | await remoting.groups() if name.startswith("chaos_")]
    await remoting.close()


def test_a_cluster_without_a_registry_is_told_to_name_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agentmesh", "chaos", "--mesh", "rocketmq://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "name one, --registry nacos://HOST:PORT" in done.stderr


def test_a_file_that_tells_of_no_servers_is_named_with_what_it_has_to_hold(tmp_path: Path) -> None:
    (tmp_path / "servers.json").write_text('{"broker": {"pid": 7}}')
    command = [sys.executable, "-m", "agentmesh", "chaos", "--mesh", "rocketmq://127.0.0.1:1"]
    more = ["--registry", "nacos://127.0.0.1:1", "--servers", "servers.json"]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "Expected `str`, got `int` - at `$[...].pid`" in done.stderr
    assert "`make cluster-up` writes such a file" in done.stderr
