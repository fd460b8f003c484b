"""Handlers that call, ask, remember and record; and what a restart makes of them."""

import asyncio
from collections.abc import Callable

import pytest

from agentmesh import Agent, CallCancelled, CallFailed, Conflict, Context, InputRequired, Mesh, skill
from agentmesh.clock import ManualClock, settle
from agentmesh.contracts import Delivery


class GeoAgent(Agent):
    """Where things are."""

    def __init__(self) -> None:
        self.calls = 0

    @skill
    async def locate(self, city: str, *, ctx: Context) -> dict[str, str]:
        """Locate a city."""
        self.calls += 1
        if city == "?":
            city = await ctx.ask("Which city?")
        if city == "nowhere":
            raise LookupError("no such city")
        if city == "slow":
            await asyncio.Event().wait()
        return {"city": city, "tenant": ctx.tenant, "session": ctx.session}


class TripAgent(Agent):
    """Uses the other."""

    delivery = Delivery(concurrency=1)

    def __init__(self) -> None:
        self.once = 0
        self.attempts: list[int] = []
        self.hold = asyncio.Event()
        self.hold.set()

    @skill
    async def plan(self, city: str, *, ctx: Context) -> dict[str, object]:
        """Plan."""
        self.attempts.append(ctx.attempt)
        place = await ctx.call("GeoAgentTask", {"city": city})
        number = await ctx.once("number", self._number)
        await self.hold.wait()
        return {"place": place, "number": number}

    @skill
    async def ask(self, *, ctx: Context) -> str:
        """Ask twice."""
        self.attempts.append(ctx.attempt)
        one = await ctx.ask("Which district?")
        two = await ctx.ask("Which day?")
        return f"{one}, {two}"

    @skill
    async def ask_both(self, *, ctx: Context) -> list[str]:
        """Ask two questions at once."""
        return list(await asyncio.gather(ctx.ask("one?"), ctx.ask("two?")))

    @skill
    async def change(self, *, ctx: Context) -> str:
        """Take another step on a second attempt."""
        if ctx.attempt == 1:
            await ctx.once("step", lambda: 1)
            await self.hold.wait()
        return await ctx.ask("what?", key="step")

    @skill
    async def remember(self, text: str, *, ctx: Context) -> list[str]:
        """Remember everything that was said."""
        seen = await ctx.memory.get("seen", [])
        await ctx.memory.set("seen", [*seen, text])
        await ctx.memory.delete("nothing")
        return list((await ctx.memory.items())["seen"])

    def _number(self) -> int:
        self.once += 1
        return self.once


async def serve(mesh: Mesh) -> tuple[TripAgent, GeoAgent]:
    trip, geo = TripAgent(), GeoAgent()
    await mesh.serve(trip, geo)
    return trip, geo


async def question(mesh: Mesh, call_id: str) -> str:
    """Wait until the call asks something."""
    while True:
        state = await (await mesh.attach(call_id)).state()
        if state.questions:
            return next(iter(state.questions))
        await asyncio.sleep(0)


async def test_an_agent_calls_another_for_the_same_tenant_and_session(mesh: Mesh) -> None:
    await serve(mesh)
    result = await mesh.call("TripAgentTask", {"city": "杭州"}, skill="plan", tenant="acme", session="s1")
    assert result["place"] == {"city": "杭州", "tenant": "acme", "session": "s1"}


async def test_what_a_called_agent_raises_fails_the_caller_with_its_reason(mesh: Mesh) -> None:
    await serve(mesh)
    with pytest.raises(CallFailed, match="LookupError: no such city"):
        await mesh.call("TripAgentTask", {"city": "nowhere"}, skill="plan")


async def test_cancelling_a_call_cancels_what_it_called(mesh: Mesh) -> None:
    _, geo = await serve(mesh)
    call = await mesh.start("TripAgentTask", {"city": "slow"}, skill="plan")
    while not geo.calls:
        await asyncio.sleep(0)
    child = (await call.state()).children()[0]
    await call.cancel()
    with pytest.raises(CallCancelled):
        await (await mesh.attach(child)).result()


async def test_a_handler_that_waits_gives_its_slot_to_others(mesh: Mesh) -> None:
    await serve(mesh)  # with one slot
    waiting = await mesh.start("TripAgentTask", {}, skill="ask")
    await question(mesh, waiting.id)
    assert await mesh.call("TripAgentTask", {"text": "a"}, skill="remember") == ["a"]
    await waiting.answer("西湖区")
    await question(mesh, waiting.id)
    await waiting.answer("周五")
    assert await waiting.result() == "西湖区, 周五"


