"""An agent that asks a person. The question stays open while no process runs, and is answered later."""

import asyncio

from agentmesh import Agent, Context, InputRequired, Mesh, skill

ANSWERS = {"For how many people?": "four", "At what time?": "half past six"}


class TableAgent(Agent):
    """Books tables in restaurants."""

    @skill
    async def book(self, restaurant: str, *, ctx: Context) -> str:
        """Book a table."""
        people = await ctx.ask("For how many people?")
        time = await ctx.ask("At what time?")
        return f"{restaurant}: a table for {people}, at {time}"


async def ask() -> str:
    """Call the agent; it wants to know something before it can go on."""
    async with Mesh("local://mesh", drain=0) as mesh:  # drain: do not wait for a handler that waits for us
        await mesh.serve(TableAgent())
        try:
            return str(await mesh.call("TableAgentTask", {"restaurant": "楼外楼"}))
        except InputRequired as question:
            print("asked:", question.text)
            return question.call_id


async def answer(call_id: str) -> None:
    """Days later, in whatever process."""
    async with Mesh("local://mesh") as mesh:
        await mesh.serve(TableAgent())
        call = await mesh.attach(call_id)
        async for event in call.events():
            if event.type == "input_required":
                print(event.data["text"], ANSWERS[event.data["text"]])
                await call.answer(ANSWERS[event.data["text"]], event.data["question"])
        print(await call.result())


asyncio.run(answer(asyncio.run(ask())))
