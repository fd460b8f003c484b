"""A process that is killed between a blob's file and its row: nothing is lost, and nothing stays for ever."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from blobs.kill_child import SIZE, GrowAgent

from agentmesh import Mesh
from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.store import Store
from agentmesh.clock import ManualClock, settle

CHILD = Path(__file__).with_name("kill_child.py")


@pytest.fixture(scope="module")
def child() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()
        assert process.wait(10) == 0


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "mesh" / "blobs").rglob("*") if path.is_file()}


async def check_nothing_is_lost(folder: Path) -> None:
    facts = [json.loads(line) for line in (folder / "facts").read_text().splitlines()]
    async with Mesh(f"local://{folder}/mesh", drain=0) as mesh:
        await mesh.serve(GrowAgent())
        for fact in facts:
            if "call" in fact:
                assert await (await mesh.attach(fact["call"])).result() == fact["letter"] * 2 * SIZE
            else:
                assert [entry.data for entry in await mesh.lite_topic("notes").read()] == ["c" * SIZE]


async def check_nothing_stays(folder: Path) -> None:
    """Two hours later only what is referred to is there, and after the logs' time nothing is."""
    for hours in (2, 40 * 24):
        clock = ManualClock(time.time_ns() // 1_000_000 + hours * 3_600_000)
        broker = EmbeddedBroker(Store(folder / "mesh" / "mesh.db"), clock)
        for _ in range(5):
            await clock.advance(1800)
            await broker.sweep.ended()
            await settle()
        known = {row[0] for row in broker.query("blobs")}
        assert files(folder) == known
        assert hours == 2 or not known
        await broker.close()


@pytest.mark.promise(1)
@pytest.mark.promise(6)
@pytest.mark.timeout(180)
async def test_a_kill_at_any_step_loses_no_body_and_leaves_none_for_ever(
    child: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    assert child.stdin
    assert child.stdout
    number, answer = 0, "killed\n"
    while answer == "killed\n":
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "facts").touch()
        child.stdin.write(f"{folder} {number}\n")
        answer = child.stdout.readline()
        if (folder / "mesh" / "mesh.db").exists():
            await check_nothing_is_lost(folder)
            await check_nothing_stays(folder)
    assert answer == "finished 0\n"
    assert number > 15
