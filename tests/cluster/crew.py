"""A process of a mesh in a test: `python crew.py BROKER REGISTRY MODEL_URL agents|supervisor EFFECTS`."""

import asyncio
import os
import sys
from pathlib import Path

from agentmesh import Agent, Mesh, skill
from agentmesh.supervisor import Supervisor

EFFECTS = Path(sys.argv[5])


def effect(what: str) -> None:
    """Something that happens outside: a line in a file."""
    descriptor = os.open(EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{os.getpid()} {what}\n".encode())
    os.close(descriptor)


class SkyAgent(Agent):
    """Weather."""

    @skill
    async def forecast(self, city: str) -> dict[str, str]:
        """The weather of a city."""
        effect(f"forecast {city}")
        return {"text": f"sunny in {city}"}


class RoadAgent(Agent):
    """Roads."""

    @skill
    async def route(self, weather: str) -> dict[str, str]:
        """A route for the weather."""
        effect(f"route {weather}")
        return {"text": f"by the lake, {weather}"}


async def main() -> None:
    broker, registry, model, role = sys.argv[1:5]
    async with Mesh(broker, registry, model="scripted", base_url=model, api_key="key") as mesh:
        if role == "agents":
            await mesh.serve(SkyAgent(), RoadAgent())
        else:
            await mesh.serve(Supervisor())
        print("ready", flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
