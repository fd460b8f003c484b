"""Agents whose registry is away work nevertheless."""

import asyncio
from pathlib import Path

from cluster.nacos.kit import until

from agentmesh import Agent, Mesh, skill
from deploy.nacos import NacosServer


class Greeter(Agent):
    """Greets people."""

    topic = "GreeterTask"

    @skill
    async def greet(self, name: str) -> str:
        """Say hello."""
        return f"Hello, {name}."


async def test_an_agent_that_starts_while_nacos_is_away_works_and_is_registered_later(
    server: NacosServer, tmp_path: Path
) -> None:
    def mesh(cache: str) -> Mesh:
        return Mesh(f"local://{tmp_path / 'mesh'}", server.url, alone=False, cache=tmp_path / cache, drain=0)

    async with mesh("caller") as caller:
        async with mesh("worker") as worker:
            await worker.serve(Greeter())
            assert await caller.call("GreeterTask", {"name": "Ada"}) == "Hello, Ada."
            await until(lambda: any((tmp_path / "worker").glob("nacos-*")))
        await asyncio.to_thread(server.kill)
        async with mesh("worker") as worker:
            await worker.serve(Greeter())
            assert await caller.call("GreeterTask", {"name": "小明"}) == "Hello, 小明."
            await server.started()
            async with asyncio.timeout(40):
                while not (await caller.registry.get("GreeterTask")).alive:
                    await asyncio.sleep(0.1)
