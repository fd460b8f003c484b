"""Checkpoints: what the write-ahead log holds is moved into the file, so that it does not grow without bound.

A thread moves it while the writer goes on (`wal_checkpoint(passive)`). SQLite begins the log anew only when a writer
finds all of it moved (sqlite.org/wal.html, 3.2), which under unbroken load is never. So once the log is long, and the
thread has moved all but what was just written, the writer pauses for the rest.
"""

import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Final

STEP: Final = 16_000_000
"""How much is written (bytes, about) between two checkpoints."""

BOUND: Final = 64_000_000
"""How long the log may grow before the writer pauses. It exceeds this by what is written meanwhile."""

_FRAME: Final = 4096 + 24
_COMMIT: Final = 5 * _FRAME
"""What a commit writes however small it is: a page of each table and index that it touches."""

_FEW: Final = 1_000_000
_TRIES: Final = 5


class Checkpoints:
    """The checkpoints of the file at `path`. `due`: the writer is to pause and let a thread call `finish`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = 0
        self._thread: threading.Thread | None = None
        self.due = False

    def written(self, size: int) -> None:
        """So many bytes were committed."""
        self._written += size + _COMMIT
        if self._written > STEP and not self.due and (self._thread is None or not self._thread.is_alive()):
            self._written = 0
            self._thread = threading.Thread(target=self._run, name="agentmesh-checkpoint", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """While nobody writes: move all there is, so that the next commit begins the log anew."""
        with contextlib.suppress(sqlite3.Error), self._connection() as db:
            _move(db)
        self.due = False

    def close(self) -> None:
        """Wait for the thread."""
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        try:
            with self._connection() as db:
                length, left = _move(db)
                for _ in range(_TRIES):
                    if length < BOUND or left < _FEW:
                        break
                    length, left = _move(db)
                self.due = length >= BOUND
        except sqlite3.Error:
            self._written = STEP  # the next commit asks again; a full disk is reported by commits

    def _connection(self) -> contextlib.closing[sqlite3.Connection]:
        return contextlib.closing(sqlite3.connect(self._path, isolation_level=None))


def _move(db: sqlite3.Connection) -> tuple[int, int]:
    """How long the log is, and how much of it is still to be moved (bytes)."""
    _, frames, moved = db.execute("pragma wal_checkpoint(passive)").fetchone()
    return frames * _FRAME, (frames - moved) * _FRAME
