"""The file of an embedded mesh: SQLite in WAL mode, written by one connection, in one transaction a turn."""

import contextlib
import os
import re
import sqlite3
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from agentmesh.broker.embedded.checkpoints import BOUND, Checkpoints
from agentmesh.errors import BrokerUnavailable

SCHEMA_VERSION: Final = 2
_APPLICATION_ID: Final = 0x414D5348
_CACHE: Final = 32_000
"""Of pages of the file, in KB."""

_WRITES: Final = (
    "delete_entries",
    "delete_ended",
    "insert_ended",
    "delete_lite_topic",
    "insert_lite_topic",
    "insert_task",
    "update_task",
    "cancel_task",
    "insert_entry",
    "update_expires",
    "delete_task",
    "insert_dead",
    "upsert_topic",
    "delete_topic",
    "insert_card",
    "delete_card",
    "delete_route",
    "insert_route",
    "upsert_tenant",
    "delete_dead",
    "upsert_client",
    "delete_client",
    "delete_blob",
    "insert_blob",
    "insert_blob_reference",
    "delete_blob_reference",
    "release_blob",
)


def _load_queries() -> dict[str, str]:
    text = files(__package__).joinpath("queries.sql").read_text()
    return {name: " ".join(sql.split()) for name, sql in re.findall(r"-- name: (\w+)\n(.*?);", text, re.S)}


SQL: Final = _load_queries()

Rows = list[tuple[Any, ...]]


class Deposed(BrokerUnavailable):
    """Another process hosts the store by now."""


class Changes:
    """The rows that one transaction writes: a list for each statement of `_WRITES`, run in that order. `happened` names
    what rows do not tell, for the figures.
    """

    __slots__ = (*_WRITES, "happened", "rows", "size")

    def __init__(self) -> None:
        self.delete_entries: Rows = []
        self.delete_ended: Rows = []
        self.insert_ended: Rows = []
        self.delete_lite_topic: Rows = []
        self.insert_lite_topic: Rows = []
        self.insert_task: Rows = []
        self.update_task: Rows = []
        self.cancel_task: Rows = []
        self.insert_entry: Rows = []
        self.update_expires: Rows = []
        self.delete_task: Rows = []
        self.insert_dead: Rows = []
        self.upsert_topic: Rows = []
        self.delete_topic: Rows = []
        self.insert_card: Rows = []
        self.delete_card: Rows = []
        self.delete_route: Rows = []
        self.insert_route: Rows = []
        self.upsert_tenant: Rows = []
        self.delete_dead: Rows = []
        self.upsert_client: Rows = []
        self.delete_client: Rows = []
        self.delete_blob: Rows = []
        self.insert_blob: Rows = []
        self.insert_blob_reference: Rows = []
        self.delete_blob_reference: Rows = []
        self.release_blob: Rows = []
        self.happened: list[str] = []
        self.rows = 0
        self.size = 0

    def grow(self, rows: int, size: int = 0) -> None:
        """Account for `rows` rows of `size` bytes: what bounds a transaction."""
        self.rows += rows
        self.size += size


