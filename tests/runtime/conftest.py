"""A mesh on each embedded backend, on the machine's clock or one moved by hand."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agentmesh.clock import ManualClock
from agentmesh.ids import new_token
from agentmesh.mesh import Mesh


@pytest.fixture(params=["memory", "local"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{new_token()}" if request.param == "memory" else f"local://{tmp_path / 'mesh'}"


@pytest.fixture
async def mesh(url: str) -> AsyncIterator[Mesh]:
    async with Mesh(url, drain=0) as opened:
        yield opened


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def on_a_clock(clock: ManualClock) -> Callable[[str], Mesh]:
    """Opens a mesh whose time is `clock`'s."""
    return lambda url: Mesh(url, drain=0, clock=clock)
