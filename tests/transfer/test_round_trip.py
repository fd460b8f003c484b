"""A mesh is exported, imported into another, and is the same there; work goes on where it was."""

import asyncio
import io
from pathlib import Path

import msgspec
import pytest
from transfer.kit import (
    ACME,
    LARGE,
    WAITING,
    KitAgent,
    WaitingAgent,
    WaitingCard,
    bodies,
    contents,
    exported,
    fill,
    imported,
    mesh,
    place,
)

from agentmesh import Agent, Conflict, InputRequired, QuotaExceeded, skill
from agentmesh.clock import ManualClock, SystemClock
from agentmesh.contracts import Delivery, Quota, Registration
from agentmesh.ids import new_token
from agentmesh.message import Draft
from agentmesh.runtime.dead_letters import DeadLetters
from agentmesh.runtime.reading import read_all
from agentmesh.runtime.transfer import Sofar, export_mesh
from agentmesh.runtime.transfer.frames import FrameWriter
from agentmesh.runtime.transfer.part import Sink


def memory() -> str:
    return f"memory://{new_token()}"


async def test_from_memory_to_a_folder_and_back_everything_is_the_same(tmp_path: Path) -> None:
    async with mesh(memory()) as source:
        await fill(source)
        before = await contents(source)
        raw, sofar = await exported(source)
        assert sofar.problems == []
    async with mesh(f"local://{tmp_path / '网'}") as middle:
        done = await imported(middle, raw)
        assert (done.notes, done.anew, done.known, done.resumed) == ([], 0, 0, False)
        assert await contents(middle) == before
        again, _ = await exported(middle)
    async with mesh(memory()) as last:
        assert (await imported(last, again)).notes == []
        assert await contents(last) == before


async def test_from_a_folder_that_another_process_hosts_to_another_one(tmp_path: Path) -> None:
    async with mesh(f"local://{tmp_path / 'a'}", alone=False) as source:
        await fill(source)
        before = await contents(source)
        raw, _ = await exported(source)
    async with mesh(f"local://{tmp_path / 'b'}", alone=False) as target:
        await imported(target, raw)
        assert await contents(target) == before


async def test_what_waited_is_worked_on_there_and_what_had_begun_goes_on_without_doing_its_steps_again() -> None:
    async with mesh(memory()) as source:
        filled = await fill(source)
        raw, _ = await exported(source)
    clock, agent = ManualClock(SystemClock().now()), WaitingAgent()
    async with mesh(memory(), clock=clock) as target:
        await imported(target, raw, clock)
        await target.registry.remove(WAITING)  # its card was another one
        await target.serve(agent)
        call = await target.attach(filled.begun)
        await clock.advance(31)  # so long it is left alone
        with pytest.raises(InputRequired, match="谁住"):
            await call.wait()
        await call.answer("小明")
        assert await call.result() == {"order": "订单-三零一", "who": "小明"}
        assert agent.booked == []
        await clock.advance(3600)
        for each in filled.waiting:
            await (await target.attach(each)).result()
        assert len(agent.done) == len(filled.waiting)
        assert agent.done[-1] == "等 {'delay': 3600, 'version': '1.0.0'}"


async def test_imported_twice_everything_is_there_once() -> None:
    async with mesh(memory()) as source:
        await fill(source)
        before = await contents(source)
        raw, _ = await exported(source)
        other, _ = await exported(source)
    async with mesh(memory()) as target:
        await imported(target, raw)
        second = await imported(target, raw)
        assert second.resumed
        assert await contents(target) == before
        third = await imported(target, other)  # another export of the same mesh
        assert not third.resumed
        assert await contents(target) == before


async def test_a_key_names_the_same_call_there_for_a_large_input_too() -> None:
    async with mesh(memory()) as source:
        filled = await fill(source)
        raw, _ = await exported(source)
    async with mesh(memory()) as target:
        await imported(target, raw)
        await target.serve(KitAgent())
        for key, text in (("small", "你好"), ("large", LARGE)):
            call = await target.start("KitAgentTask", {"text": text}, skill="echo", key=key)
            assert call.id == filled.ended[key]
            assert await call.result() == {"text": text}
        with pytest.raises(Conflict):
            await target.start("KitAgentTask", {"text": "another"}, skill="echo", key="large")


