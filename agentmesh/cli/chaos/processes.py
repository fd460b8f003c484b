"""What the processes of a drill have in common: their arguments, their signals, and how one loses its connections."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agentmesh.cli.chaos.plan import LEASE
from agentmesh.mesh import Mesh

CUT = signal.SIGUSR1
"""To a process: shut down your connections to the host."""

DRAIN = signal.SIGTERM
"""To a caller: begin nothing new, and end when all that was begun has ended."""

MARK = "CHAOS_DRILL"
"""The variable by which the processes of a drill know each other, hosts too."""


class Orders(NamedTuple):
    """What a process is to be."""

    role: str
    name: str
    number: int
    mesh: str
    folder: str
    others: list[str]
    drain: bool = False
    registries: Sequence[str] = ()
    lease: float = LEASE

    @property
    def effects(self) -> Path:
        """Where it writes."""
        return Path(self.folder)

    def open(self) -> Mesh:
        """The mesh, not open yet."""
        cache = self.effects / f"cache-{self.name}"
        return Mesh(self.mesh, [*self.registries] or None, alone=False, drain=0, cache=cache)


def obey_cuts() -> None:
    """Let the signal `CUT` shut down what this process has to the host: the kernel tells both sides."""
    signal.signal(CUT, lambda *_: cut_connections())


def cut_connections() -> None:
    """Shut down every Unix socket that leads to a host."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError), _unix_socket(int(name)) as connection:
            if str(connection.getpeername()).endswith("/socket"):
                connection.shutdown(socket.SHUT_RDWR)


def _unix_socket(descriptor: int) -> socket.socket:
    """The socket behind a descriptor. Raises `OSError` if there is none."""
    if not os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:"):
        raise OSError("not a socket")
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def on_drain(loop: Any, callback: Callable[[], None]) -> None:
    """Let the signal `DRAIN` call back in the loop."""
    loop.add_signal_handler(DRAIN, callback)