async def test_a_call_that_meets_a_question_says_so_and_goes_on_when_it_is_answered(mesh: Mesh) -> None:
    await serve(mesh)
    with pytest.raises(InputRequired, match="district") as caught:
        await mesh.call("TripAgentTask", {}, skill="ask")
    call = await mesh.attach(caught.value.call_id)
    await call.answer("西湖区", caught.value.question)
    await call.answer("周五", await question(mesh, call.id))
    assert await call.result() == "西湖区, 周五"
    with pytest.raises(Conflict):
        await call.answer("too late")


async def test_several_open_questions_need_a_name(mesh: Mesh) -> None:
    await serve(mesh)
    call = await mesh.start("TripAgentTask", {}, skill="ask_both")
    while len((await call.state()).questions) < 2:
        await asyncio.sleep(0)
    with pytest.raises(Conflict, match="one"):
        await call.answer("x")
    for name, text in (await call.state()).questions.items():
        await call.answer(text.upper(), name)
    assert await call.result() == ["ONE?", "TWO?"]


async def test_a_question_of_a_child_is_asked_at_the_root(mesh: Mesh) -> None:
    await serve(mesh)
    call = await mesh.start("TripAgentTask", {"city": "?"}, skill="plan")
    await question(mesh, call.id)
    await call.answer("杭州")
    assert (await call.result())["place"]["city"] == "杭州"


async def test_memory_is_kept_per_tenant_and_principal(mesh: Mesh, url: str) -> None:
    await serve(mesh)
    assert await mesh.call("TripAgentTask", {"text": "a"}, skill="remember") == ["a"]
    assert await mesh.call("TripAgentTask", {"text": "b"}, skill="remember") == ["a", "b"]
    assert await mesh.call("TripAgentTask", {"text": "c"}, skill="remember", tenant="acme") == ["c"]
    async with Mesh(url, principal="ann") as other:
        assert await other.call("TripAgentTask", {"text": "d"}, skill="remember") == ["d"]


@pytest.mark.promise(3)
async def test_a_handler_that_runs_again_gets_its_recorded_steps_back(url: str) -> None:
    async with Mesh(url, drain=0) as mesh:
        trip, geo = await serve(mesh)
        trip.hold.clear()
        call = await mesh.start("TripAgentTask", {"city": "杭州"}, skill="plan")
        while trip.once < 1 or not (await call.state()).steps.get("number"):
            await asyncio.sleep(0)
    async with Mesh(url, drain=0) as mesh:
        again, geo_again = await serve(mesh)
        result = await (await mesh.attach(call.id)).result()
        assert result == {"place": {"city": "杭州", "tenant": "default", "session": ""}, "number": 1}
        assert (trip.once, again.once, geo.calls, geo_again.calls) == (1, 0, 1, 0)
        assert again.attempts == [2]


@pytest.mark.promise(3)
async def test_a_question_survives_a_restart_and_is_asked_once(url: str) -> None:
    async with Mesh(url, drain=0) as mesh:
        await serve(mesh)
        call = await mesh.start("TripAgentTask", {}, skill="ask")
        await call.answer("西湖区", await question(mesh, call.id))
        await question(mesh, call.id)
    async with Mesh(url, drain=0) as mesh:
        again = await mesh.attach(call.id)
        await again.answer("周五")
        await serve(mesh)
        assert await again.result() == "西湖区, 周五"
        types = [event.type async for event in again.events()]
        assert types.count("input_required") == types.count("answered") == 2


async def test_a_step_that_changed_between_attempts_is_a_conflict(url: str) -> None:
    async with Mesh(url, drain=0) as mesh:
        trip, _ = await serve(mesh)
        trip.hold.clear()
        call = await mesh.start("TripAgentTask", {}, skill="change")
        while not (await call.state()).steps:
            await asyncio.sleep(0)
    async with Mesh(url, drain=0) as mesh:
        await serve(mesh)
        with pytest.raises(CallFailed, match="once.*ask"):
            await (await mesh.attach(call.id)).result()


async def test_time_spent_waiting_does_not_count(
    url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock
) -> None:
    async with on_a_clock(url) as mesh:
        await serve(mesh)
        call = await mesh.start("TripAgentTask", {}, skill="ask")
        await settle()
        await clock.advance(3600)
        await call.answer("西湖区")
        await settle()
        await clock.advance(3600)
        await call.answer("周五")
        assert await call.result() == "西湖区, 周五"


async def test_leaving_a_mesh_does_not_wait_for_a_person(url: str) -> None:
    began = asyncio.get_running_loop().time()
    async with Mesh(url, drain=30) as mesh:
        await serve(mesh)
        call = await mesh.start("TripAgentTask", {"city": "?"}, skill="plan")
        await question(mesh, call.id)
    assert asyncio.get_running_loop().time() - began < 10
    async with Mesh(url) as mesh:
        again = await mesh.attach(call.id)
        await again.answer("杭州")
        await serve(mesh)
        assert (await again.result())["place"]["city"] == "杭州"
