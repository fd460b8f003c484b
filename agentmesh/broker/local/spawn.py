"""Starting the child that hosts a folder."""

import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import agentmesh
from agentmesh.broker.local.folder import Folder

LOG: Final = "host.log"
_PAUSE: Final = 2.0
_LOG_LIMIT: Final = 1_000_000


class Spawner:
    """Starts `agentmesh host` for a folder, not more often than every two seconds, and collects what ended."""

    def __init__(self, folder: Folder, options: Sequence[str]) -> None:
        self._folder = folder
        self._options = options
        self._children: set[int] = set()
        self._started = 0.0

    def start(self) -> str:
        """Start a host in a session of its own, which outlives this process. What to say if it does not come up."""
        self.reap()
        log = self._folder.path / LOG
        if time.monotonic() - self._started > _PAUSE:
            self._started = time.monotonic()
            flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if _size(log) > _LOG_LIMIT else os.O_APPEND)
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, str(log), flags, 0o600),
            ]
            command = [sys.executable, "-P", "-m", "agentmesh", "host", str(self._folder.path), *self._options]
            pid = os.posix_spawn(sys.executable, command, _environment(), file_actions=actions, setsid=True)
            self._children.add(pid)
        return f"its host does not come up. See {log}."

    def reap(self) -> None:
        """Collect the children that have ended."""
        for pid in list(self._children):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._children.discard(pid)


def _environment() -> dict[str, str]:
    """Ours, in which the host finds this very package."""
    root = str(Path(agentmesh.__file__).parent.parent)
    others = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": root + (os.pathsep + others if others else "")}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
