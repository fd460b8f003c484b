"""Real drills: processes, killed and stopped for some seconds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentmesh.cli.chaos.sabotage import SABOTAGES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A drill whose folder is in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "agentmesh", "chaos", "--json", *arguments],
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def drill(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=165)
    assert process.returncode in (0, 1, 3), err
    return process.returncode, json.loads(out)


def left(folder: Path) -> list[int]:
    """The processes whose command or environment names the folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.promise(3)
@pytest.mark.promise(4)
def test_whatever_is_killed_stopped_and_cut_nothing_is_lost_and_nothing_happens_twice(tmp_path: Path) -> None:
    code, told = drill(tmp_path, "--seconds", "24", "--seed", "5")
    assert (told["lost"], told["doubled"], told["findings"]) == (0, 0, [])
    assert told["died"] == []
    assert not [name for name in told["troubles"] if "traceback" in name]
    assert told["takeover_ms"]["max"]
    assert code == 0, told
    assert list(tmp_path.iterdir()) == []
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", SABOTAGES)
def test_each_sabotage_is_caught(tmp_path: Path, name: str) -> None:
    code, told = drill(tmp_path, "--seconds", "9", "--seed", "2", "--sabotage", name)
    assert code == 1, told
    assert told["findings"]
    assert told["lost"] + told["doubled"] > 0
    assert left(tmp_path) == []


@pytest.mark.parametrize("name", ["no-fence", "no-epoch"])
def test_the_faults_that_show_a_sabotage_do_no_harm_without_it(tmp_path: Path, name: str) -> None:
    _, told = drill(tmp_path, "--seconds", "9", "--seed", "2", "--like", name)
    assert told["findings"] == []
    assert told["started"] > 0


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    process = start(tmp_path, "--seconds", "60")
    until = time.monotonic() + 30
    while not list(tmp_path.glob("*/effects/worker-0.00000.effects")):
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mesh", "memory://x"], "a drill needs a mesh that several processes share"),
        (["--sabotage", "no-sense"], "is no sabotage. There are: ack-first, no-fence"),
    ],
    ids=["memory", "sabotage"],
)
def test_what_cannot_be_drilled_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    process = start(tmp_path, *arguments)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert message in json.loads(err)["message"]
