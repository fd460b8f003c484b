"""What the processes of a drill have in common: their arguments, their signals, and how one loses its connections."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from agentmesh.cli.chaos.effects import Effects
from agentmesh.cli.chaos.plan import LEASE
from agentmesh.errors import BrokerUnavailable
from agentmesh.mesh import Mesh

CUT = signal.SIGUSR1
"""To a process: shut down your connections to the host."""

DRAIN = signal.SIGTERM
"""To a caller: begin nothing new, and end when all that was begun has ended."""

_AGAIN: Final = 0.2

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

    @asynccontextmanager
    async def open(self, effects: Effects) -> AsyncIterator[Mesh]:
        """The mesh, as soon as its servers are there."""
        cache = self.effects / f"cache-{self.name}"
        async with AsyncExitStack() as stack:
            while True:
                mesh = Mesh(self.mesh, [*self.registries] or None, alone=False, drain=0, cache=cache)
                try:
                    await stack.enter_async_context(mesh)
                    break
                except BrokerUnavailable as error:
                    effects.write("trouble", "opening", type(error).__name__)
                await asyncio.sleep(_AGAIN)
            yield mesh


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
