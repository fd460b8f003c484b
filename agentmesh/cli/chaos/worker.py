"""The workers and supervisors of a drill: they serve until they are killed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from agentmesh.cli.chaos.agents import ChaosLeaf, ChaosPlanner, ChaosSupervisor, ChaosWork, Observed, leased
from agentmesh.cli.chaos.effects import Effects
from agentmesh.cli.chaos.processes import Orders
from agentmesh.errors import BrokerUnavailable, RegistryUnavailable
from agentmesh.mesh import Mesh
from agentmesh.runtime.agent import Agent

_AGAIN: Final = 0.2


@asynccontextmanager
async def _opened(orders: Orders, effects: Effects) -> AsyncIterator[Mesh]:
    """A mesh whose confirmed results are written down."""
    async with orders.open(effects) as mesh:
        client = mesh._open_client()
        client.broker = Observed(client.broker, effects)
        mesh._planner = ChaosPlanner()
        yield mesh


async def work(orders: Orders) -> None:
    """Serve the agents of the drill."""
    effects = Effects(orders.effects, orders.name, orders.number)
    await _serve(orders, effects, ChaosWork(effects), ChaosLeaf(effects))


async def supervise(orders: Orders) -> None:
    """Serve a supervisor with the planner of the drill."""
    effects = Effects(orders.effects, orders.name, orders.number)
    await _serve(orders, effects, ChaosSupervisor())


async def _serve(orders: Orders, effects: Effects, *agents: Agent) -> None:
    """Serve these, from as soon as they can be registered."""
    while True:
        try:
            async with _opened(orders, effects) as mesh:
                await mesh.serve(*(leased(each, orders.lease) for each in agents))
                await asyncio.Event().wait()
        except (BrokerUnavailable, RegistryUnavailable) as error:
            effects.write("trouble", orders.name.partition("-")[0], type(error).__name__)
            await asyncio.sleep(_AGAIN)
