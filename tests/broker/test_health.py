"""Health: what is wrong with a store is found, named, and told with what to do; the host goes on meanwhile."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agentmesh.broker.embedded import health as module
from agentmesh.broker.embedded.health import examine, survey
from agentmesh.broker.local import open_local
from agentmesh.broker.memory import open_memory
from agentmesh.clock import ManualClock
from agentmesh.contracts import Broker, Delivery
from agentmesh.message import Draft, Message

TOPIC = "WorkTask"
DEAD_PROCESS = "99999999-1-nobody"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def filled(folder: Path, clock: ManualClock, *, logs: int = 1) -> Broker:
    broker = await open_local(folder, clock)
    await broker.declare(TOPIC, Delivery())
    await broker.publish(Message(id="call-1", topic=TOPIC, created=clock.now()))
    for number in range(logs):
        await broker.append(f"log-{number:03}", [Draft("data", f"mark-{number:03}" * 60) for _ in range(20)])
    return broker


def change(folder: Path, *statements: str) -> None:
    """Write past the host."""
    with closing(sqlite3.connect(folder / "mesh.db")) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


async def test_a_sound_store_has_no_problems_and_its_facts(tmp_path: Path, clock: ManualClock) -> None:
    broker = await filled(tmp_path, clock)
    await clock.advance(300)
    health = await broker.health()
    assert health.problems == []
    facts = health.facts
    assert (facts["schema"], facts["integrity"], facts["durability"]) == (2, "every table checked", "normal")
    assert (facts["topics"], facts["waiting"], facts["running"], facts["dead letters"]) == (1, 1, 0, 0)
    assert facts[f"oldest of {TOPIC}"] == "5 min"
    assert facts["LiteTopics"] == 2
    assert str(facts["host"]).startswith("pid ")
    assert min(facts[name] for name in ("pages", "wal bytes", "epoch")) > 0  # type: ignore[type-var]
    assert "cut short" not in facts
    await broker.close()


async def test_a_mesh_in_memory_is_asked_too(clock: ManualClock) -> None:
    broker = await open_memory("", clock)
    await broker.declare(TOPIC, Delivery())
    assert (await broker.health()).problems == []
    await broker.publish(Message(id="call-1", topic=TOPIC))
    await clock.advance(1200)
    (problem,) = (await broker.health()).problems
    assert problem.startswith(f"{TOPIC}: 1 tasks wait, the oldest for 20 min, and no worker asks for them.")
    assert "agentmesh up" in problem
    waiting = asyncio.create_task(broker.lease(["WorkTask"], 1, 5, worker="w"))
    await clock.advance(0)
    assert (await broker.health()).problems == []  # it runs
    assert len(await waiting) == 1
    await broker.close()


async def test_a_damaged_page_is_told_by_its_table_and_the_rest_stays_readable(
    tmp_path: Path, clock: ManualClock
) -> None:
    await (await filled(tmp_path, clock, logs=60)).close()
    database = tmp_path / "mesh.db"
    raw = bytearray(database.read_bytes())
    page = raw.rindex(b"mark-037" * 9) // 4096
    raw[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    database.write_bytes(raw)
    broker = await open_local(tmp_path, clock)
    health = await broker.health()
    (problem,) = (each for each in health.problems if "damaged" in each)
    assert problem.startswith("Table entry is damaged (")
    assert f"sqlite3 {database} .recover" in problem
    assert health.facts["integrity"] == "damaged: entry"
    assert health.facts["waiting"] == 1
    assert len(await broker.read("log-000")) == 20
    (stored,) = await broker.browse(TOPIC)
    assert stored.message.id == "call-1"
    await broker.append("log-new", [Draft("data", 1)])
    await broker.close()


async def test_a_file_that_cannot_be_read_at_all_is_a_finding_too(tmp_path: Path, clock: ManualClock) -> None:
    await (await filled(tmp_path, clock)).close()
    database = tmp_path / "mesh.db"
    database.write_bytes(b"garbage" * 1000)
    (problem,) = examine(database, clock.now()).health().problems
    assert "cannot be read: file is not a database" in problem
    (problem,) = examine(tmp_path / "nowhere.db", clock.now()).health().problems
    assert "cannot be read: unable to open" in problem


async def test_what_contradicts_itself_is_told(tmp_path: Path, clock: ManualClock) -> None:
    broker = await filled(tmp_path, clock)
    for number in (2, 3):
        await broker.publish(Message(id=f"call-{number}", topic=TOPIC))
    await broker.lease([TOPIC], 1, 0, worker="w")
    (lease,) = await broker.lease([TOPIC], 1, 0, worker="w")
    await broker.nack(lease, dead="poison")
    await broker.close()
    change(
        tmp_path,
        "delete from lite_topic where name = 'call-1'",
        "delete from entry where offset = 0 and lite_topic = (select id from lite_topic where name = 'log-000')",
        "insert into entry values (4711, 0, 0, null, x'01')",
        "insert into task select 77, name, 0, '', '', 0, 0, 0, 0, x'02' from topic",
        f"update task set token = 'held', holder = '{DEAD_PROCESS}' where position = 3",
    )
    problems = survey(tmp_path / "mesh.db", clock.now()).health().problems
    said = "\n".join(problems)
    assert "1 tasks have lost their log: call-1." in said
    assert "LiteTopics without their first entry: log-000." in said
    assert "Entries that belong to no LiteTopic: numbers 1, 4711." in said
    assert "1 tasks cannot be read and are left out: positions 77." in said
    assert f"1 tasks are leased to pid {DEAD_PROCESS.partition('-')[0]}, which is dead." in said
    assert f"{TOPIC} has 1 dead letters. agentmesh dlq list {TOPIC}" in said
    assert len(problems) == 6


async def test_large_bodies_without_owner_and_owners_without_body_are_told(tmp_path: Path, clock: ManualClock) -> None:
    await (await filled(tmp_path, clock)).close()
    change(
        tmp_path,
        "insert into blob values ('mine', 100, 0), ('nobodys', 50, 0), ('going', 7, 4711)",
        "insert into blob_reference values (1, 'mine'), (2, 'mine'), (2, 'lost')",
    )
    health = survey(tmp_path / "mesh.db", clock.now()).health()
    assert (health.facts["blobs"], health.facts["blob bytes"]) == (3, 157)
    missing, unowned, gone = health.problems
    assert gone.startswith("3 large bodies are missing: going, mine, nobodys.")
    assert (health.facts["blob files"], health.facts["blob files without owner"]) == (0, 0)
    assert missing.startswith("Large bodies that are referred to and not known: lost.")
    assert unowned.startswith("Large bodies that nobody refers to, and that are kept: nobodys.")


async def test_entries_that_are_being_removed_belong_to_somebody(tmp_path: Path, clock: ManualClock) -> None:
    await (await filled(tmp_path, clock)).close()
    change(
        tmp_path,
        "insert into ended select id from lite_topic where name = 'log-000'",
        "delete from lite_topic where name = 'log-000'",
    )
    assert survey(tmp_path / "mesh.db", clock.now()).health().problems == []


async def test_a_lease_beyond_its_end_is_told(tmp_path: Path, clock: ManualClock) -> None:
    broker = await open_memory("", clock)
    await broker.declare(TOPIC, Delivery(lease=30))
    await broker.publish(Message(id="call-1", topic=TOPIC))
    await broker.lease([TOPIC], 1, 0, worker="w-1")
    clock._now += 40_000  # and its timer has not come
    (problem,) = (await broker.health()).problems
    assert problem.startswith("1 leases are held beyond their end, the first by worker w-1: call-1.")
    await broker.close()


async def test_a_look_that_takes_too_long_is_cut_short_and_that_is_said(tmp_path: Path, clock: ManualClock) -> None:
    broker = await filled(tmp_path, clock, logs=1500)
    found = survey(tmp_path / "mesh.db", clock.now(), patience=-1)
    assert "pages of entry" in found.cut
    facts = found.health().facts
    assert "pages of entry" in str(facts["cut short"])
    assert "tables checked" in str(facts["integrity"])
    assert found.damage == []
    await broker.close()


async def test_the_host_goes_on_while_it_is_looked_at(tmp_path: Path, clock: ManualClock) -> None:
    broker = await filled(tmp_path, clock, logs=1000)
    looking = asyncio.create_task(broker.health())
    number = 0
    while not looking.done():
        await broker.append("log-busy", [Draft("data", number)])
        number += 1
    assert (await looking).problems == []
    assert number > 5  # it was written to meanwhile: a look in the loop would let in one at most
    await broker.close()


async def test_an_old_file_is_looked_at_before_anybody_brings_it_up_to_date(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mesh.db")) as db:
        db.executescript(Path(__file__).with_name("schema_1.sql").read_text())
        db.execute("pragma user_version = 1")
        db.execute("pragma journal_mode = wal")
    health = survey(tmp_path / "mesh.db", 0).health()
    assert health.problems == []
    assert health.facts["schema"] == 1
    with closing(sqlite3.connect(tmp_path / "mesh.db")) as db:
        db.execute("pragma user_version = 99")
    (problem,) = examine(tmp_path / "mesh.db", 0).health().problems
    assert "schema 99 is of a newer agentmesh" in problem
    assert module.SCHEMA_VERSION == 2
