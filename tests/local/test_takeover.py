"""The host dies or freezes: somebody starts the next one, and everything goes on where it was."""

import asyncio
import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from local.kit import TOPIC, Program, Programs, joined, until

from agentmesh.broker.local import LocalBroker
from agentmesh.broker.local.folder import Folder
from agentmesh.message import Draft


@pytest.mark.promise(1)
@pytest.mark.promise(3)
async def test_kills_of_the_host_under_traffic_lose_nothing_and_double_nothing(programs: Programs) -> None:
    callers = [await programs.start(alone=False) for _ in range(2)]
    workers = [await programs.start(alone=False) for _ in range(2)]
    await callers[0].do("declare", TOPIC, lost=20)
    for worker in workers:
        await worker.do("begin", "work", TOPIC, "log-effects")
    calls = [[f"call-{number}-{each}" for each in range(400)] for number in range(2)]
    publishing = [asyncio.create_task(_publish(caller, mine)) for caller, mine in zip(callers, calls, strict=True)]
    for _ in range(3):
        await asyncio.sleep(0.25)  # some traffic in between
        pid = await programs.killed_host()
        await until(partial(_is_replaced, programs, pid))
    told = [each for done in await asyncio.gather(*publishing) for each in done]
    assert told == [True] * 800
    async with joined(programs.folder) as broker:
        await until(lambda: _count(broker, "log-effects", 800))
        effects = [entry.data for entry in await broker.read("log-effects", limit=5000)]
        assert sorted(effects) == sorted(call for mine in calls for call in mine)
        assert [(stats.waiting, stats.running, stats.dead) for stats in await broker.stats()] == [(0, 0, 0)]
        for call in effects[::50]:
            entries = await broker.read(call)
            assert [entry.offset for entry in entries] == list(range(len(entries)))
            assert [entry.type for entry in entries].count("completed") == 1


def _is_replaced(programs: Programs, pid: int) -> bool:
    holder = Folder(programs.folder).holder()  # read once: the next one may just be writing its name
    return holder is not None and holder.kind == "child" and holder.pid != pid


async def _publish(caller: Program, calls: list[str]) -> list[bool]:
    told = []
    for at in range(0, len(calls), 10):
        told += await caller.do("publish", TOPIC, *calls[at : at + 10])
    return told


async def _count(broker: LocalBroker, name: str, count: int) -> bool:
    return len(await broker.read(name, limit=5000)) >= count


async def test_a_killed_host_is_replaced_within_two_seconds(programs: Programs) -> None:
    program = await programs.start(alone=False)
    await program.do("append", "log-a", 0)
    for number in (1, 2):
        await programs.killed_host()
        began = time.monotonic()
        assert await program.do("append", "log-a", number) == number
        assert time.monotonic() - began < 2


async def test_many_that_miss_the_host_start_one(programs: Programs) -> None:
    """Each process that is started costs the others the time that the host needs."""
    many = [await programs.start(alone=False) for _ in range(8)]
    await many[0].do("append", "log-a", 0)
    await programs.killed_host()
    offsets = await asyncio.gather(*(each.do("append", "log-a", 1) for each in many))
    assert sorted(offsets) == list(range(1, 9))
    assert (programs.folder / "host.log").read_text() == ""


@pytest.mark.slow
async def test_a_frozen_host_is_killed_after_five_seconds_and_replaced(programs: Programs) -> None:
    """By whoever notices first, a newcomer among them; the others do not kill the next."""
    one, two = await programs.start(alone=False), await programs.start()
    await one.do("append", "log-a", 0)
    frozen = programs.host()
    os.kill(frozen, signal.SIGSTOP)
    began = time.monotonic()
    asked = [each.ask("append", "log-a", 1) for each in (one, two)]
    newcomer = asyncio.create_task(programs.start())
    await asyncio.sleep(3)
    assert programs.host() == frozen
    assert sorted(await asyncio.gather(*asked)) == [1, 2]
    assert 4 < time.monotonic() - began < 9
    after = programs.host()
    assert after != frozen
    await asyncio.gather(*(each.do("append", "log-a", 2) for each in (one, two, await newcomer)))
    assert programs.host() == after


@pytest.mark.slow
async def test_a_loop_that_stands_still_for_six_seconds_kills_no_healthy_host(programs: Programs) -> None:
    program = await programs.start(alone=False)
    await program.do("append", "log-a", 0)
    host = programs.host()
    await program.do("block", 6)
    assert await program.do("append", "log-a", 1) == 1
    await asyncio.sleep(1)
    assert programs.host() == host


async def test_what_waits_goes_on_waiting_at_the_next_host(programs: Programs, folder: Path) -> None:
    waiting, other = await programs.start(alone=False), await programs.start()
    await waiting.do("declare", TOPIC)
    await waiting.do("subscribe", "log-a")
    leasing, polling = waiting.ask("lease", TOPIC), waiting.ask("poll")
    await other.do("append", "log-b", 0)
    await programs.killed_host()
    await other.do("publish", TOPIC, "call-1")
    await other.do("append", "log-a", "news")
    assert await leasing == [["call-1", 1]]
    assert await polling == [["log-a", ["news"]]]
    extending = waiting.ask("extend", "call-1", wait=20)
    await other.do("append", "log-b", 1)
    await programs.killed_host()
    async with joined(folder) as broker:
        await broker.append("call-1", [Draft("cancelled", {"by": "me"}, id="cancelled")])
        assert await extending == {"call-1": "cancelled"}
    await waiting.do("ack", "call-1")


async def test_leases_are_claimed_at_the_next_host_by_who_holds_them(programs: Programs) -> None:
    worker, other = await programs.start(alone=False), await programs.start()
    await worker.do("declare", TOPIC)
    await worker.do("publish", TOPIC, "call-1", "call-2")
    assert await worker.do("lease", TOPIC) == [["call-1", 1]]
    assert await other.do("lease", TOPIC) == [["call-2", 1]]
    await programs.killed_host()
    assert await worker.do("lease", TOPIC, wait=0) == []
    assert await worker.do("extend", "call-1") == {}
    await worker.do("ack", "call-1")
    await other.do("ack", "call-2")
    assert await worker.do("read", "call-1", wait_for=3) == [
        *(await worker.do("read", "call-1"))[:2],
        {"result": "fine"},
    ]
