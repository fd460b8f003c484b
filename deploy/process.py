"""A server as a process of its own: it outlives whoever starts it, and is found again by its pid file."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

_TICK: Final = 0.03
_GONE: Final = 10.0


class ServerError(Exception):
    """A server could not be had, started or stopped; the message says why and what to do."""


class Process:
    """The process that `file` names, if it is one whose command holds `words`."""

    def __init__(self, file: Path, *words: str) -> None:
        self._file = file
        self._words = [each.encode() for each in words]
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str]) -> None:
        """Start it in the folder of its file, and write what it prints to `log`."""
        with log.open("wb") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                cwd=self._file.parent,
            )
        self._file.write_text(str(self._child.pid))

    def pid(self) -> int | None:
        """Of the process, if it runs."""
        if self._child:  # of which a thread may still end when it looks like a zombie
            if self._child.poll() is None:
                return self._child.pid
            self._child = None
        try:
            pid = int(self._file.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, ValueError, IndexError):
            return None
        is_ours = not command or all(word in command for word in self._words)  # empty: it begins, or ends
        return pid if is_ours and state != "Z" else None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        pid = self.pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """SIGKILL; returns once it is gone, and its ports are free."""
        self.signal(signal.SIGKILL)
        until(lambda: self.pid() is None, _GONE)

    def stop(self) -> None:
        """Ask it to end; what has not ended after ten seconds is killed."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if not until(lambda: self.pid() is None, _GONE):
            self.kill()
        self._file.unlink(missing_ok=True)


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def check_free(port: int, whose: str) -> None:
    """Raises `ServerError` if the port stays taken for seconds."""
    if not until(lambda: is_free(port), 5):
        raise ServerError(f"Port {port}, which {whose} needs, is taken. Who has it: ss -ltnp 'sport = :{port}'")


def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait for it; whether it came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(_TICK)
    return holds()
