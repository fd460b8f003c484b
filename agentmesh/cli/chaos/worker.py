"""The workers and supervisors of a drill: they serve until they are killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agentmesh.cli.chaos.agents import ChaosLeaf, ChaosPlanner, ChaosSupervisor, ChaosWork, Observed
from agentmesh.cli.chaos.effects import Effects
from agentmesh.cli.chaos.processes import Orders
from agentmesh.mesh import Mesh


@asynccontextmanager
async def _opened(orders: Orders, effects: Effects) -> AsyncIterator[Mesh]:
    """A mesh whose confirmed results are written down."""
    async with Mesh(orders.mesh, alone=False, drain=0) as mesh:
        client = mesh._open_client()
        client.broker = Observed(client.broker, effects)  # type: ignore[assignment]
        yield mesh


async def work(orders: Orders) -> None:
    """Serve the agents of the drill."""
    effects = Effects(orders.effects, orders.name, orders.number)
    async with _opened(orders, effects) as mesh:
        await mesh.serve(ChaosWork(effects), ChaosLeaf(effects))
        await asyncio.Event().wait()


async def supervise(orders: Orders) -> None:
    """Serve a supervisor with the planner of the drill."""
    effects = Effects(orders.effects, orders.name, orders.number)
    async with _opened(orders, effects) as mesh:
        mesh._planner = ChaosPlanner()
        await mesh.serve(ChaosSupervisor())
        await asyncio.Event().wait()
