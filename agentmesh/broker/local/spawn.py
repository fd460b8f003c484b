"""Starting the child that hosts a folder."""

import contextlib
import fcntl
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from agentmesh.broker.local.folder import Folder

LOG: Final = "host.log"
LOG_LIMIT: Final = 1_000_000
"""How long host.log may become (bytes) before it begins anew."""

_PAUSE: Final = 1.0
_HANGS: Final = 2.0
_TAIL: Final = 4096


class Spawner:
    """Starts `agentmesh host` for a folder, and collects it when it ends.

    Of many processes that miss a host one starts it: host.log is locked for as long as the child lives that writes to
    it. `failures` counts how often in a row it did not come up.
    """

    def __init__(self, folder: Folder, options: Sequence[str]) -> None:
        self.failures = 0
        self._folder = folder
        self._options = options
        self._again = 0.0
        self._waits_since = 0.0

    def start(self) -> str:
        """Start a host in a session of its own, which outlives this process. What to say if it does not come up."""
        log = self._folder.path / LOG
        if time.monotonic() >= self._again:
            try:
                self._start(log)
            except OSError as error:
                self._fail()
                return f"its host cannot be started: {error.strerror} ({sys.executable})."
        said = _last_line(log) if self.failures else ""
        return f"its host does not come up{': ' if said else '.'}{said} See {log}."

    def reached(self) -> None:
        """A host is there."""
        self.failures = 0
        self._again = self._waits_since = 0.0

    def _start(self, log: Path) -> None:
        with _opened(log) as descriptor:
            if not self._may_write(descriptor):
                return
            shorten(descriptor)
            self._again = time.monotonic() + _PAUSE
            self._waits_since = 0.0
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_DUP2, descriptor, 2),
            ]
            command = [sys.executable, "-P", "-m", "agentmesh", "host", str(self._folder.path), *self._options]
            pid = os.posix_spawn(sys.executable, command, environment(), file_actions=actions, setsid=True)
        threading.Thread(target=self._collect, args=(pid,), name="agentmesh-host", daemon=True).start()

    def _may_write(self, descriptor: int) -> bool:
        """Whether nobody else has started a host that still lives; one that does not come up is not waited for."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._waits_since = self._waits_since or time.monotonic()
            return time.monotonic() - self._waits_since > _HANGS
        return True

    def _collect(self, pid: int) -> None:
        """In a thread of its own, so that no zombie stays."""
        status = 0
        with contextlib.suppress(ChildProcessError):  # somebody else of this process collected it
            _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            self._fail()
        elif os.WIFSIGNALED(status):
            self._again = 0.0

    def _fail(self) -> None:
        self.failures += 1
        self._again = time.monotonic() + _PAUSE


def environment() -> dict[str, str]:
    """Ours, in which the host finds this very package."""
    root = str(Path(__file__).parents[3])
    others = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + others if others else "")}


def shorten(log: int) -> None:
    """Begin the log anew if it is long. It is the file of this descriptor, open for appending."""
    with contextlib.suppress(OSError):
        if os.fstat(log).st_size > LOG_LIMIT:
            os.ftruncate(log, 0)


@contextlib.contextmanager
def _opened(log: Path) -> Iterator[int]:
    descriptor = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip() if lines else ""
