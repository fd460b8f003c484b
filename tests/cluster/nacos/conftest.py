"""Registries on a Nacos, each test in a namespace of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from cluster.nacos.kit import Puppet, check_binary, fresh_url, opened

from agentmesh.registry.nacos import NacosRegistry
from deploy.nacos import NacosServer

Opener = Callable[..., Awaitable[NacosRegistry]]
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents and {"url", "server", "guarded"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture
def url() -> str:
    return fresh_url()


@pytest.fixture
async def opener(url: str) -> AsyncIterator[Opener]:
    """Opens registries, in the namespace of the test unless it is given a URL, and closes them in the end."""
    async with AsyncExitStack() as stack:

        async def open_one(at: str = "", **options: Any) -> NacosRegistry:
            registry = await opened(at or url, **options)
            stack.push_async_callback(registry.close)
            return registry

        yield open_one


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NacosServer]:
    """An r-nacos of the test's own, to be treated badly."""
    check_binary()
    server = NacosServer(tmp_path / "server")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[NacosServer]:
    """One that wants to know who asks."""
    check_binary()
    server = NacosServer(tmp_path / "guarded", auth=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def puppets() -> AsyncIterator[Callable[..., Awaitable[Puppet]]]:
    """Starts processes with agents: `await puppets(url, count, prefix)`."""
    found: list[Puppet] = []

    async def start(url: str, count: int = 1, prefix: str = "Puppet") -> Puppet:
        puppet = Puppet(url, count, prefix)
        found.append(puppet)
        await puppet.ready()
        return puppet

    yield start
    for puppet in found:
        puppet.end()
