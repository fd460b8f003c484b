"""Health of a store: what a second, reading connection finds, in bounded time, while the host goes on.

It looks at the file alone, so that `agentmesh doctor` can look at one that nobody hosts, or that another process does,
without having it moved. What only the host knows, `of_memory` adds.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from agentmesh.broker.embedded.store import SCHEMA_VERSION, SQL
from agentmesh.broker.process import is_dead, pid_of
from agentmesh.contracts import Health
from agentmesh.errors import MeshError, PayloadCorrupt
from agentmesh.message import decode_message

if TYPE_CHECKING:
    from agentmesh.broker.embedded.state import State

PATIENCE: Final = 1.0
"""Seconds for one look: a reader that takes longer keeps the write-ahead log from beginning anew."""

LATE: Final = 5_000
"""How long (ms) past its end a lease is still to be expected: timers are late on a busy machine."""

OLD: Final = 600_000
"""How long (ms) a task may wait with nobody asking for it before that is a problem."""

_STEPS: Final = 20_000
"""Of SQLite's virtual machine between two looks at the time: about a millisecond."""

_FEW: Final = 5
_OLDEST: Final = "select position, message from task order by position limit 500"
_NEWEST: Final = "select position, message from task order by position desc limit 500"
_MEND: Final = "Stop what uses it, copy the folder, then: sqlite3 {} .recover | sqlite3 recovered.db"

Facts = dict[str, str | int | float]


class Problem(NamedTuple):
    """What is wrong, and what to do about it."""

    text: str
    fix: str


class Survey:
    """What was found so far. `damage` is what cannot be read; `problems` can be dealt with while all goes on."""

    def __init__(self) -> None:
        self.damage: list[Problem] = []
        self.problems: list[Problem] = []
        self.facts: Facts = {}
        self.cut: list[str] = []

    def health(self) -> Health:
        """All of it."""
        if self.cut:
            self.facts["cut short"] = f"{', '.join(self.cut)} (looked at for {PATIENCE:g} s)"
        return Health([" ".join(each) for each in (*self.damage, *self.problems)], self.facts)


def survey(path: Path, now: int, patience: float = PATIENCE) -> Survey:
    """Look at the file at `path`; each look takes at most `patience` seconds. For any thread.

    Raises `sqlite3.Error` if it cannot be read at all, and `ValueError` if a newer version wrote it.
    """
    found = Survey()
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5, isolation_level=None)) as db:
        looks = Looks(db, found, patience)
        _describe(db, path, found)
        _check_pages(looks, path)
        looks.at("tasks", lambda: _tasks(db, now, found))
        looks.at("leases", lambda: _leases(db, found))
        looks.at("dead letters", lambda: _dead(db, found))
        looks.at("logs of tasks", lambda: _logs_of_tasks(db, found))
        looks.at("LiteTopics", lambda: _lite_topics(db, found))
        looks.at("blobs", lambda: _blobs(db, path, found))
    return found


class Looks:
    """Looks at a database, each bounded in time; what it ends early or cannot read it says."""

    def __init__(self, db: sqlite3.Connection, found: Survey, patience: float) -> None:
        self.db = db
        self.found = found
        self._patience = patience

    def at(self, what: str, look: Callable[[], None]) -> bool:
        """Whether the look was seen to its end."""
        try:
            with self._bounded():
                look()
        except sqlite3.OperationalError as error:
            if "interrupted" not in str(error):
                raise
            self.found.cut.append(what)
            return False
        except sqlite3.DatabaseError as error:  # a damaged page; that it is, the check of pages says
            self.found.facts[what] = f"cannot be read ({error})"
            return False
        return True

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        end = time.monotonic() + self._patience
        self.db.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            yield
        finally:
            self.db.set_progress_handler(None, 0)


