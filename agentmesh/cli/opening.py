"""Opening the mesh that a command is about, and serving the agents of this folder in it."""

import os
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentmesh.errors import ConfigError

if TYPE_CHECKING:
    from agentmesh.config import Config
    from agentmesh.mesh import Mesh

AGENT_FILE: Final = "agent.yaml"
NEW_AGENT: Final = "agentmesh new agent NAME makes one that works at once"


def finish(command: "Coroutine[Any, Any, int]") -> int:
    """Run a command to its end; the exit code."""
    import asyncio

    return asyncio.run(command)


@asynccontextmanager
async def opened(
    url: str | None,
    registries: Sequence[str] | None = None,
    *,
    verbose: int = 0,
    drain: float = 0.0,
    alone: bool = True,
) -> "AsyncIterator[Mesh]":
    """The mesh of `--mesh` and `--registry` or the settings, with logging begun. What runs gets `drain` seconds to end
    on leaving; `alone=False` says that other processes will come.
    """
    from agentmesh.cli.logs import start_logging
    from agentmesh.mesh import Mesh

    mesh = Mesh(url, registries or None, drain=drain, alone=alone)
    start_logging(_log_level(mesh.config, verbose))
    async with mesh:
        yield mesh


def _log_level(config: "Config", verbose: int) -> str:
    """`-v` is info, `-vv` debug; else what the settings say, and warnings where they say nothing."""
    from agentmesh.config import origins

    if verbose:
        return "info" if verbose == 1 else "debug"
    return "warning" if origins()["log_level"] == "default" else config.log_level


def agent_folders(config: "Config", given: Sequence[Path] | None = None) -> list[Path]:
    """The agents to serve: those at the paths `given`, else those of the configured folder, which may have none."""
    if not given:
        return folders_at(Path(config.agents))
    found = []
    for path in given:
        folders = folders_at(path)
        if not folders:
            what = (
                f"holds no agent: there is no {AGENT_FILE} in it or in a folder of it"
                if path.exists()
                else "is not there"
            )
            raise ConfigError(f"{path} {what}.")
        found += folders
    return found


def folders_at(path: Path) -> list[Path]:
    """The agents at `path`: itself if it is one (a folder, or an agent.yaml), else those of its folders that are."""
    if path.is_file() or (path / AGENT_FILE).exists():
        return [path]
    return sorted(each.parent for each in path.glob(f"*/{AGENT_FILE}"))


async def announce(mesh: "Mesh", folders: Iterable[Path]) -> None:
    """Register these agents, alive while this process is, without working on their tasks."""
    from agentmesh.contracts import Registration
    from agentmesh.runtime.declaration import load

    for folder in folders:
        each = load(folder)
        await mesh.registry.register(Registration(each.topic, each.version, each.card(), f"cli-{os.getpid()}"))
        await mesh.broker.declare(each.topic, each.delivery)


async def serve_supervisor(mesh: "Mesh") -> bool:
    """Serve a supervisor unless one is alive. Whether it was needed."""
    from agentmesh.mesh import SUPERVISOR

    if await is_alive(mesh, SUPERVISOR):
        return False
    from agentmesh.supervisor import Supervisor

    await mesh.serve(Supervisor())
    return True


async def is_alive(mesh: "Mesh", topic: str) -> bool:
    """Whether anybody works on the topic's tasks."""
    return any(each.topic == topic for each in await mesh.registry.list())
