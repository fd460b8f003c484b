"""The timeline of a call: every entry of its log and of those below it, in order, from the logs alone."""

from typing import Any

import pytest

from agentmesh import Agent, CallFailed, CallNotFound, Context, Retryable, skill
from agentmesh.clock import ManualClock
from agentmesh.contracts import Broker
from agentmesh.ids import child_call, new_id
from agentmesh.message import Draft, Message
from agentmesh.testing import open_mesh
from agentmesh.trace.timeline import Row, Timeline, read_timeline

LIMIT = 10_000


class LeafAgent(Agent):
    """Does the work."""

    @skill
    async def work(self, what: str, *, ctx: Context) -> str:
        await ctx.progress("working", fraction=0.5)
        if what == "fails":
            raise LookupError("nothing there")
        if what == "again" and ctx.attempt == 1:
            await ctx.emit("half of it")
            raise Retryable("not yet", after=2)
        return what


class BossAgent(Agent):
    """Has others work."""

    @skill
    async def lead(self, parts: list[str], *, ctx: Context) -> list[str]:
        done = []
        for part in parts:
            try:
                done.append(await ctx.call("LeafAgentTask", {"what": part}))
            except CallFailed as error:
                done.append(error.reason)
        return done


def seen(found: Timeline) -> list[tuple[int, str, str]]:
    return [(row.depth, row.topic, row.event) for row in found.rows]


async def timeline(broker: Broker, call: str, now: int, **options: Any) -> Timeline:
    return await read_timeline(broker, call, now, **{"limit": LIMIT, **options})


async def test_the_entries_of_all_logs_come_in_order_causes_before_effects() -> None:
    clock = ManualClock()
    async with open_mesh(BossAgent(), LeafAgent(), clock=clock) as mesh:
        call = await mesh.start("BossAgentTask", {"parts": ["a"]})
        await clock.advance(0)
        found = await timeline(mesh.broker, call.id, clock.now())
    child = child_call(call.id, "#1")
    assert seen(found) == [
        (0, "BossAgentTask", "submitted"),
        (0, "BossAgentTask", "accepted"),
        (0, "BossAgentTask", "step"),
        (1, "LeafAgentTask", "submitted"),
        (1, "LeafAgentTask", "accepted"),
        (1, "LeafAgentTask", "progress"),
        (1, "LeafAgentTask", "completed"),
        (0, "BossAgentTask", "step"),
        (0, "BossAgentTask", "completed"),
    ]
    assert [(part.call, part.parent, part.depth, part.outcome) for part in found.parts] == [
        (call.id, "", 0, "completed"),
        (child, call.id, 1, "completed"),
    ]
    assert found.rows[3].lite_topic == child
    assert found.rows[3].parent == call.id
    assert found.rows[4].worker == found.rows[6].worker != ""
    assert found.is_whole


async def test_what_began_says_how_long_it_took_and_what_failed_says_why() -> None:
    clock = ManualClock()
    async with open_mesh(BossAgent(), LeafAgent(), clock=clock) as mesh:
        call = await mesh.start("BossAgentTask", {"parts": ["again", "fails"]})
        await clock.advance(5)
        found = await timeline(mesh.broker, call.id, clock.now())
        below = await timeline(mesh.broker, child_call(call.id, "#2"), clock.now())
    rows: dict[tuple[int, str, int], Row] = {}
    for row in found.rows:
        rows.setdefault((row.depth, row.event, row.attempt), row)
    assert rows[0, "submitted", 0].duration == 2000
    assert (rows[1, "submitted", 0].duration, rows[1, "accepted", 1].duration) == (2000, 0)
    assert (rows[1, "retrying", 1].error, rows[1, "retrying", 1].at) == ("Retryable: not yet", 0)
    assert (rows[1, "accepted", 2].at, rows[1, "accepted", 2].duration) == (2000, 0)
    assert not rows[1, "delta", 1].counts  # the second attempt replaced it
    assert rows[1, "failed", 1].error == "LookupError: nothing there"
    steps = [row for row in found.rows if row.event == "step"]
    assert [(row.duration, row.error) for row in steps] == [
        (2000, ""),
        (None, ""),
        (0, ""),
        (None, "LookupError: nothing there"),
    ]
    assert [(part.outcome, part.attempts, part.error) for part in found.parts[1:]] == [
        ("completed", 2, ""),
        ("failed", 1, "LookupError: nothing there"),
    ]
    assert (below.above, len(below.parts)) == (call.id, 1)


