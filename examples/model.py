"""A run with a language model. A scripted one stands in for an endpoint, so that this needs no key.

With a real one: OPENAI_API_KEY, OPENAI_BASE_URL and AGENTMESH_MODEL, and `Mesh("local://mesh")` without further ado.
"""

import asyncio

from agentmesh import Agent, Mesh, skill
from agentmesh.testing import Calls, ModelServer, Request


class WeatherAgent(Agent):
    """Weather forecasts for cities."""

    @skill(examples=["weather in Hangzhou"], tags=["weather"])
    async def forecast(self, city: str) -> dict[str, str]:
        """The weather forecast for a city."""
        return {"sky": "clear" if city == "Hangzhou" else "overcast"}


def answer(request: Request) -> str:
    """What the model says in the second round: it has the results of the calls it asked for."""
    for message in request.messages:
        if message["role"] == "tool":
            print("result:", " ".join(message["content"].split()))
    return "Clear in Hangzhou, overcast in Suzhou."


async def main() -> None:
    forecast = "WeatherAgentTask-forecast"
    first = Calls((forecast, {"city": "Hangzhou"}), (forecast, {"city": "Suzhou"}))
    async with ModelServer([first, answer]) as endpoint:
        async with Mesh("local://mesh", model="scripted", base_url=endpoint.url, api_key="any") as mesh:
            await mesh.serve(WeatherAgent())
            run = await mesh.run("How is the weather in Hangzhou and in Suzhou?")
            async for event in run.events():
                if event.type == "planned":
                    print("calls:", [call["input"]["city"] for call in event.data["calls"]])
            print("answer:", await run.result())
        print("functions:", [function["name"] for function in endpoint.requests[0].functions])


asyncio.run(main())
