"""The blob stores, each with a way to reach its files from outside."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from blobs.kit import Kind

from agentmesh.broker.blobs import LocalBlobs, MemoryBlobs, remote_blobs
from agentmesh.contracts import Blobs


def found(root: Path) -> Callable[[str], Path]:
    return lambda digest: next(root.rglob(digest))


def _folder(path: Path) -> Kind:
    path.mkdir()
    return Kind(LocalBlobs(path), found(path))


def _elsewhere(path: Path) -> Kind:
    """A `file://` URL."""
    path.mkdir()
    return Kind(LocalBlobs(path, f"file://{path}-elsewhere"), found(path.with_name(f"{path.name}-elsewhere")))


def _fsspec(path: Path) -> Kind:
    """By way of fsspec's driver for files."""
    return Kind(remote_blobs(f"local://{path}"), found(path))


def _fsspec_memory(path: Path) -> Kind:
    return Kind(remote_blobs(f"memory://{path}"))


KINDS = {
    "memory": lambda path: Kind(MemoryBlobs()),
    "folder": _folder,
    "file URL": _elsewhere,
    "fsspec": _fsspec,
    "fsspec memory": _fsspec_memory,
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Kind:
    return KINDS[request.param](tmp_path / "mesh")


@pytest.fixture
def blobs(kind: Kind) -> Blobs:
    return kind.blobs


@pytest.fixture
def now() -> int:
    """The times of remote stores are their own, so this one is real."""
    return time.time_ns() // 1_000_000
