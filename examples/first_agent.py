"""An agent, served and called in one process. The folder `mesh` keeps what it did."""

import asyncio

from agentmesh import Agent, Context, Mesh, skill


class WeatherAgent(Agent):
    """Weather for Chinese cities, up to 15 days ahead."""

    @skill(examples=["杭州周末天气", "Will it rain in Hangzhou on Friday?"], tags=["weather"])
    async def forecast(self, city: str, days: int = 3, *, ctx: Context) -> dict[str, str]:
        await ctx.progress("asking the station", fraction=0.2)
        return {"city": city, "forecast": f"{days} sunny days"}


async def main() -> None:
    async with Mesh("local://mesh") as mesh:
        await mesh.serve(WeatherAgent())
        print(await mesh.call("WeatherAgentTask", {"city": "杭州"}))


asyncio.run(main())
