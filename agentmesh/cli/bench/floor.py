"""The floor: the same rows as a call, straight through sqlite3, with nothing around them.

Two transactions per call, 200-byte bodies, WAL, `synchronous=NORMAL`, no automatic checkpoint:
(1) insert the LiteTopic, the task and `submitted`;
(2) update the task's attempt and token, insert `accepted` and `completed`, update the LiteTopic, delete the task.

This code is fixed: figures of different days are compared by their ratio to it.
"""

import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SCHEMA = """
create table task (seq integer primary key, topic int, id blob, attempt int, token int, body blob);
create table entry (lt int, off int, id blob, body blob, primary key (lt, off)) without rowid;
create table lt (id integer primary key, name text, touched real, next int);
"""


def run(folder: Path, calls: int) -> float:
    """Calls per second of `calls` calls, one after the other, in a database made in `folder`."""
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    try:
        for pragma in ("journal_mode = wal", "synchronous = normal", "wal_autocheckpoint = 0"):
            db.execute(f"pragma {pragma}")
        db.executescript(SCHEMA)
        began = time.perf_counter()
        for number in range(calls):
            _call(db, number)
        return calls / (time.perf_counter() - began)
    finally:
        db.close()


def run_synced(folder: Path, calls: int, together: int) -> float:
    """As `run`, for `together` calls at a time: each of the two transactions has the rows of all, and is followed by
    fdatasync of the write-ahead log."""
    db = sqlite3.connect(folder / "floor.db", isolation_level=None)
    try:
        for pragma in ("journal_mode = wal", "synchronous = normal", "wal_autocheckpoint = 0"):
            db.execute(f"pragma {pragma}")
        db.executescript(SCHEMA)
        wal = os.open(folder / "floor.db-wal", os.O_RDWR)
        began = time.perf_counter()
        for first in range(0, calls, together):
            for step in (_begin, _end):
                db.execute("begin immediate")
                for number in range(first, first + together):
                    step(db.execute, number)
                db.execute("commit")
                os.fdatasync(wal)
        taken = time.perf_counter() - began
        os.close(wal)
        return calls / taken
    finally:
        db.close()


def _begin(execute: Callable[..., object], number: int) -> None:
    execute("insert into lt values (?, ?, ?, ?)", (number, f"call-{number:032x}", 1.0, 1))
    execute("insert into task values (?, ?, ?, ?, ?, ?)", (number, 1, b"x" * 16, 0, 0, b"y" * 200))
    execute("insert into entry values (?, ?, ?, ?)", (number, 0, b"x" * 16, b"z" * 60))


def _end(execute: Callable[..., object], number: int) -> None:
    execute("update task set attempt = ?, token = ? where seq = ?", (1, 12345678901234567, number))
    execute("insert into entry values (?, ?, ?, ?)", (number, 1, b"a" * 16, b"z" * 40))
    execute("insert into entry values (?, ?, ?, ?)", (number, 2, b"c" * 16, b"y" * 200))
    execute("update lt set touched = ?, next = ? where id = ?", (2.0, 3, number))
    execute("delete from task where seq = ?", (number,))


def _call(db: sqlite3.Connection, number: int) -> None:
    execute = db.execute
    execute("begin immediate")
    execute("insert into lt values (?, ?, ?, ?)", (number, f"call-{number:032x}", 1.0, 1))
    execute("insert into task values (?, ?, ?, ?, ?, ?)", (number, 1, b"x" * 16, 0, 0, b"y" * 200))
    execute("insert into entry values (?, ?, ?, ?)", (number, 0, b"x" * 16, b"z" * 60))
    execute("commit")
    execute("begin immediate")
    execute("update task set attempt = ?, token = ? where seq = ?", (1, 12345678901234567, number))
    execute("insert into entry values (?, ?, ?, ?)", (number, 1, b"a" * 16, b"z" * 40))
    execute("insert into entry values (?, ?, ?, ?)", (number, 2, b"c" * 16, b"y" * 200))
    execute("update lt set touched = ?, next = ? where id = ?", (2.0, 3, number))
    execute("delete from task where seq = ?", (number,))
    execute("commit")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(f"{run(Path(folder), 20_000):.0f} calls/s\n")
