"""A file of an older version is brought to this one when it is opened: all that is in it goes on, or it stays as it
was."""

import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agentmesh.broker.embedded.store import SCHEMA_VERSION, Store
from agentmesh.broker.local import open_local
from agentmesh.card import AgentCard, AgentSkill, write_card
from agentmesh.clock import ManualClock
from agentmesh.contracts import Append, Delivery
from agentmesh.errors import BrokerUnavailable
from agentmesh.fold import fold
from agentmesh.message import Draft, Message, encode_content, encode_message
from agentmesh.registry.local import LocalRegistry

TOPIC = "WeatherAgentTask"
NOW = ManualClock().now()
DEADLINE = NOW + 86_400_000
SCHEMA_1 = Path(__file__).with_name("schema_1.sql")
MIGRATION = Path(__file__).parents[2] / "agentmesh/broker/embedded/migrations/2.sql"


def content(kind: str, data: Any, attempt: int = 0, token: str = "") -> bytes:
    return encode_content(Draft(kind, data, "", attempt, token))


def write_version_1(folder: Path) -> None:
    """A mesh as version 1 left it: a task that waits, one that a dead worker held, one that is delayed, a dead letter,
    their logs, a log of somebody's own, a card and its route."""
    card = AgentCard(name="天气", description="Weather", version="1.0.0", skills=(AgentSkill(id="forecast", name="f"),))
    with closing(sqlite3.connect(folder / "mesh.db")) as db:
        db.executescript(SCHEMA_1.read_text())
        db.execute("pragma journal_mode = wal")
        db.execute(f"pragma application_id = {0x414D5348}")
        db.execute("pragma user_version = 1")
        db.execute("insert into topic values (?, ?)", (TOPIC, msgspec.msgpack.encode(Delivery(lease=20))))
        db.execute("insert into card values (?, '1.0.0', 'd', ?, ?)", (TOPIC, write_card(card), NOW))
        db.execute("insert into route values (?, '1.0.0', 100)", (TOPIC,))
        for number, (call, token, not_before) in enumerate(
            [("call-waits", "", 0), ("call-held", "token-1", 0), ("call-later", "", NOW + 60_000)], start=1
        ):
            message = Message(id=call, topic=TOPIC, body='{"city":"杭州"}'.encode(), deadline=DEADLINE, created=NOW)
            row = (number, TOPIC, int(bool(token)), token, 0, 0, not_before, 0, encode_message(message))
            db.execute("insert into task values (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            write_log(db, number, call, token)
        dead = encode_message(Message(id="call-dead", topic=TOPIC, deadline=DEADLINE))
        db.execute("insert into dead values (7, ?, ?, 3, 'poison', ?)", (TOPIC, NOW, dead))
        write_log(db, 4, "call-dead", "")
        db.execute("insert into lite_topic values ('log-mine', 5, '笔记', ?, 0, 999999)", (NOW,))
        for offset in range(3):
            row = (5, offset, NOW, f"id-{offset}", content("data", {"n": offset}))
            db.execute("insert into entry values (?, ?, ?, ?, ?)", row)
        db.commit()


def write_log(db: sqlite3.Connection, number: int, call: str, token: str) -> None:
    db.execute("insert into lite_topic values (?, ?, '', ?, ?, 999999)", (call, number, NOW, DEADLINE))
    submitted = {"topic": TOPIC, "skill": "", "deadline": DEADLINE, "tenant": "default", "digest": "x"}
    entries = [content("submitted", submitted)]
    if token:
        entries.append(content("accepted", {"worker": "w"}, 1, token))
    for offset, each in enumerate(entries):
        db.execute("insert into entry values (?, ?, ?, null, ?)", (number, offset, NOW, each))


def schema_of(path: Path) -> dict[str, Any]:
    """Every table and index: its text, normalised, and what SQLite makes of it."""
    with closing(sqlite3.connect(path)) as db:
        objects = db.execute("select type, name, tbl_name, sql from sqlite_master order by type, name").fetchall()
        found: dict[str, Any] = {f"{kind} {name}": (table, normalised(sql)) for kind, name, table, sql in objects}
        for kind, name, _, _ in objects:
            details = "table_xinfo" if kind == "table" else "index_xinfo"
            found[f"columns of {name}"] = db.execute(f"pragma {details}('{name}')").fetchall()
        for name in ("user_version", "application_id"):
            found[name] = db.execute(f"pragma {name}").fetchone()[0]
        return found


def normalised(sql: str | None) -> str:
    """Without comments, quotes around names, and spaces that say nothing."""
    text = " ".join(re.sub(r"--.*", "", sql or "").replace('"', "").lower().split())
    return re.sub(r" ?([(),]) ?", r"\1", text)


def everything(path: Path) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(path)) as db:
        tables = [row[0] for row in db.execute("select name from sqlite_master where type = 'table' order by name")]
        return {table: db.execute(f"select * from {table} order by 1").fetchall() for table in tables}


