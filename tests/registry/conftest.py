"""The registries that the suite runs against.

A further one is a function here and its name among the parameters. What it cannot give it says in its flags, and the
tests that ask for it are skipped.
"""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from registry.kit import Place, Process

from agentmesh.broker.local import open_local
from agentmesh.broker.memory import open_memory
from agentmesh.clock import ManualClock, SystemClock
from agentmesh.ids import new_token
from agentmesh.registry.embedded import EmbeddedRegistry
from agentmesh.registry.local import LocalRegistry


def _memory(folder: Path) -> Place:
    clock, at = ManualClock(), new_token()

    async def open_one(name: str) -> Process:
        broker = await open_memory(at, clock)
        return Process(EmbeddedRegistry(broker, clock), name, broker.close)

    return Place(clock, open_one)


def _local(folder: Path) -> Place:
    clock = ManualClock()

    async def open_one(name: str) -> Process:
        broker = await open_local(folder / "mesh", clock)
        return Process(LocalRegistry(broker), name, broker.close)

    return Place(clock, open_one)


def _nacos(folder: Path) -> Place:
    from cluster.nacos.kit import fresh_url, opened

    url = fresh_url()

    async def open_one(name: str) -> Process:
        registry = await opened(url)
        return Process(registry, name, registry.close)

    return Place(SystemClock(), open_one, heartbeats=False)


PLACES: dict[str, Callable[[Path], Place]] = {"memory": _memory, "local": _local, "nacos": _nacos}


@pytest.fixture(params=["memory", "local", pytest.param("nacos", marks=pytest.mark.cluster)])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    found = PLACES[request.param](tmp_path)
    for flag in (mark.args[0] for mark in request.node.iter_markers("needs")):
        if not getattr(found, flag):
            pytest.skip(f"{request.param} has no {flag}")
    yield found
    await found.close()


@pytest.fixture
async def process(place: Place) -> Process:
    return await place.open()


@pytest.fixture
async def other(place: Place, process: Process) -> Process:
    """Another process, which looks on."""
    return await place.open()
