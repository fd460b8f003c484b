"""Figures: what a host counts, what there is now, and what a debug mode says of turns that take long."""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmesh.broker.embedded import figures as module
from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.memory import open_memory
from agentmesh.clock import ManualClock
from agentmesh.contracts import Append, Delivery, Lease, Retry
from agentmesh.contracts.admin import figure, parts_of
from agentmesh.errors import BrokerUnavailable
from agentmesh.message import Draft, Message
from agentmesh.scheduling.order import Waiting

TOPIC = "WorkTask"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(clock: ManualClock) -> AsyncIterator[EmbeddedBroker]:
    opened = await open_memory("", clock)
    await opened.declare(TOPIC, Delivery(lease=30, retry=Retry(lost=2)))
    yield opened
    await opened.close()


async def leased(broker: EmbeddedBroker) -> Lease:
    (lease,) = await broker.lease([TOPIC], 1, 0, worker="w")
    return lease


async def counted(broker: EmbeddedBroker) -> dict[str, float]:
    """Counters of tasks that are not 0, by their short names."""
    found = await broker.figures()
    return {
        name.removeprefix("tasks_").removesuffix("_total"): value
        for name, value in found.items()
        if name.startswith("tasks_") and name.endswith("_total") and value
    }


async def test_each_way_of_a_task_is_counted_once(broker: EmbeddedBroker, clock: ManualClock) -> None:
    for name in ("ends", "raises", "returned", "poison", "cancelled", "lost"):
        await broker.publish(Message(id=f"call-{name}", topic=TOPIC))
    await broker.publish(Message(id="call-ends", topic=TOPIC))  # known: nothing happens
    await broker.publish(Message(id="call-late", topic=TOPIC, deadline=clock.now() + 500, not_before=clock.now() + 900))
    assert await counted(broker) == {"published": 7}
    lease = await leased(broker)
    await broker.ack(lease, [Append("call-ends", [Draft("completed", {"result": 1}, "", 1, lease.token)])])
    await broker.nack(await leased(broker), error="E", not_before=clock.now() + 10_000_000)
    await broker.nack(await leased(broker), not_before=clock.now() + 10_000_000)
    await broker.nack(await leased(broker), dead="poison")
    await broker.append("call-cancelled", [Draft("cancelled", {"by": "me"})])
    await clock.advance(1)
    for _ in range(2):
        await leased(broker)
        await clock.advance(31)
    assert await counted(broker) == {
        "published": 7,
        "leased": 6,
        "acknowledged": 1,
        "retried": 1,
        "returned": 1,
        "dead_lettered": 2,
        "cancelled": 1,
        "expired": 1,
        "lost": 2,
    }
    (stats,) = await broker.stats()
    assert (stats.waiting, stats.running, stats.dead) == (2, 0, 2)


async def test_what_a_failed_turn_did_is_not_counted(broker: EmbeddedBroker) -> None:
    async def breaks() -> None:
        await broker.turns.submit(lambda: [].pop())

    before = await broker.figures()
    results = await asyncio.gather(
        broker.publish(Message(id="call-1", topic=TOPIC)),
        breaks(),
        return_exceptions=True,
    )
    assert [type(each) for each in results] == [BrokerUnavailable, IndexError]
    after = await broker.figures()
    same = ("tasks_published_total", "entries_appended_total", "commits_total", "rows_written_total")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert after["commits_failed_total"] == before["commits_failed_total"] + 1
    await broker.publish(Message(id="call-1", topic=TOPIC))
    assert (await broker.figures())["tasks_published_total"] == before["tasks_published_total"] + 1


async def test_a_hundred_operations_of_one_turn_are_one_commit(broker: EmbeddedBroker) -> None:
    before = await broker.figures()
    await asyncio.gather(*(broker.publish(Message(id=f"call-{n}", topic=TOPIC)) for n in range(100)))
    after = await broker.figures()

    def grew(name: str) -> float:
        return after[name] - before[name]

    assert grew("commits_total") == 1
    assert (grew("entries_appended_total"), grew("rows_written_total")) == (100, 300)
    assert grew("commit_seconds_total") > 0
    assert grew("turns_total") >= 1
    assert after["turn_seconds_max"] <= after["turn_seconds_total"]