async def test_a_dead_letter_can_be_looked_at_and_tried_again_there() -> None:
    class DeadAgent(Agent):
        """做完。"""

        topic = "DeadAgentTask"

        @skill
        async def x(self, text: str) -> str:
            """做。"""
            return text[:2]

    async with mesh(memory()) as source:
        filled = await fill(source)
        raw, _ = await exported(source)
    async with mesh(memory()) as target:
        await imported(target, raw)
        await target.broker.set_tenant(ACME)
        letters = DeadLetters(target.broker, target.registry)
        stored = await letters.find(filled.dead)
        assert stored.reason == "三次都失败了"
        assert [each.data["error"] for each in await letters.history(stored)] == ["ValueError: 第一次"]
        await target.serve(DeadAgent())
        again = await target.attach(await letters.retry(stored))
        assert await again.result() == "很长"


async def test_what_is_set_here_stays_and_is_told() -> None:
    async with mesh(memory()) as source:
        await fill(source)
        await source.registry.route(WAITING, {"1.0.0": 9, "1.1.0": 1})
        raw, _ = await exported(source)
    async with mesh(memory()) as target:
        mine = msgspec.structs.replace(ACME, weight=9)
        await target.broker.set_tenant(mine)
        other = msgspec.structs.replace(WaitingCard, description="Another.")
        await target.registry.register(Registration(WAITING, "1.0.0", other, "me"))
        await target.registry.route(WAITING, {"1.0.0": 1})
        await target.registry.remove(WAITING, "me")
        done = await imported(target, raw)
        assert await target.broker.tenants() == [mine]
        assert (await target.registry.get(WAITING, "1.0.0")).card == other
        assert await target.registry.route(WAITING) == {"1.0.0": 1}
        assert len(done.notes) == 3
        assert "租户甲" in done.notes[0]


async def test_a_route_comes_along() -> None:
    async with mesh(memory()) as source:
        await fill(source)
        await source.registry.route(WAITING, {"1.0.0": 9, "1.1.0": 1})
        raw, _ = await exported(source)
    async with mesh(memory()) as target:
        await imported(target, raw)
        assert await target.registry.route(WAITING) == {"1.0.0": 9, "1.1.0": 1}
        assert await target.registry.list() == []  # nobody is at work yet


async def test_a_quota_of_the_target_stops_the_import_and_a_further_one_goes_on() -> None:
    async with mesh(memory()) as source:
        await fill(source)
        before = await contents(source)
        raw, _ = await exported(source)
    async with mesh(memory()) as target:
        await target.broker.declare(WAITING, Delivery(quota=Quota(total=2, over="refuse")))
        with pytest.raises(QuotaExceeded, match=WAITING):
            await imported(target, raw)
        await target.broker.declare(WAITING, Delivery())
        assert (await imported(target, raw)).resumed
        assert await contents(target) == before


async def test_tasks_that_had_begun_are_not_given_to_agents_at_work_unless_they_may_begin_anew() -> None:
    async with mesh(memory()) as source:
        filled = await fill(source)
        raw, _ = await exported(source)
    async with mesh(memory()) as target:
        agent = WaitingAgent()
        await target.broker.set_tenant(ACME)
        await target.registry.register(Registration(WAITING, "1.0.0", WaitingCard, "here"))
        with pytest.raises(Conflict, match=r"--begin-anew"):
            await imported(target, raw)
        await target.registry.remove(WAITING)
        await target.serve(agent)
        done = await imported(target, raw, begin_anew=True)
        call = await target.attach(filled.begun)
        async for event in call.events():
            if event.type == "input_required":
                break
        await call.answer("小明")
        assert await call.result() == {"order": "订单-三零一", "who": "小明"}
        assert done.anew == len(agent.booked) == 1


