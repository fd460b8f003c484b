"""Real processes, killed with SIGKILL before, after and amid every transaction: what was told is there, and no half."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentmesh.broker.local import open_local
from agentmesh.clock import ManualClock
from agentmesh.contracts import Append, Broker, Delivery, Retry
from agentmesh.fold import fold
from agentmesh.message import TERMINAL, Draft, Entry

CHILD = Path(__file__).with_name("crash_child.py")
WORK, CHILDREN = "WorkTask", "ChildTask"


@pytest.fixture(scope="module")
def child() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()
        assert process.wait(10) == 0


def killed(child: "subprocess.Popen[str]", folder: Path, when: str, number: int) -> list[dict[str, Any]]:
    """The facts that a process acknowledged before it was killed."""
    folder.mkdir()
    assert child.stdin
    assert child.stdout
    child.stdin.write(f"{folder} {when} {number}\n")
    assert child.stdout.readline() == "killed\n"
    return [json.loads(line) for line in (folder / "facts").read_text().splitlines()]


class After:
    """The mesh as the next process finds it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.logs: dict[str, list[Entry]] = {}
        self.waiting: set[str] = set()
        self.dead: set[str] = set()

    async def look(self) -> None:
        for info in await self.broker.list():
            self.logs[info.lite_topic] = list(await self.broker.read(info.lite_topic))
        for topic in (stats.topic for stats in await self.broker.stats()):
            self.waiting |= {stored.message.id for stored in await self.broker.browse(topic)}
            self.dead |= {stored.message.id for stored in await self.broker.browse(topic, dead=True)}

    def calls(self) -> dict[str, list[Entry]]:
        return {name: entries for name, entries in self.logs.items() if name.startswith("call-")}

    def kinds(self, name: str) -> list[str]:
        return [entry.type for entry in self.logs.get(name, ())]

    def holds(self, fact: dict[str, Any]) -> bool:
        """Whether what was acknowledged is there."""
        call = fact.get("call", "")
        kinds = self.kinds(call)
        match fact["what"]:
            case "published":
                return kinds[:1] == ["submitted"] and (call in self.waiting or self.ended(call))
            case "leased":
                return any(
                    (e.type, e.attempt, e.token) == ("accepted", fact["attempt"], fact["token"])
                    for e in self.logs[call]
                )
            case "appended":
                return len(kinds) >= fact["count"]
            case "noted":
                return [entry.id for entry in self.logs["log-own"]][:3] == ["k0", "k1", "k2"]
            case "acked":
                child_there = self.kinds(fact["child"]) == ["submitted"] and fact["child"] in self.waiting
                return kinds[-1] == "completed" and call not in self.waiting and child_there
            case "raised":
                return "retrying" in kinds
            case "cancelled":
                return kinds[-1] == "cancelled" and call not in self.waiting
            case "buried":
                return kinds[-1] == "dead_lettered" and call in self.dead and call not in self.waiting
        return fact["what"] in ("declared", "finished")

    def ended(self, call: str) -> bool:
        return bool(set(self.kinds(call)) & TERMINAL)

    def check_no_halves(self) -> None:
        calls = self.calls()
        assert self.waiting <= calls.keys()
        for call, entries in calls.items():
            assert entries[0].type == "submitted"
            assert [entry.offset for entry in entries] == list(range(len(entries)))
            assert (call in self.waiting) != self.ended(call)
            assert (call in self.dead) == ("dead_lettered" in self.kinds(call))
            assert self.kinds(call).count("delta") in (0, 2)
        for call, own_child in (("call-a", "call-child-a"), ("call-b", "call-child-b")):
            done = "completed" in self.kinds(call)
            assert (own_child in calls) == done
            assert (call in [entry.id for entry in self.logs.get("log-own", ())]) == done
        assert len([entry for entry in self.logs.get("log-own", ()) if entry.id.startswith("k")]) in (0, 3)


async def go_on(after: After, clock: ManualClock) -> None:
    """The next worker gets everything that is left at once, with the next attempt, and ends it."""
    broker = after.broker
    for topic in (WORK, CHILDREN):
        await broker.declare(topic, Delivery(retry=Retry(lost=0)))
    expected = {call: after.kinds(call).count("accepted") + 1 for call in after.waiting}
    leases = await broker.lease([WORK], 100, 0, worker="next")
    leases = [*leases, *await broker.lease([CHILDREN], 100, 0, worker="next")]
    assert {lease.message.id: lease.attempt for lease in leases} == expected
    for lease in leases:
        drafts = [
            Draft(kind, data, attempt=lease.attempt, token=lease.token)
            for kind, data in (("delta", {"text": "again"}), ("completed", {"result": "again"}))
        ]
        await broker.ack(lease, [Append(lease.message.log, drafts)])


async def check_ends(broker: Broker, clock: ManualClock) -> None:
    """Every call has one effective terminal, and what is visible is its final owner's."""
    for info in await broker.list("call-"):
        state = fold(await broker.read(info.lite_topic), clock.now())
        assert state.terminal
        assert [event for event in state.events if event.type in TERMINAL] == [state.terminal]
        assert {event.attempt for event in state.events if event.type == "delta"} <= {state.attempt}
    assert [(stats.waiting, stats.running) for stats in await broker.stats()] == [(0, 0), (0, 0)]


async def check(folder: Path, facts: list[dict[str, Any]]) -> None:
    clock = ManualClock(time.time_ns() // 1_000_000)
    broker = await open_local(folder, clock)
    await clock.advance(0)
    after = After(broker)
    await after.look()
    for fact in facts:
        assert after.holds(fact), fact
    after.check_no_halves()
    await go_on(after, clock)
    await broker.close()
    broker = await open_local(folder, clock)
    await check_ends(broker, clock)
    await broker.close()


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.promise(3)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_kill_at_any_commit_loses_nothing_and_leaves_no_half(
    child: "subprocess.Popen[str]", tmp_path: Path, when: str
) -> None:
    number, facts = 0, []
    while not facts or facts[-1]["what"] != "finished":
        number += 1
        facts = killed(child, tmp_path / str(number), when, number)
        await check(tmp_path / str(number), facts)
    assert number > 15


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.promise(3)
@pytest.mark.parametrize("start", [1, 2, 3])
async def test_a_kill_amid_any_transaction_loses_nothing_and_leaves_no_half(
    child: "subprocess.Popen[str]", tmp_path: Path, start: int
) -> None:
    number, facts = start, []
    while not facts or facts[-1]["what"] != "finished":
        facts = killed(child, tmp_path / str(number), "amid", number)
        await check(tmp_path / str(number), facts)
        number += 3
    assert number > 100
