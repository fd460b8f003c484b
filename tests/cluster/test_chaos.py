"""`agentmesh chaos` on a cluster: workers, callers and supervisors are killed and stopped, and nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster.conftest import Place

from agentmesh.broker.rocketmq.address import read_address
from agentmesh.broker.rocketmq.remoting import Remoting

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]


def drill(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "agentmesh", "chaos", "--json", "--seed", "3", *arguments]
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1, 3), done.stderr
    return done.returncode, json.loads(done.stdout)


async def test_whoever_is_killed_and_stopped_on_a_cluster_nothing_is_lost_or_done_twice(
    place: Place, tmp_path: Path
) -> None:
    mesh, registry = (each.partition("&namespace=")[0].partition("?namespace=")[0] for each in place)
    code, told = drill(tmp_path, "--mesh", mesh, "--registry", registry, "--seconds", "40")
    assert (told["lost"], told["doubled"], told["findings"]) == (0, 0, [])
    assert told["died"] == []
    assert not [name for name in told["troubles"] if "traceback" in name]
    assert sum(told["killed"].values()) >= 20
    assert "host" not in {**told["killed"], **told["stopped"]}
    assert code == (0 if told["started"] >= 1000 else 3)
    remoting = Remoting(read_address(mesh))
    assert not [name for name in await remoting.topics() | await remoting.groups() if name.startswith("chaos_")]
    await remoting.close()


def test_a_cluster_without_a_registry_is_told_to_name_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agentmesh", "chaos", "--mesh", "rocketmq://127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "name one, --registry nacos://HOST:PORT" in done.stderr
