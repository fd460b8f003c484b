"""A mesh for one test: its own, in memory, with the agents under test served."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from agentmesh.clock import Clock
from agentmesh.config import Config
from agentmesh.mesh import Mesh
from agentmesh.runtime.agent import Agent
from agentmesh.testing.model import ModelServer

_SETTINGS: Final = [field.name for field in fields(Config)]


@asynccontextmanager
async def open_mesh(
    *agents: Agent | str | Path, clock: Clock | None = None, model: ModelServer | None = None, **options: Any
) -> AsyncIterator[Mesh]:
    """A mesh that nobody else sees and that serves `agents`, for one test.

        async with open_mesh(WeatherAgent(), "agents/travel") as mesh:
            assert await mesh.call("WeatherAgentTask", {"city": "杭州"}) == {"sky": "clear"}

    It lives in memory and is gone at the end of the block; handlers that still run are stopped then, without waiting.
    With a `ManualClock` its time stands still until the test advances it. `model` answers what supervisors and handlers
    ask a language model, and is opened and closed with the mesh unless it is open already; without one, supervisors
    plan by rule. `options` are further arguments of `Mesh`, such as `tenant`, or `broker` for a mesh on disk.

    Neither agentmesh.yaml nor the environment has a say: no test spends the key of the machine it runs on. Raises what
    `Mesh.serve` raises and, at the end of the block, what a function in the script of `model` raised.
    """
    settings: dict[str, Any] = {"broker": "memory://", "drain": 0} | options
    async with AsyncExitStack() as stack:
        if model is not None:
            if not model.url:
                await stack.enter_async_context(model)
            settings |= {"model": "scripted", "base_url": model.url, "api_key": "scripted"}
        mesh = Mesh(clock=clock, **settings)
        mesh.config = Config(**{name: settings[name] for name in _SETTINGS if settings.get(name) is not None})
        await stack.enter_async_context(mesh)
        await mesh.serve(*agents)
        yield mesh
