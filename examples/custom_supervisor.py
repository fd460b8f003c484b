"""A supervisor of one's own, on a topic of its own, that may use up less than the one that comes with agentmesh."""

import asyncio

from agentmesh import Agent, BudgetExceeded, Mesh, skill
from agentmesh.supervisor import Budget, Supervisor


class WeatherAgent(Agent):
    """Weather forecasts for cities."""

    @skill(examples=["weather in Hangzhou", "will it rain?"], tags=["weather"])
    async def forecast(self, request: str) -> dict[str, str]:
        """The weather forecast that a sentence asks for."""
        return {"text": f"sunny, 24 degrees ({request})"}


class HotelAgent(Agent):
    """Finds hotels."""

    @skill(examples=["a hotel at the lake", "find me a hotel"], tags=["hotel"])
    async def find(self, request: str) -> dict[str, str]:
        """Find a hotel."""
        return {"text": f"Lake View, two rooms left ({request})"}


class FrugalSupervisor(Supervisor):
    """Reaches a goal with a single call."""

    topic = "FrugalSupervisorTask"
    budget = Budget(calls=1)


async def main() -> None:
    async with Mesh("local://mesh") as mesh:
        await mesh.serve(WeatherAgent(), HotelAgent(), FrugalSupervisor())
        for goal in ("Weather in Hangzhou", "Weather in Hangzhou, then find a hotel at the lake"):
            run = await mesh.run(goal, supervisor="FrugalSupervisorTask")
            try:
                print(f"{goal}: {await run.result()}")
            except BudgetExceeded as error:
                print(f"{goal}: {error.reason}")


asyncio.run(main())
