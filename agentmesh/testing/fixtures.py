"""Fixtures for pytest: `mesh` and `clock`. A line in the topmost conftest.py brings them:

    pytest_plugins = ["agentmesh.testing.fixtures"]

They work in async tests that pytest-asyncio runs, in either of its modes, and in those that anyio's plugin runs on
asyncio. Nothing else of agentmesh needs pytest.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from agentmesh.clock import ManualClock
from agentmesh.mesh import Mesh
from agentmesh.testing.mesh import open_mesh


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still until `await clock.advance(seconds)` moves it."""
    return ManualClock()


@pytest.fixture
def mesh(request: pytest.FixtureRequest) -> Mesh:
    """A mesh of the test's own, in memory, to serve agents on: `await mesh.serve(…)`.

    Its time is the machine's or, in a test that asks for `clock` too, that clock's.
    """
    runner = "anyio" if "anyio_backend" in request.fixturenames else "asyncio"
    opened: Mesh = request.getfixturevalue(f"_mesh_for_{runner}")
    return opened


def _open(request: pytest.FixtureRequest) -> AbstractAsyncContextManager[Mesh]:
    wanted = "clock" in request.fixturenames
    return open_mesh(clock=request.getfixturevalue("clock") if wanted else None)


def _asyncio_fixture(function: Callable[..., Any]) -> Any:
    """pytest-asyncio in its strict mode runs only the fixtures that its own decorator made."""
    try:
        from pytest_asyncio import fixture
    except ImportError:
        return pytest.fixture(function)
    return fixture(function)


@_asyncio_fixture
async def _mesh_for_asyncio(request: pytest.FixtureRequest) -> AsyncIterator[Mesh]:
    async with _open(request) as opened:
        yield opened


@pytest.fixture
async def _mesh_for_anyio(request: pytest.FixtureRequest) -> AsyncIterator[Mesh]:
    async with _open(request) as opened:
        yield opened