async def test_a_run_has_its_session_and_the_calls_of_its_rounds() -> None:
    class SkyAgent(Agent):
        """Weather of a city: 天气."""

        @skill(examples=["杭州天气"], tags=["weather"])
        async def forecast(self, request: str) -> dict[str, str]:
            """The weather forecast. 天气预报"""
            return {"text": "晴"}

    async with open_mesh(SkyAgent()) as mesh:
        run = await mesh.run("杭州天气", session="s1")
        await run.result()
        other = await mesh.run("苏州天气", session="s1")
        await other.result()
        found = await timeline(mesh.broker, run.id, 0)
    of_session = [(row.event, row.data["run"]) for row in found.rows if row.lite_topic.startswith("session-")]
    assert of_session == [("goal", run.id), ("answer", run.id)]
    assert [(part.topic, part.depth, part.outcome) for part in found.parts] == [
        ("SupervisorAgentTask", 0, "completed"),
        ("SkyAgentTask", 1, "completed"),
    ]
    started = next(row for row in found.rows if row.event == "call_started")
    assert started.duration is not None
    assert started.data["call"] == found.parts[1].call


async def test_a_deadline_that_passed_is_a_row_that_no_log_holds() -> None:
    clock = ManualClock()
    async with open_mesh(clock=clock) as mesh:
        await mesh.serve(LeafAgent())
        await mesh.registry.list()
        call = await mesh.start("LeafAgentTask", {"what": "x"}, delay=60, deadline=10)
        await clock.advance(11)
        found = await timeline(mesh.broker, call.id, clock.now())
    assert [(row.event, row.offset, row.at) for row in found.rows] == [("submitted", 0, 0), ("timed_out", None, 10_000)]
    assert found.parts[0].duration == 10_000


async def test_another_tenants_call_is_as_if_it_did_not_exist() -> None:
    async with open_mesh(LeafAgent()) as mesh:
        call = await mesh.start("LeafAgentTask", {"what": "x"}, tenant="acme")
        await call.result()
        assert len((await timeline(mesh.broker, call.id, 0, tenant="acme")).rows) == 4
        for wrong in (call.id, new_id("call"), "log-mine", "nonsense", "../up", "天气"):
            with pytest.raises(CallNotFound):
                await timeline(mesh.broker, wrong, 0, tenant="umbrella")


async def begun(broker: Broker, call: str, *entries: Draft) -> None:
    """A call that a worker holds, with what it wrote."""
    if not await broker.publish(Message(id=call, topic="LeafAgentTask", created=1)):
        return
    (lease,) = await broker.lease(["LeafAgentTask"], 1, 0, worker="w")
    stamped = [Draft(each.type, each.data, each.id, 1, lease.token) for each in entries]
    await broker.append(call, stamped, lease=lease)


def step(key: str, call: str) -> Draft:
    return Draft("step", {"key": key, "kind": "call", "digest": "", "call": call})


async def test_ten_thousand_entries_are_read_up_to_the_limit_and_it_is_said_that_there_are_more() -> None:
    async with open_mesh() as mesh:
        from agentmesh.contracts import Delivery

        await mesh.broker.declare("LeafAgentTask", Delivery())
        child = new_id("call")
        call = new_id("call")
        await begun(mesh.broker, call, step("#1", child), *(Draft("delta", {"text": str(n)}) for n in range(12_000)))
        await begun(mesh.broker, child)
        whole = await timeline(mesh.broker, call, 0, limit=20_000)
        assert (len(whole.rows), whole.is_whole, len(whole.parts)) == (12_005, True, 2)
        exact = await timeline(mesh.broker, call, 0, limit=12_005)
        assert (len(exact.rows), exact.is_whole) == (12_005, True)
        for limit, parts in ((10_000, 1), (12_003, 1), (12_004, 2), (1, 1), (1000, 1)):
            cut = await timeline(mesh.broker, call, 0, limit=limit)
            assert (len(cut.rows), cut.is_whole, len(cut.parts)) == (limit, False, parts), limit


async def test_calls_that_name_each_other_or_nothing_end_all_the_same() -> None:
    async with open_mesh() as mesh:
        from agentmesh.contracts import Delivery

        await mesh.broker.declare("LeafAgentTask", Delivery())
        one, other, missing = new_id("call"), new_id("call"), new_id("call")
        wrong = [step("#3", name) for name in ("log-mine", "../../etc", "天气", "x" * 100)]
        odd = [Draft("step", {"key": "#9", "kind": "call", "digest": "", "call": 7}), Draft("planned", ["not", "one"])]
        await begun(mesh.broker, one, step("#1", other), step("#2", missing), step("#1", other), *wrong, *odd)
        await begun(mesh.broker, other, step("#1", one))
        found = await timeline(mesh.broker, one, 0)
    assert [(part.call, part.outcome) for part in found.parts] == [(one, ""), (other, ""), (missing, "missing")]
