"""Processes for the tests of several of them."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from local.kit import Programs, nursery
from local.raw import Raw


@pytest.fixture(scope="session")
def programs_nursery() -> "Iterator[subprocess.Popen[str]]":
    process = nursery()
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "mesh"


@pytest.fixture
async def programs(folder: Path, programs_nursery: "subprocess.Popen[str]") -> AsyncIterator[Programs]:
    found = Programs(folder, programs_nursery)
    yield found
    await Raw.close_all()
    await found.end()
