"""An agent that calls another and reserves something, once, although its handler runs twice."""

import asyncio

from agentmesh import Agent, Context, Mesh, Retryable, skill


class PriceAgent(Agent):
    """Knows what things cost."""

    @skill
    async def quote(self, item: str) -> int:
        """The price of an item, in yuan."""
        print("quoting", item)
        return 88


class OrderAgent(Agent):
    """Orders things."""

    @skill
    async def order(self, item: str, *, ctx: Context) -> str:
        """Order an item."""
        price = await ctx.call("PriceAgentTask", {"item": item})  # a step
        number = await ctx.once("reserve", reserve)  # a step
        if ctx.attempt == 1:
            raise Retryable("the warehouse does not answer", after=0.1)
        return f"order {number}: {item}, {price} yuan, at attempt {ctx.attempt}"


async def reserve() -> int:
    print("reserving a number")
    return 1001


async def main() -> None:
    async with Mesh("local://mesh") as mesh:
        await mesh.serve(PriceAgent(), OrderAgent())
        call = await mesh.start("OrderAgentTask", {"item": "龙井茶"}, key="order-of-monday")
        async for event in call.events():
            print(event.offset, event.type)
        print(await call.result())
        again = await mesh.start("OrderAgentTask", {"item": "龙井茶"}, key="order-of-monday")
        print("the same call:", again.id == call.id)


asyncio.run(main())
