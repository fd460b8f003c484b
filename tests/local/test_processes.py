"""Programs die, freeze and come back: what they held goes to others, once and in time."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from local.kit import TOPIC, Programs, joined, until

from agentmesh.errors import LeaseLost


def rows(folder: Path, query: str) -> list[object]:
    with closing(sqlite3.connect(folder / "mesh.db")) as db:
        return [row[0] for row in db.execute(query)]


@pytest.mark.promise(1)
async def test_the_leases_of_a_program_that_died_hosting_go_to_the_next_at_once(programs: Programs) -> None:
    first = await programs.start()
    await first.do("declare", TOPIC)
    await first.do("publish", TOPIC, "call-1")
    assert await first.do("lease", TOPIC) == [["call-1", 1]]
    first.kill()
    second = await programs.start()
    assert await second.do("lease", TOPIC, seconds=3) == [["call-1", 2]]


@pytest.mark.promise(1)
async def test_the_tasks_of_a_killed_worker_go_to_others_at_once(programs: Programs, folder: Path) -> None:
    worker, other = await programs.start(alone=False), await programs.start()
    await worker.do("declare", TOPIC)
    await worker.do("register", TOPIC)
    await worker.do("publish", TOPIC, "call-1")
    assert await worker.do("lease", TOPIC) == [["call-1", 1]]
    assert await other.do("alive") == [TOPIC]
    leasing = other.ask("lease", TOPIC)
    worker.kill()
    assert await asyncio.wait_for(leasing, 3) == [["call-1", 2]]
    assert await other.do("alive") == []
    await until(lambda: len(rows(folder, "select name from client")) == 1)  # what was kept for it is gone too


async def test_leases_that_died_with_worker_and_host_are_handed_out_at_the_next_start(
    programs: Programs, folder: Path
) -> None:
    worker, other = await programs.start(alone=False), await programs.start()
    await other.do("declare", TOPIC)
    await other.do("publish", TOPIC, "call-1")
    assert await worker.do("lease", TOPIC) == [["call-1", 1]]
    await programs.killed_host()
    worker.kill()
    assert await other.do("lease", TOPIC, seconds=5) == [["call-1", 2]]
    await until(lambda: len(rows(folder, "select name from client")) == 1)


@pytest.mark.promise(3)
async def test_a_worker_that_was_frozen_beyond_its_lease_has_lost_it(programs: Programs) -> None:
    frozen, other = await programs.start(alone=False), await programs.start()
    await frozen.do("declare", TOPIC, lease=1)
    await frozen.do("publish", TOPIC, "call-1")
    assert await frozen.do("lease", TOPIC) == [["call-1", 1]]
    frozen.stop()
    assert await other.do("lease", TOPIC) == [["call-1", 2]]
    await other.do("ack", "call-1", effects="log-effects")
    frozen.go_on()
    with pytest.raises(LeaseLost):
        await frozen.do("ack", "call-1", effects="log-effects")
    assert await frozen.do("extend", "call-1") == {"call-1": "lost"}
    assert await other.do("read", "log-effects") == ["call-1"]


@pytest.mark.slow
async def test_what_was_leased_by_nobody_who_claims_it_is_handed_out_after_ten_seconds(programs: Programs) -> None:
    """A worker that is frozen while the host is replaced."""
    frozen, other = await programs.start(alone=False), await programs.start()
    await frozen.do("declare", TOPIC, lease=300)
    await frozen.do("publish", TOPIC, "call-1")
    assert await frozen.do("lease", TOPIC) == [["call-1", 1]]
    frozen.stop()
    await programs.killed_host()
    assert await other.do("lease", TOPIC, wait=7) == []
    assert await other.do("lease", TOPIC, wait=10) == [["call-1", 2]]
    frozen.go_on()
    with pytest.raises(LeaseLost):
        await frozen.do("ack", "call-1")


async def test_whoever_says_goodbye_leaves_nothing_behind(programs: Programs, folder: Path) -> None:
    worker, other = await programs.start(alone=False), await programs.start()
    await worker.do("declare", TOPIC)
    await worker.do("register", TOPIC)
    await worker.do("publish", TOPIC, "call-1")
    assert await worker.do("lease", TOPIC) == [["call-1", 1]]
    await worker.do("close")
    assert await other.do("lease", TOPIC, seconds=3) == [["call-1", 2]]
    assert await other.do("alive") == []
    assert len(rows(folder, "select name from client")) == 1


async def test_what_was_asked_before_a_goodbye_is_done(programs: Programs, folder: Path) -> None:
    async with joined(folder, alone=False) as broker:
        await broker.append("log-a", [])
        from agentmesh.message import Draft

        asked = [asyncio.create_task(broker.append("log-a", [Draft("data", number)])) for number in range(50)]
        await asyncio.sleep(0)
        await broker.close()
        assert await asyncio.gather(*asked) == list(range(50))
    program = await programs.start()
    assert await program.do("read", "log-a") == list(range(50))
