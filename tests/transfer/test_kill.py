"""The processes of an export and of an import are killed in the middle, and begun again."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.commands import environment
from transfer.kit import contents, fill, mesh

from agentmesh.message import Draft
from agentmesh.runtime.transfer.part import part_of

pytestmark = pytest.mark.slow

LOGS = 1_500


def start(folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "agentmesh", *arguments, "--json"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def killed(process: "subprocess.Popen[bytes]", is_time: Callable[[], bool]) -> bool:
    """Kill it as soon as it is time; False if it ended before."""
    while process.poll() is None:
        if is_time():
            process.kill()
            process.communicate()
            return process.returncode < 0
        try:
            process.wait(0.002)
        except subprocess.TimeoutExpired:
            continue
    process.communicate()
    return False


def finished(process: "subprocess.Popen[bytes]") -> str:
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err.decode()
    return out.decode()


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


async def filled(folder: Path) -> dict[str, object]:
    async with mesh(f"local://{folder}") as source:
        await fill(source)
        for number in range(LOGS):
            entries = [Draft("data", {"第": number, "随机": os.urandom(400).hex()}) for _ in range(2)]
            await source.broker.append(f"many-{number:05}", entries)
        return await contents(source)


@pytest.mark.timeout(300)
async def test_an_export_and_an_import_that_are_killed_go_on_and_nothing_is_there_twice(tmp_path: Path) -> None:
    before = await filled(tmp_path / "source")
    finished(start(tmp_path, "export", "whole.export", "--mesh", "local://source"))
    whole = size(tmp_path / "whole.export")

    path = tmp_path / "mesh.export"
    kills = 0
    for share in (0.2, 0.5, 0.8):
        exporting = start(tmp_path, "export", "mesh.export", "--mesh", "local://source")
        kills += killed(exporting, lambda share=share: size(part_of(path)) > share * whole)  # type: ignore[misc]
        assert not path.exists()
    assert kills == 3
    assert '"resumed":true' in finished(start(tmp_path, "export", "mesh.export", "--mesh", "local://source"))

    kills = 0
    target = tmp_path / "target"
    for share in (0.3, 0.6, 0.9):
        importing = start(tmp_path, "import", "mesh.export", "--mesh", "local://target")
        kills += killed(importing, lambda share=share: stored(target) > share * stored(tmp_path / "source"))  # type: ignore[misc]
    assert kills >= 2
    assert '"resumed":true' in finished(start(tmp_path, "import", "mesh.export", "--mesh", "local://target"))
    async with mesh(f"local://{target}") as opened:
        assert await contents(opened) == before


def stored(folder: Path) -> int:
    """Bytes of a mesh's files."""
    return sum(size(each) for each in folder.rglob("*") if each.is_file()) if folder.exists() else 0
