"""The last process of a drill: it was not there before, and looks at everything that was acknowledged."""

import asyncio

from agentmesh.cli.chaos.agents import nonce_of
from agentmesh.cli.chaos.effects import Effects, read
from agentmesh.cli.chaos.processes import Orders
from agentmesh.errors import CallNotFound
from agentmesh.mesh import Mesh
from agentmesh.message import TERMINAL


async def look(orders: Orders) -> None:
    """Attach to every call and read every log, as far as they are there."""
    effects = Effects(orders.effects, orders.name, orders.number)
    lines = list(read(orders.effects))
    calls = {line.arguments[0]: None for line in lines if line.word == "acknowledged"}
    logs = {line.arguments[0]: None for line in lines if line.word == "noted"}
    async with orders.open(effects) as mesh:
        few = asyncio.Semaphore(32)
        await asyncio.gather(*(_look_at(mesh, effects, call, few) for call in calls))
        for name in logs:
            seen = -1
            while entries := await mesh.lite_topic(name).read(seen):
                for entry in entries:
                    effects.write("saw", name, entry.offset, entry.data)
                seen = entries[-1].offset
    effects.write("looked")


async def _look_at(mesh: Mesh, effects: Effects, call_id: str, few: asyncio.Semaphore) -> None:
    async with few:
        try:
            state = await (await mesh.attach(call_id)).state()
        except CallNotFound:
            effects.write("unknown", call_id)
            return
    ends = [event for event in state.events if event.type in TERMINAL]
    if not ends:
        effects.write("open", call_id)
    for event in state.events:
        if event.type == "delta" and ends and ends[0].type == "completed":
            effects.write("shown", call_id, event.data["text"])
    for end in ends:
        effects.write("ended", call_id, end.type, nonce_of(end.data) if end.data else "-")