class Store:
    """An open file, or one in memory when `path` is None. Every method raises `BrokerUnavailable` on the store's
    errors.

    Opening it begins an epoch: `process` hosts it from now on, and what was opened before can commit no more. `ended`
    is the process that hosted it before, unless it handed over. `full`: what is committed is to be synced as well.
    """

    def __init__(self, path: Path | None, process: str = "", *, full: bool = False) -> None:
        self.path = path
        self.full = full
        self.commits = self.rows = 0
        self.commit_seconds = 0.0
        self._wal = -1
        self._checkpoints = Checkpoints(path) if path else None
        self.threads = ThreadPoolExecutor(1, "agentmesh-sync")
        try:
            self._db = self._open()
            self.ended = str(self._db.execute(SQL["host"]).fetchone()[1])
            self._db.execute(SQL["begin_epoch"], (process, os.getpid()))
            self._epoch = self._db.execute(SQL["epoch"]).fetchone()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def query(self, name: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """All rows of the named query."""
        try:
            return self._db.execute(SQL[name], arguments).fetchall()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def scan(self, name: str, *arguments: Any) -> Generator[tuple[Any, ...], None, None]:
        """The rows of the named query, one by one, up to where the caller stops: within a turn."""
        try:
            cursor = self._db.execute(SQL[name], arguments)
            try:
                yield from cursor
            finally:
                cursor.close()
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def commit(self, changes: Changes) -> None:
        """Write all of it or nothing."""
        db = self._db
        began = perf_counter()
        try:
            db.execute("begin immediate")
            if db.execute(SQL["epoch"]).fetchone() != self._epoch:
                raise Deposed(f"{self.path} has another host by now. This one writes no more.")
            written = 0
            for name in _WRITES:
                rows = getattr(changes, name)
                if rows:
                    db.executemany(SQL[name], rows)
                    written += len(rows)
            db.execute("commit")
        except Exception as error:
            if db.in_transaction:
                db.execute("rollback")
            if isinstance(error, sqlite3.Error):
                raise self._unavailable(error) from error
            raise
        self.commits += 1
        self.rows += written
        self.commit_seconds += perf_counter() - began
        if self._checkpoints:
            self._checkpoints.written(changes.size + 200 * changes.rows)

    @property
    def sync_due(self) -> bool:
        """Whether `sync` is to be called, in a thread and with no commit meanwhile, before anybody is told."""
        return self.full or (self._checkpoints is not None and self._checkpoints.due)

    def sync(self) -> None:
        """If it is to be `full`, wait until the disk has what was committed: fdatasync of the write-ahead log, which
        is also ended if it has become long. For any thread.
        """
        if self._checkpoints and self._checkpoints.due:
            self._checkpoints.finish()
        if self.full:
            self._sync_log()

    def _sync_log(self) -> None:
        try:
            if self._wal < 0:
                self._wal = os.open(f"{self.path}-wal", os.O_RDWR | os.O_CLOEXEC)
            os.fdatasync(self._wal)
        except OSError as error:
            raise BrokerUnavailable(
                f"{self.path}: the disk does not confirm what was written ({error.strerror}). "
                "It may be stored or not; check the disk's health."
            ) from error

    def sizes(self) -> tuple[int, int]:
        """What the file and its write-ahead log take (bytes); 0 in memory."""
        return _size(self.path), _size(self.path and Path(f"{self.path}-wal"))

    def probe(self, now: int) -> None:
        """Raise if nothing can be written."""
        try:
            self._db.execute(SQL["probe"], (now,))
        except sqlite3.Error as error:
            raise self._unavailable(error) from error

    def close(self, *, handing_over: bool = False) -> None:
        """Let go of it. `handing_over`: to another host, where those who hold leases claim them."""
        if handing_over:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute(SQL["end_epoch"], self._epoch)
        self.threads.shutdown()
        if self._checkpoints:
            self._checkpoints.close()
        if self._wal >= 0:
            os.close(self._wal)
        self._db.close()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.path or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Make the tables of a new file; refuse one that is not ours or of a newer version."""
        version = db.execute("pragma user_version").fetchone()[0]
        owner = db.execute("pragma application_id").fetchone()[0]
        used = version or owner or db.execute("select count(*) from sqlite_master").fetchone()[0]
        if used and owner != _APPLICATION_ID:
            raise BrokerUnavailable(f"{self.path} is a database of something else. Choose another folder for the mesh.")
        if version > SCHEMA_VERSION:
            raise BrokerUnavailable(
                f"{self.path} has schema {version}, and this agentmesh knows up to {SCHEMA_VERSION}: "
                "it was written by a newer one. Upgrade, or choose another folder."
            )
        db.execute("pragma journal_mode = wal")
        db.execute("pragma synchronous = normal")
        db.execute("pragma wal_autocheckpoint = 0")
        db.execute(f"pragma journal_size_limit = {BOUND}")
        db.execute(f"pragma cache_size = -{_CACHE}")
        steps = [f"migrations/{number}.sql" for number in range(version + 1, SCHEMA_VERSION + 1)]
        for step in steps if version else ["schema.sql"]:
            script = files(__package__).joinpath(step).read_text()
            reached = Path(step).stem if version else SCHEMA_VERSION
            db.executescript(
                f"begin immediate; {script} pragma application_id = {_APPLICATION_ID}; "
                f"pragma user_version = {reached}; commit;"
            )

    def _unavailable(self, error: sqlite3.Error) -> BrokerUnavailable:
        where = str(self.path or "the mesh in memory")
        text = str(error)
        if "disk is full" in text:
            return BrokerUnavailable(f"{where}: the disk is full. Nothing of this turn was stored; free some room.")
        if "readonly" in text or "unable to open" in text or "permission" in text:
            return BrokerUnavailable(f"{where} cannot be written ({text}). Check that the folder is writable.")
        if "malformed" in text or "not a database" in text:
            return BrokerUnavailable(f"{where} is damaged ({text}). `agentmesh doctor` tells what can be read.")
        if "disk I/O error" in text:
            return BrokerUnavailable(
                f"{where}: the disk reports an error ({text}). Nothing of this turn was stored; "
                "check the disk's health and any limit on the size of files."
            )
        return BrokerUnavailable(f"{where}: {text}. Nothing of this turn was stored.")


def prefix_range(prefix: str) -> tuple[str, str]:
    """The names that begin with `prefix` are those from the first string up to, but without, the second."""
    return prefix, (prefix[:-1] + chr(ord(prefix[-1]) + 1)) if prefix else "\x7f"


def _size(path: Path | None) -> int:
    try:
        return path.stat().st_size if path else 0
    except OSError:
        return 0


def first(rows: Iterable[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """The first row, if any."""
    return next(iter(rows), None)
