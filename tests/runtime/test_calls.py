"""Calls through a mesh: results, events, failures, cancellation, deadlines, keys, attempts."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from agentmesh import (
    Agent,
    CallCancelled,
    CallDeadLettered,
    CallFailed,
    CallNotFound,
    CallTimedOut,
    ConfigError,
    Conflict,
    Context,
    InvalidInput,
    InvalidOutput,
    Mesh,
    PayloadCorrupt,
    Retryable,
    SkillNotFound,
    TopicNotFound,
    Unauthorized,
    skill,
)
from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.local import LocalBroker
from agentmesh.clock import ManualClock, settle
from agentmesh.contracts import Delivery, Retry
from agentmesh.message import Draft


class Forecast(BaseModel):
    city: str
    days: int


@dataclass
class Point:
    x: int
    y: int


class Flaky(Exception):
    pass


class EchoAgent(Agent):
    """Many ways to end a call."""

    delivery = Delivery(concurrency=4, timeout=60, lease=30, retry=Retry(on=("Flaky",), attempts=2, backoff=1))

    def __init__(self) -> None:
        self.ran: list[tuple[str, int]] = []
        self.gate = asyncio.Event()

    @skill(examples=["杭州"])
    async def forecast(self, city: str, days: int = 3, *, ctx: Context) -> Forecast:
        """Forecast."""
        self.ran.append((ctx.call_id, ctx.attempt))
        await ctx.progress("asking", fraction=0.2)
        await ctx.emit("部分")
        await ctx.artifact("raw", {"t": 1})
        return Forecast(city=city, days=days)

    @skill
    def plain(self, number: int) -> int:
        """A plain function."""
        return number + 1

    @skill
    def plain_with_context(self, number: int, *, ctx: Context) -> int:
        """A plain function that speaks."""
        ctx.progress("half", fraction=0.5)  # type: ignore[unused-coroutine]
        ctx.memory.set("seen", number)  # type: ignore[unused-coroutine]
        return ctx.once("double", lambda: number * 2)  # type: ignore[return-value]

    @skill
    async def point(self, point: Point) -> Point:
        """A dataclass in and out."""
        return Point(point.y, point.x)

    @skill
    async def fail(self, text: str) -> str:
        """Raise."""
        raise ValueError(text)

    @skill
    async def flaky(self, *, ctx: Context) -> int:
        """Raise what is retried, on every attempt but the second."""
        self.ran.append((ctx.call_id, ctx.attempt))
        if ctx.attempt == 1:
            raise Flaky("not yet")
        return ctx.attempt

    @skill
    async def always_flaky(self) -> int:
        """Raise what is retried."""
        raise Flaky("never")

    @skill
    async def again(self, *, ctx: Context) -> int:
        """Ask for another attempt."""
        if ctx.attempt == 1:
            raise Retryable("later", after=5)
        return ctx.attempt

    @skill
    async def wrong(self) -> Forecast:
        """Return the wrong type."""
        return {"town": "杭州"}  # type: ignore[return-value]

    @skill
    async def hang(self) -> None:
        """Wait for ever."""
        self.ran.append(("hang", 0))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ran.append(("stopped", 0))
            raise

    @skill
    async def stubborn(self) -> None:
        """Go on whatever happens."""
        while not self.gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.gate.wait()

    @skill
    async def wait(self) -> str:
        """Wait for the gate."""
        await self.gate.wait()
        return "open"


TOPIC = "EchoAgentTask"


@pytest.fixture
async def agent(mesh: Mesh) -> EchoAgent:
    agent = EchoAgent()
    await mesh.serve(agent)
    return agent


async def types_of(mesh: Mesh, call_id: str) -> list[str]:
    return [event.type async for event in (await mesh.attach(call_id)).events()]


async def test_a_call_returns_plain_json_or_the_type_that_is_asked_for(mesh: Mesh, agent: EchoAgent) -> None:
    assert await mesh.call(TOPIC, {"city": "杭州"}, skill="forecast") == {"city": "杭州", "days": 3}
    typed = await mesh.call(TOPIC, {"city": "杭州"}, skill="forecast", returns=Forecast)
    assert typed == Forecast(city="杭州", days=3)
    assert await mesh.call(TOPIC, {"point": {"x": 1, "y": 2}}, skill="point", returns=Point) == Point(2, 1)


async def test_the_events_of_a_call_tell_its_story_in_order(mesh: Mesh, agent: EchoAgent) -> None:
    call = await mesh.start(TOPIC, {"city": "杭州"}, skill="forecast")
    events = [event async for event in call.events()]
    assert [event.type for event in events] == ["submitted", "accepted", "progress", "delta", "artifact", "completed"]
    assert [event.offset for event in events] == list(range(6))
    assert events[2].data == {"message": "asking", "fraction": 0.2}
    assert events[3].data == {"text": "部分"}
    assert events[4].data == {"name": "raw", "content_type": "application/json", "data": {"t": 1}}
    assert [event.type async for event in call.events(after=3)] == ["artifact", "completed"]


async def test_a_handle_from_another_place_sees_the_same(mesh: Mesh, agent: EchoAgent) -> None:
    call = await mesh.start(TOPIC, {"city": "杭州"}, skill="forecast")
    again = await mesh.attach(call.id)
    assert await again.result() == await call.result()
    with pytest.raises(CallNotFound):
        await mesh.attach("call-0000")
    with pytest.raises(CallNotFound):
        await mesh.attach("notes")


async def test_plain_functions_run_in_threads_and_may_speak_too(mesh: Mesh, agent: EchoAgent) -> None:
    assert await mesh.call(TOPIC, {"number": 1}, skill="plain") == 2
    call = await mesh.start(TOPIC, {"number": 4}, skill="plain_with_context")
    assert await call.result() == 8
    assert "progress" in await types_of(mesh, call.id)


async def test_a_topic_or_skill_that_is_not_there_is_named_with_what_is(mesh: Mesh, agent: EchoAgent) -> None:
    with pytest.raises(TopicNotFound, match="EchoAgentTask"):
        await mesh.call("EchoAgentTaks", {})
    with pytest.raises(SkillNotFound, match="forecast"):
        await mesh.call(TOPIC, {})
    with pytest.raises(SkillNotFound, match="forecast"):
        await mesh.call(TOPIC, {}, skill="forcast")


async def test_arguments_that_do_not_match_fail_with_a_pointer(mesh: Mesh, agent: EchoAgent) -> None:
    with pytest.raises(InvalidInput, match="/days") as caught:
        await mesh.call(TOPIC, {"city": "杭州", "days": "many"}, skill="forecast")
    assert caught.value.topic == TOPIC
    assert caught.value.call_id.startswith("call-")
    assert not agent.ran
    with pytest.raises(InvalidInput, match="/city"):
        await mesh.call(TOPIC, {}, skill="forecast")


async def test_a_result_of_the_wrong_type_fails_with_a_pointer(mesh: Mesh, agent: EchoAgent) -> None:
    with pytest.raises(InvalidOutput, match="/city"):
        await mesh.call(TOPIC, {}, skill="wrong")


async def test_a_handler_that_raises_fails_the_call_and_says_why(mesh: Mesh, agent: EchoAgent) -> None:
    with pytest.raises(CallFailed, match="ValueError: 没有") as caught:
        await mesh.call(TOPIC, {"text": "没有"}, skill="fail")
    assert type(caught.value) is CallFailed
    assert (await types_of(mesh, caught.value.call_id))[-1] == "failed"


async def test_the_same_key_gives_the_same_call_and_another_body_a_conflict(mesh: Mesh, agent: EchoAgent) -> None:
    one = await mesh.start(TOPIC, {"city": "杭州"}, skill="forecast", key="k")
    two = await mesh.start(TOPIC, {"city": "杭州"}, skill="forecast", key="k")
    other = await mesh.start(TOPIC, {"city": "杭州"}, skill="forecast", key="k", tenant="acme")
    assert one.id == two.id != other.id
    await one.result()
    await other.result()
    assert len(agent.ran) == 2
    with pytest.raises(Conflict):
        await mesh.start(TOPIC, {"city": "上海"}, skill="forecast", key="k")


async def test_cancelling_ends_the_call_and_stops_its_handler(mesh: Mesh, agent: EchoAgent) -> None:
    call = await mesh.start(TOPIC, {}, skill="hang")
    while not agent.ran:
        await asyncio.sleep(0)
    await call.cancel()
    with pytest.raises(CallCancelled):
        await call.result()
    while len(agent.ran) < 2:
        await asyncio.sleep(0)
    assert agent.ran == [("hang", 0), ("stopped", 0)]
    await call.cancel()  # a second time is nothing
    assert (await types_of(mesh, call.id)).count("cancelled") == 1


async def test_cancelling_what_waits_keeps_it_from_running(mesh: Mesh, agent: EchoAgent) -> None:
    blockers = [await mesh.start(TOPIC, {}, skill="wait") for _ in range(4)]
    call = await mesh.start(TOPIC, {}, skill="hang")
    await call.cancel()
    agent.gate.set()
    assert [await blocker.result() for blocker in blockers] == ["open"] * 4
    with pytest.raises(CallCancelled):
        await call.result()
    assert not agent.ran


async def test_a_caller_that_is_cancelled_cancels_its_call(mesh: Mesh, agent: EchoAgent) -> None:
    waiting = asyncio.create_task(mesh.call(TOPIC, {}, skill="hang", key="c"))
    while not agent.ran:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    call = await mesh.start(TOPIC, {}, skill="hang", key="c")
    with pytest.raises(CallCancelled):
        await call.result()


async def test_a_started_call_outlives_the_task_that_started_it(mesh: Mesh, agent: EchoAgent) -> None:
    call = await asyncio.create_task(mesh.start(TOPIC, {}, skill="wait"))
    agent.gate.set()
    assert await call.result() == "open"


@pytest.mark.promise(2)
async def test_a_deadline_ends_a_call_that_runs(
    url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock
) -> None:
    async with on_a_clock(url) as mesh:
        agent = EchoAgent()
        await mesh.serve(agent)
        call = await mesh.start(TOPIC, {}, skill="hang", deadline=20)
        waiting = asyncio.create_task(call.result())
        await settle()
        assert agent.ran == [("hang", 0)]
        await clock.advance(20.1)
        with pytest.raises(CallTimedOut):
            await waiting
        assert agent.ran[-1] == ("stopped", 0)
        assert (await types_of(mesh, call.id))[-1] == "timed_out"
        at = datetime.fromtimestamp(clock.now() / 1000, UTC) + timedelta(seconds=5)
        with pytest.raises(ConfigError):
            await mesh.start(TOPIC, {}, skill="hang", deadline=at.replace(tzinfo=None))
        late = await mesh.start(TOPIC, {}, skill="hang", deadline=at)
        await clock.advance(6)
        with pytest.raises(CallTimedOut):
            await late.result()


@pytest.mark.promise(2)
async def test_a_deadline_ends_a_call_that_nobody_works_on(
    url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock
) -> None:
    async with on_a_clock(url) as mesh:
        await mesh.serve(EchoAgent())
        call = await mesh.start(TOPIC, {}, skill="hang", delay=60, deadline=20)
        await clock.advance(21)
        with pytest.raises(CallTimedOut):
            await call.result()
        stats = await mesh.broker.stats([TOPIC])
        assert (stats[0].waiting, stats[0].running) == (0, 0)


async def test_a_delayed_call_waits_for_its_time(
    url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock
) -> None:
    async with on_a_clock(url) as mesh:
        agent = EchoAgent()
        await mesh.serve(agent)
        call = await mesh.start(TOPIC, {"city": "杭州"}, skill="forecast", delay=30)
        await clock.advance(29.9)
        assert not agent.ran
        await clock.advance(0.2)
        assert (await call.result())["city"] == "杭州"


async def test_an_attempt_that_takes_too_long_is_stopped(
    url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock
) -> None:
    async with on_a_clock(url) as mesh:
        agent = EchoAgent()
        await mesh.serve(agent)
        call = await mesh.start(TOPIC, {}, skill="hang")
        await settle()
        await clock.advance(61)
        with pytest.raises(CallFailed, match="TimeoutError"):
            await call.result()
        assert agent.ran == [("hang", 0), ("stopped", 0)]


async def test_a_handler_that_ignores_its_cancellation_is_given_up(
    url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock
) -> None:
    async with on_a_clock(url) as mesh:
        agent = EchoAgent()
        await mesh.serve(agent)
        calls = [await mesh.start(TOPIC, {}, skill="stubborn") for _ in range(5)]  # one more than there are slots
        await settle()
        await clock.advance(66)
        with pytest.raises(CallFailed, match="TimeoutError"):
            await calls[0].result()
        assert (await types_until_now(mesh, calls[4].id))[-1] == "accepted"
        agent.gate.set()
        assert await calls[4].result() is None
        assert (await types_until_now(mesh, calls[0].id)).count("failed") == 1


async def test_a_long_handler_keeps_its_lease(url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock) -> None:
    async with on_a_clock(url) as mesh:
        agent = EchoAgent()
        await mesh.serve(agent)
        call = await mesh.start(TOPIC, {}, skill="wait")
        await settle()
        await clock.advance(59)
        agent.gate.set()
        await settle()
        assert await call.result() == "open"
        assert (await types_of(mesh, call.id)).count("accepted") == 1


async def test_an_error_that_is_retried_gets_another_attempt_after_its_back_off(
    url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock
) -> None:
    async with on_a_clock(url) as mesh:
        agent = EchoAgent()
        await mesh.serve(agent)
        call = await mesh.start(TOPIC, {}, skill="flaky")
        await settle()
        assert [attempt for _, attempt in agent.ran] == [1]
        await clock.advance(1.1)
        assert await call.result() == 2
        assert await types_of(mesh, call.id) == ["submitted", "accepted", "retrying", "accepted", "completed"]


async def test_retryable_says_when(url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock) -> None:
    async with on_a_clock(url) as mesh:
        await mesh.serve(EchoAgent())
        call = await mesh.start(TOPIC, {}, skill="again")
        await clock.advance(4.9)
        assert (await types_until_now(mesh, call.id))[-1] == "retrying"
        await clock.advance(0.2)
        assert await call.result() == 2


async def types_until_now(mesh: Mesh, call_id: str) -> list[str]:
    return [event.type for event in (await (await mesh.attach(call_id)).state()).events]


@pytest.mark.promise(2)
async def test_attempts_that_are_used_up_dead_letter_the_call(
    url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock
) -> None:
    async with on_a_clock(url) as mesh:
        await mesh.serve(EchoAgent())
        call = await mesh.start(TOPIC, {}, skill="always_flaky")
        await clock.advance(2)
        with pytest.raises(CallDeadLettered, match="Flaky: never"):
            await call.result()
        dead = await mesh.broker.browse(TOPIC, dead=True)
        assert [(each.message.id, each.attempt) for each in dead] == [(call.id, 2)]


async def test_a_handler_that_blocks_the_loop_is_named_and_nobody_loses_a_lease(
    mesh: Mesh, capsys: pytest.CaptureFixture[str]
) -> None:
    class BlockingAgent(Agent):
        """Blocks."""

        delivery = Delivery(lease=0.3)

        @skill
        async def block(self, *, ctx: Context) -> int:
            """Block the loop for longer than the lease."""
            time.sleep(0.9)
            await asyncio.sleep(0)
            return ctx.attempt

    await mesh.serve(BlockingAgent())
    assert await mesh.call("BlockingAgentTask", {}) == 1
    assert "held the event loop" in capsys.readouterr().err


async def test_a_mesh_of_one_tenant_does_not_see_another(url: str) -> None:
    async with Mesh(url, tenant="acme") as acme, Mesh(url, tenant="evil") as evil, Mesh(url) as operator:
        await operator.serve(EchoAgent())
        call = await acme.start(TOPIC, {"city": "杭州"}, skill="forecast")
        assert (await call.result())["city"] == "杭州"
        with pytest.raises(CallNotFound):
            await evil.attach(call.id)
        with pytest.raises(Unauthorized):
            await evil.start(TOPIC, {"city": "杭州"}, skill="forecast", tenant="acme")
        assert await (await operator.attach(call.id)).result()
        await acme.lite_topic("notes").append({"secret": 1})
        assert not await evil.lite_topic("notes").read()


async def test_input_that_is_not_json_data_is_refused(mesh: Mesh, agent: EchoAgent) -> None:
    value: Any
    for value in (object(), {"n": float("nan")}, {1: {2}}):
        with pytest.raises((InvalidInput, Exception)):
            await mesh.call(TOPIC, {"city": value}, skill="forecast")


async def test_a_long_call_that_ended_in_time_is_not_timed_out_by_a_late_reader(
    url: str, on_a_clock: Callable[[str], Mesh], clock: ManualClock
) -> None:
    class TalkativeAgent(Agent):
        """Says a lot."""

        @skill
        async def talk(self, *, ctx: Context) -> str:
            """Talk."""
            for number in range(700):
                await ctx.emit(str(number))
            return "done"

    async with on_a_clock(url) as mesh:
        await mesh.serve(TalkativeAgent())
        call = await mesh.start("TalkativeAgentTask", {}, deadline=60)
        assert await call.result() == "done"
        await clock.advance(120)
        assert await (await mesh.attach(call.id)).result() == "done"
        assert len([event async for event in call.events()]) == 703


async def test_an_entry_that_cannot_be_read_is_an_error_for_its_reader_alone(mesh: Mesh, agent: EchoAgent) -> None:
    call = await mesh.start(TOPIC, {}, skill="wait")
    waiting = asyncio.create_task(call.result())
    await settle()
    broker = mesh.broker
    if isinstance(broker, LocalBroker):
        assert broker.hosted
        broker = broker.hosted.broker
    assert isinstance(broker, EmbeddedBroker)
    broker.state.logs.find(call.id).tail.append((2, "", 0, b"rubbish"))  # type: ignore[union-attr]
    broker.state.logs.find(call.id).next = 3  # type: ignore[union-attr]
    await broker.append(call.id, [Draft("cancelled", {"by": "test"})])
    with pytest.raises(PayloadCorrupt):
        await waiting
    agent.gate.set()
    assert await mesh.call(TOPIC, {"number": 1}, skill="plain") == 2