async def test_a_mesh_in_use_loses_no_call_and_doubles_none() -> None:
    class Slow(Sink):
        """A sink beside which the mesh goes on with its work."""

        async def put(self, record: object) -> None:
            await super().put(record)  # type: ignore[arg-type]
            for _ in range(20):
                await asyncio.sleep(0)

    async with mesh(memory()) as source:
        await source.serve(KitAgent())
        started: list[str] = []

        async def keep_busy() -> None:
            while len(started) < 500:
                started.append((await source.start("KitAgentTask", {"text": str(len(started))}, skill="echo")).id)

        first = [await source.start("KitAgentTask", {"text": f"第一{n}"}, skill="echo") for n in range(100)]
        busy = asyncio.create_task(keep_busy())
        file = io.BytesIO()
        sofar = await export_mesh(place(source), Slow(FrameWriter(file), Sofar()))
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        assert sofar.problems == []
    async with mesh(memory()) as target:
        await imported(target, file.getvalue())
        await target.serve(KitAgent())
        for number, each in enumerate(first):
            call = await target.attach(each.id)
            assert await call.result() == {"text": f"第一{number}"}
            types = [entry.type for entry in await read_all(target.broker, each.id)]
            assert types.count("completed") == 1


async def test_a_body_that_is_gone_is_a_problem_and_the_rest_comes_along() -> None:
    async with mesh(memory()) as source:
        filled = await fill(source)
        notes = await source.lite_topic("坏").append({"长": LARGE + "!"})
        assert notes == 0
        claims = list(source.blobs.list())
        await source.lite_topic("好").append({"短": 1})
        (entry,) = await read_all(source.broker, source.lite_topic("坏").lite_topic)
        assert source.blobs.delete(entry.data.digest, SystemClock().now() + 1)
        assert len([*source.blobs.list()]) == len(claims) - 1
        raw, sofar = await exported(source)
        assert len(sofar.problems) == 1
        assert entry.data.digest in sofar.problems[0]
    async with mesh(memory()) as target:
        await imported(target, raw)
        assert [each.data for each in await target.lite_topic("好").read()] == [{"短": 1}]
        assert await (await target.attach(filled.ended["large"])).result() == {"text": LARGE}


async def test_a_log_on_both_sides_has_the_entries_of_both_each_once() -> None:
    async with mesh(memory()) as source, mesh(memory()) as target:
        for each in (source, target):
            await each.lite_topic("共").append({"同": 1}, id="same")
        await source.lite_topic("共").append({"来": 2}, id="came")
        await target.lite_topic("共").append({"在": 3}, id="there")
        raw, _ = await exported(source)
        await imported(target, raw)
        assert [each.id for each in await target.lite_topic("共").read()] == ["same", "there", "came"]


async def test_a_call_that_is_known_there_is_left_alone() -> None:
    async with mesh(memory()) as source, mesh(memory()) as target:
        for each in (source, target):
            await each.broker.declare("KitAgentTask", Delivery())
            await each.registry.register(Registration("KitAgentTask", "1", WaitingCard, "x"))
        call = await source.start("KitAgentTask", {"a": 1}, skill="work", key="k")
        same = await target.start("KitAgentTask", {"a": 1}, skill="work", key="k")
        assert call.id == same.id
        await call.cancel()
        raw, _ = await exported(source)
        done = await imported(target, raw)
        assert done.known == 1
        assert [each.message.id for each in await target.broker.browse("KitAgentTask")] == [same.id]
        assert (await same.state()).terminal is None


async def test_an_import_s_own_journal_is_not_exported() -> None:
    async with mesh(memory()) as source:
        await source.broker.append("plain-1", [Draft("data", 1)])
        raw, _ = await exported(source)
    async with mesh(memory()) as target:
        await imported(target, raw)
        _, sofar = await exported(target)
        assert (sofar.counts["logs"], sofar.counts["entries"]) == (1, 1)
        assert await bodies(target).data("default", "data", 1) == 1