def _describe(db: sqlite3.Connection, path: Path, found: Survey) -> None:
    version = db.execute("pragma user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise ValueError(f"schema {version} is of a newer agentmesh; this one knows up to {SCHEMA_VERSION}")
    wal = path.with_name(f"{path.name}-wal")
    found.facts |= {
        "schema": version,
        "pages": db.execute("pragma page_count").fetchone()[0],
        "free pages": db.execute("pragma freelist_count").fetchone()[0],
        "file bytes": path.stat().st_size,
        "wal bytes": wal.stat().st_size if wal.exists() else 0,
    }
    if version == SCHEMA_VERSION:
        epoch, process, pid = db.execute(SQL["host"]).fetchone()
        found.facts["epoch"] = epoch
        if process and not is_dead(process):
            found.facts["host"] = f"pid {pid}"


def _check_pages(looks: Looks, path: Path) -> None:
    """SQLite's own check, table by table, so that what is damaged has a name and no look takes long."""
    db, found = looks.db, looks.found
    damaged: dict[str, str] = {}
    checked, cut = 0, len(found.cut)
    tables = [row[0] for row in db.execute("select name from sqlite_master where type = 'table' order by name")]

    def check(table: str) -> None:
        said = [row[0] for row in db.execute(f"pragma quick_check('{table}')")][:_FEW]
        if said != ["ok"]:
            damaged[table] = "; ".join(" ".join(each.split()) for each in said)

    for table in tables:
        checked += looks.at(f"pages of {table}", partial(check, table))
        if table not in damaged and f"pages of {table}" in found.facts:
            damaged[table] = str(found.facts.pop(f"pages of {table}"))
    for table, said in damaged.items():
        text = f"Table {table} is damaged ({said[:300]}). The others can be read."
        found.damage.append(Problem(text, _MEND.format(path)))
    whole = f"{checked} of {len(tables)} tables" if len(found.cut) > cut else "every table"
    found.facts["integrity"] = f"damaged: {', '.join(damaged)}" if damaged else f"{whole} checked"


def _tasks(db: sqlite3.Connection, now: int, found: Survey) -> None:
    waiting = running = 0
    for topic, count, held, first in db.execute(
        "select topic, count(*), sum(token <> ''), min(case when token = '' and not_before <= ? then position end) "
        "from task group by topic order by topic",
        (now,),
    ).fetchall():
        waiting, running = waiting + count - held, running + held
        row = db.execute(SQL["task_message"], (first,)).fetchone() if first is not None else None
        if row:
            found.facts[f"oldest of {topic}"] = _age(row[0], now)
    found.facts |= {"topics": db.execute("select count(*) from topic").fetchone()[0], "waiting": waiting}
    found.facts["running"] = running


def _age(raw: bytes, now: int) -> str:
    try:
        message = decode_message(raw)
    except PayloadCorrupt as error:
        return f"cannot be read ({error})"
    return span(now - max(message.created, message.not_before)) if message.created else "of unknown age"


def span(ms: int) -> str:
    """A time in words: `90 s`, `12 min`, `3 h`, `5 days`."""
    seconds = max(0, ms) / 1000
    for unit, size, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def _leases(db: sqlite3.Connection, found: Survey) -> None:
    if found.facts["schema"] != SCHEMA_VERSION:
        return
    for holder, count in db.execute("select holder, count(*) from task where token <> '' group by holder").fetchall():
        if is_dead(holder):
            text = f"{count} tasks are leased to pid {pid_of(holder)}, which is dead."
            fix = (
                "Whoever hosts hands them out again within seconds; if nobody does, any command on the mesh begins to."
            )
            found.problems.append(Problem(text, fix))


def _dead(db: sqlite3.Connection, found: Survey) -> None:
    dead = db.execute(SQL["count_dead"]).fetchall()
    found.facts["dead letters"] = sum(count for _, count in dead)
    for topic, count in dead:
        found.problems.append(Problem(f"{topic} has {count} dead letters.", f"agentmesh dlq list {topic} tells why."))


def _logs_of_tasks(db: sqlite3.Connection, found: Survey) -> None:
    """The oldest and the newest tasks: can they be read, and is their log there?"""
    lost, unread = [], []
    rows: list[tuple[int, bytes]] = []
    for query in (_OLDEST, _NEWEST):
        rows += db.execute(query).fetchall()
    for position, raw in dict(rows).items():
        try:
            message = decode_message(raw)
        except PayloadCorrupt:
            unread.append(str(position))
            continue
        if not db.execute("select 1 from lite_topic where name = ?", (message.log,)).fetchone():
            lost.append(message.id)
    if unread:
        text = f"{len(unread)} tasks cannot be read and are left out: positions {_some(unread)}."
        found.problems.append(Problem(text, "A newer agentmesh may have written them: upgrade."))
    if lost:
        text = f"{len(lost)} tasks have lost their log: {_some(lost)}."
        found.problems.append(
            Problem(text, "They are worked on, but nobody can wait for them: start those calls again.")
        )


_WITHOUT_BEGINNING: Final = """
    select l.name from lite_topic l
     where not exists (select 1 from entry where lite_topic = l.id and offset = 0) limit 6
"""
_OF_NOBODY: Final = """
    with recursive number(id) as (
        select min(lite_topic) from entry
        union all
        select (select min(lite_topic) from entry where lite_topic > number.id) from number where id is not null
    ),
    known(id) as materialized (select id from lite_topic union all select lite_topic from ended)
    select id from number where id is not null and id not in (select id from known) limit 6
"""


def _lite_topics(db: sqlite3.Connection, found: Survey) -> None:
    found.facts["LiteTopics"] = db.execute("select count(*) from lite_topic").fetchone()[0]
    beheaded = [row[0] for row in db.execute(_WITHOUT_BEGINNING)]
    if beheaded:
        text = f"LiteTopics without their first entry: {_some(beheaded)}."
        found.problems.append(Problem(text, "What they hold cannot be used; they go when their time is over."))
    if found.facts["schema"] == SCHEMA_VERSION and (orphans := [str(row[0]) for row in db.execute(_OF_NOBODY)]):
        text = f"Entries that belong to no LiteTopic: numbers {_some(orphans)}."
        found.problems.append(Problem(text, "They only take room: nothing has to be done."))


_MISSING: Final = "select distinct digest from blob_reference where digest not in (select digest from blob) limit 6"
_UNOWNED: Final = """
    select digest from blob
     where released = 0 and not exists (select 1 from blob_reference where digest = blob.digest) limit 6
"""


def _blobs(db: sqlite3.Connection, path: Path, found: Survey) -> None:
    if found.facts["schema"] != SCHEMA_VERSION:
        return
    count, size = db.execute("select count(*), coalesce(sum(size), 0) from blob").fetchone()
    found.facts |= {"blobs": count, "blob bytes": size}
    if missing := [row[0] for row in db.execute(_MISSING)]:
        text = f"Large bodies that are referred to and not known: {_some(missing)}."
        found.problems.append(Problem(text, "Calls that have them fail with PayloadCorrupt: start those again."))
    if unowned := [row[0] for row in db.execute(_UNOWNED)]:
        text = f"Large bodies that nobody refers to, and that are kept: {_some(unowned)}."
        found.problems.append(Problem(text, "They only take room: nothing has to be done."))
    _blob_files(path.parent, dict(db.execute("select digest, size from blob")), found)


def _blob_files(folder: Path, known: dict[str, int], found: Survey) -> None:
    """What lies in the blob store, beside what the rows know."""
    from agentmesh.broker.blobs.place import LocalBlobs
    from agentmesh.broker.blobs.survey import survey as survey_blobs

    try:
        files = survey_blobs(LocalBlobs(folder), known)
    except MeshError as error:
        found.problems.append(Problem(str(error), "Large bodies cannot be looked at until then."))
        return
    found.facts |= {"blob files": files.count, "blob files without owner": files.strangers}
    for problem in files.problems():
        text, _, fix = problem.partition(". ")
        found.problems.append(Problem(text + ".", fix))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (", …" if len(names) > _FEW else "")


def of_memory(state: "State", now: int) -> list[Problem]:
    """Problems that only the host knows of: leases beyond their end, tasks that nobody asks for."""
    problems = []
    late = [task for task in state.tasks.by_token.values() if task.expires < now - LATE]
    if late:
        calls = _some([task.message.id for task in late])
        text = (
            f"{len(late)} leases are held beyond their end, the first by worker {late[0].worker or 'unknown'}: {calls}."
        )
        problems.append(Problem(text, "End the host: the next one hands them out again."))
    for topic in state.tasks.topics.values():
        since = topic.waiting.oldest()
        if since is not None and now - since > OLD and not topic.requests and not topic.use.running:
            count = topic.use.unfinished
            text = f"{topic.name}: {count} tasks wait, the oldest for {span(now - since)}, and no worker asks for them."
            problems.append(Problem(text, "agentmesh up, in the folder of its agent, serves them."))
    return problems


def examine(path: Path, now: int) -> Survey:
    """As `survey`; that the file cannot be read at all is what is found then."""
    try:
        return survey(path, now)
    except (sqlite3.Error, ValueError) as error:
        found = Survey()
        found.damage.append(Problem(f"{path} cannot be read: {error}.", _MEND.format(path)))
        return found