async def test_what_waits_and_runs_is_told_by_topic_and_tenant(broker: EmbeddedBroker) -> None:
    odd = 'a"b\\c\n天气'
    for number, tenant in enumerate(["default", "acme", "acme", odd]):
        await broker.publish(Message(id=f"call-{number}", topic=TOPIC, tenant=tenant))
    await broker.declare("IdleTask", Delivery())
    lease = await leased(broker)
    found = await broker.figures()
    running = {"default": 0.0, "acme": 0.0, odd: 0.0} | {lease.message.tenant: 1.0}
    for tenant, count in {"default": 1, "acme": 2, odd: 1}.items():
        assert found[figure("tasks_running", topic=TOPIC, tenant=tenant)] == running[tenant]
        assert found[figure("tasks_waiting", topic=TOPIC, tenant=tenant)] == count - running[tenant]
    assert found[figure("tasks_waiting", topic="IdleTask")] == 0
    assert parts_of(figure("x", topic=TOPIC, tenant=odd)) == ("x", {"topic": TOPIC, "tenant": odd})
    assert parts_of("plain") == ("plain", {})


async def test_of_many_tenants_those_with_the_most_have_figures_and_the_others_one_together(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_TENANTS", 2)
    for tenant, count in (("a", 1), ("b", 3), ("c", 2), ("d", 1)):
        for number in range(count):
            await broker.publish(Message(id=f"call-{tenant}{number}", topic=TOPIC, tenant=tenant))
    found = {name: value for name, value in (await broker.figures()).items() if name.startswith("tasks_waiting")}
    assert found == {
        figure("tasks_waiting", topic=TOPIC, tenant="b"): 3,
        figure("tasks_waiting", topic=TOPIC, tenant="c"): 2,
        figure("tasks_waiting", topic=TOPIC): 2,
    }


async def test_readers_are_counted(broker: EmbeddedBroker) -> None:
    inbox = broker.inbox("me")
    await inbox.sync({"log-a": -1, "log-b": -1})
    before = await broker.figures()
    assert (before["clients"], before["subscriptions"]) == (1, 2)
    await broker.append("log-a", [Draft("data", 1)])
    await broker.append("log-c", [Draft("data", 1)])
    assert len(await inbox.poll(10, 0)) == 1
    after = await broker.figures()
    assert after["wake_ups_total"] == before["wake_ups_total"] + 1
    assert after["polls_total"] == before["polls_total"] + 1
    assert after["lite_topics_in_memory"] >= 2


async def test_a_closed_broker_has_no_figures(clock: ManualClock) -> None:
    broker = await open_memory("", clock)
    await broker.close()
    with pytest.raises(BrokerUnavailable):
        await broker.figures()
    with pytest.raises(BrokerUnavailable):
        await broker.health()


LONG_TURN = """
import asyncio, time
from agentmesh.broker.memory import open_memory
from agentmesh.clock import SystemClock
from agentmesh.contracts import Delivery
from agentmesh.message import Draft, Message

def slow_operation(broker):
    until = time.perf_counter() + 0.02
    while time.perf_counter() < until:
        pass

async def main():
    broker = await open_memory("", SystemClock())
    await broker.declare("WorkTask", Delivery())
    async def be_slow():
        await broker.turns.submit(slow_operation, broker)

    await asyncio.gather(
        be_slow(),
        *(broker.append(f"log-{n}", [Draft("data", "x" * 100)]) for n in range(3)),
    )
    assert (await broker.figures())["turns_long_total"] >= 1
    await broker.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("debug", ["1", ""])
def test_the_debug_mode_names_what_a_long_turn_did(tmp_path: Path, debug: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LONG_TURN],
        capture_output=True,
        text=True,
        env={"AGENTMESH_DEBUG_LOOP": debug, "PATH": ""},
        timeout=50,
        check=True,
    )
    said = [line for line in done.stderr.splitlines() if "a turn held the loop" in line and "slow_operation" in line]
    assert len(said) == (1 if debug else 0)
    if debug:
        assert "did='append × 3, slow_operation × 1'" in said[0]
        assert float(re.findall(r"ms=([\d.]+)", said[0])[0]) >= 20
        assert re.search(r"bytes=3\d\d .* rows=6", said[0])


STEPS = st.tuples(
    st.sampled_from(["add", "remove", "take"]), st.integers(0, 30), st.sampled_from("abc"), st.integers(0, 9)
)


@given(st.lists(STEPS, max_size=60))
def test_the_oldest_is_the_one_that_has_waited_longest(steps: list[tuple[str, int, str, int]]) -> None:
    waiting = Waiting()
    there: set[int] = set()
    for what, position, tenant, priority in steps:
        if what == "add":
            there.add(position)
            waiting.add(position, 1000 + position, tenant, priority)  # positions grow with age
        elif what == "remove":
            there.discard(position)
            waiting.remove(position)
        elif (taken := waiting.take()) is not None:
            there.remove(taken)
        assert waiting.oldest() == min((1000 + each for each in there), default=None)
