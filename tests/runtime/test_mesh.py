"""Opening and leaving a mesh."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from agentmesh import Agent, ConfigError, Mesh, skill


class HangingAgent(Agent):
    """Hangs."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    @skill
    async def hang(self) -> None:
        """Hang."""
        self.began.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("options", [{"embedder": "bge"}])
async def test_a_setting_that_nothing_would_follow_is_refused(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        async with Mesh("memory://", **options):
            pass


async def test_a_mesh_whose_draining_is_cut_short_lets_go_of_its_folder(tmp_path: Path) -> None:
    url = f"local://{tmp_path / 'mesh'}"
    agent = HangingAgent()

    async def leave() -> None:
        async with Mesh(url, drain=60) as mesh:
            await mesh.serve(agent)
            await mesh.start("HangingAgentTask")
            await agent.began.wait()

    leaving = asyncio.create_task(leave())
    await agent.began.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    leaving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leaving
    assert not (await _holders(url))


async def _holders(url: str) -> int:
    """How many others have the mesh open in this process."""
    async with Mesh(url) as mesh:
        return getattr(mesh.broker, "users") - 1  # noqa: B009