async def test_all_that_was_in_a_file_of_version_1_is_there_and_works(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    clock = ManualClock(NOW + 1000)
    broker = await open_local(tmp_path, clock)
    registry = LocalRegistry(broker)
    assert [(each.topic, each.card.name, each.alive) for each in await registry.list(alive=False)] == [
        (TOPIC, "天气", False)
    ]
    assert await registry.route(TOPIC) == {"1.0.0": 100}
    (stats,) = await broker.stats()
    assert (stats.topic, stats.waiting + stats.running, stats.dead) == (TOPIC, 3, 1)
    (dead,) = await broker.browse(TOPIC, dead=True)
    assert (dead.position, dead.message.id, dead.attempt, dead.reason) == (7, "call-dead", 3, "poison")
    (mine,) = await broker.list("log-")
    assert (mine.lite_topic, mine.title, mine.next) == ("log-mine", "笔记", 3)
    assert [entry.data["n"] for entry in await broker.read("log-mine")] == [0, 1, 2]
    assert await broker.append("log-mine", [Draft("data", {"n": 1}, id="id-1"), Draft("data", {"n": 3})]) == 1

    await clock.advance(61)  # the lease of the version before is over, and so is the delay
    leases = await broker.lease([TOPIC], 10, 0, worker="new")
    assert {lease.message.id: lease.attempt for lease in leases} == {"call-waits": 1, "call-held": 2, "call-later": 1}
    for lease in leases:
        assert lease.message.body == '{"city":"杭州"}'.encode()
        end = Draft("completed", {"result": "sunny"}, attempt=lease.attempt, token=lease.token)
        await broker.ack(lease, [Append(lease.message.log, [end])])
        state = fold(await broker.read(lease.message.log), clock.now())
        assert state.terminal is not None
        assert state.terminal.data == {"result": "sunny"}
    assert await broker.publish(Message(id="call-new", topic=TOPIC)) is True
    await broker.close()


async def test_a_migrated_file_has_the_schema_of_a_new_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    write_version_1(tmp_path / "old")
    assert schema_of(tmp_path / "old/mesh.db")["user_version"] == 1
    for name in ("old", "new"):
        await (await open_local(tmp_path / name, ManualClock())).close()
    assert schema_of(tmp_path / "old/mesh.db") == schema_of(tmp_path / "new/mesh.db")
    assert schema_of(tmp_path / "old/mesh.db")["user_version"] == SCHEMA_VERSION


KILLED_AT = """
import os, pathlib, re, signal, sqlite3, sys

def look(statement):
    if " ".join(re.sub("--.*", "", statement).split()).startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

class Watched(sqlite3.Connection):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.set_trace_callback(look)

connect = sqlite3.connect
sqlite3.connect = lambda *arguments, **options: connect(*arguments, factory=Watched, **options)
from agentmesh.broker.embedded.store import Store
Store(pathlib.Path(sys.argv[1]))
"""

STATEMENTS = [" ".join(each.split()) for each in re.sub(r"--.*", "", MIGRATION.read_text()).split(";")]
MOMENTS = [each for each in STATEMENTS if each] + ["pragma application_id", "pragma user_version = 2", "commit"]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda each: each[:40])
def test_a_migration_that_is_killed_halfway_leaves_the_old_version_whole(tmp_path: Path, moment: str) -> None:
    write_version_1(tmp_path)
    database = tmp_path / "mesh.db"
    before = schema_of(database), everything(database)
    killed = subprocess.run([sys.executable, "-c", KILLED_AT, database, moment[:60]], timeout=50, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (schema_of(database), everything(database)) == before
    Store(database).close()
    assert schema_of(database)["user_version"] == SCHEMA_VERSION
    assert len(everything(database)["task"]) == 3


def test_a_file_that_contradicts_its_version_is_refused_and_kept(tmp_path: Path) -> None:
    write_version_1(tmp_path)
    database = tmp_path / "mesh.db"
    with closing(sqlite3.connect(database)) as db:
        db.execute("create table tenant (theirs)")
        db.commit()
    before = schema_of(database), everything(database)
    with pytest.raises(BrokerUnavailable, match="tenant already exists"):
        Store(database)
    assert (schema_of(database), everything(database)) == before
