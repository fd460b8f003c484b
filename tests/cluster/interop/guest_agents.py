"""Agents that rocketmq-a2a clients call; `python guest_agents.py BROKER REGISTRY` is a process that serves some."""

import asyncio
import os
import sys

from agentmesh import Agent, Context, Mesh, skill
from agentmesh.contracts import Delivery


class EchoAgent(Agent):
    """One skill."""

    delivery = Delivery(lease=10)

    @skill
    async def echo(self, text: str, times: int = 1, *, ctx: Context) -> str:
        """Say it again."""
        await ctx.progress("listening", fraction=0.5)
        for word in text.split():
            await ctx.emit(word)
        return " ".join([text] * times)


class DeskAgent(Agent):
    """Several skills."""

    delivery = Delivery(lease=10)

    @skill
    async def add(self, a: int, b: int) -> int:
        """The sum."""
        return a + b

    @skill
    async def report(self, name: str, *, ctx: Context) -> dict[str, str]:
        """With an artifact."""
        await ctx.artifact("table", {"rows": [1, 2]})
        await ctx.artifact("picture", b"\x89PNG", "image/png")
        return {"name": name}

    @skill
    async def ask(self, topic: str, *, ctx: Context) -> str:
        """Asks back."""
        return f"{topic}: {await ctx.ask('Which colour?')}"

    @skill
    async def fail(self) -> None:
        """Fails."""
        raise ValueError("no paper")

    @skill
    async def wait(self, *, ctx: Context) -> None:
        """Waits for ever."""
        await ctx.progress(f"waiting in {os.getpid()}")
        await asyncio.Event().wait()


class SlowAgent(Agent):
    """The first attempt hangs."""

    delivery = Delivery(lease=10)

    @skill
    async def work(self, text: str, *, ctx: Context) -> str:
        """Done by the second attempt."""
        await ctx.progress(f"attempt {ctx.attempt} in {os.getpid()}")
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return f"{text} is done"


async def main() -> None:
    async with Mesh(sys.argv[1], sys.argv[2]) as mesh:
        await mesh.serve(SlowAgent())
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
