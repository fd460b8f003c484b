"""What is done to the processes of a drill, and to the servers of its mesh: a `Faults` for each kind of mesh."""

import asyncio
import contextlib
import os
import resource
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from agentmesh.cli.chaos.plan import Pace
from agentmesh.cli.chaos.processes import MARK
from agentmesh.errors import ConfigError

_LOCK: Final = "lock"
_SOCKET: Final = "socket"
_LOG: Final = "host.log"
_STEP: Final = 0.05
_SECOND_HOST: Final = 10.0
_UNLIMITED: Final = resource.RLIM_INFINITY


class Process:
    """A process that is not a child of ours, by its pid and a descriptor that no other process will ever have."""

    def __init__(self, pid: int) -> None:
        """Raises `ProcessLookupError` if there is none."""
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def send(self, number: int) -> None:
        """Signal it, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def is_alive(self) -> bool:
        return not select.select([self._descriptor], [], [], 0)[0]

    async def wait(self, seconds: float) -> bool:
        """Whether it ends within this time."""
        for _ in range(round(seconds / _STEP)):
            if not self.is_alive():
                return True
            await asyncio.sleep(_STEP)
        return not self.is_alive()

    def close(self) -> None:
        os.close(self._descriptor)


class Faults(Protocol):
    """What can be done to the servers of a kind of mesh. Each tells whether it could be done.

    `servers` are the names of those that can be hurt; `modules` are what the processes import, which takes a while.
    `sweep` removes what the drill left in it.
    """

    pace: Pace
    servers: Sequence[str]
    modules: Sequence[str]

    async def kill(self, server: str) -> bool:
        """Kill it −9."""
        ...

    async def restart(self, server: str) -> None:
        """Let it come back after a kill, if it does not by itself."""
        ...

    async def stop(self, server: str, seconds: float) -> bool:
        """Stop it, and continue it after a while."""
        ...

    async def quota(self, seconds: float) -> bool:
        """Let the host write no more for a while."""
        ...

    async def split(self, seconds: float, stay: Sequence[Process], cut: Callable[[], None]) -> bool:
        """Stop the host until there is a second one, then let both go on. The clients that `stay` sleep meanwhile and
        wake up connected to the old one; `cut` parts the others from it."""
        ...

    async def mend(self) -> None:
        """Undo whatever is still in the way."""
        ...

    async def sweep(self) -> None:
        """Remove what the drill left."""
        ...


def faults_of(url: str, servers: Path | None = None) -> Faults:
    """What can be done to the mesh of that URL, and to the servers that a file tells of. Raises `ConfigError`."""
    scheme, separator, rest = url.partition("://")
    if scheme == "rocketmq":
        from agentmesh.cli.chaos.cluster import ClusterFaults

        return ClusterFaults(url, servers)
    if servers:
        raise ConfigError(f"{url!r} has no servers but the host that its processes start by themselves.")
    if scheme != "local" or not separator or not rest:
        raise ConfigError(
            f"{url!r}: a drill needs a mesh that several processes share: local://DIR or rocketmq://HOST:PORT."
        )
    return LocalFaults(Path(rest).expanduser().resolve())


class LocalFaults:
    """Of a `local://` mesh, by the files in its folder. Hosts that belong to nobody of the drill are left alone."""

    pace = Pace()
    servers: Sequence[str] = ("host",)
    modules: Sequence[str] = ("agentmesh.broker.local", "agentmesh.registry.local")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hurt: dict[int, Process] = {}

    async def _host(self) -> Process | None:
        """The host of the moment, once there is one."""
        for _ in range(40):
            host = self._find()
            if host:
                return host
            await asyncio.sleep(_STEP)
        return None

    def _find(self) -> Process | None:
        with contextlib.suppress(OSError, ValueError):
            kind, _, process = (self._folder / _LOCK).read_text().strip().partition(" ")
            pid = int(process.partition("-")[0])
            if kind == "child" and is_ours(pid):
                return Process(pid)
        return None

    async def kill(self, server: str) -> bool:  # noqa: ARG002 - there is one
        host = await self._host()
        if host:
            host.send(signal.SIGKILL)
            host.close()
        return host is not None

    async def restart(self, server: str) -> None:
        """Its clients do that."""

    async def stop(self, server: str, seconds: float) -> bool:  # noqa: ARG002
        host = await self._host()
        if host:
            self._hurt[host.pid] = host
            host.send(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            self._heal(host)
        return host is not None

    async def quota(self, seconds: float) -> bool:
        host = await self._host()
        if host:
            self._hurt[host.pid] = host
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(host.pid, resource.RLIMIT_FSIZE, (4096, _UNLIMITED))
            await asyncio.sleep(seconds)
            self._heal(host)
        return host is not None

    async def split(self, seconds: float, stay: Sequence[Process], cut: Callable[[], None]) -> bool:
        host = await self._host()
        if not host:
            return False
        self._hurt[host.pid] = host
        for each in (*stay, host):
            each.send(signal.SIGSTOP)
        for name in (_LOCK, _SOCKET):
            (self._folder / name).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (self._folder / _LOG).rename(self._folder / f"{_LOG}.{host.pid}")  # the first host goes on writing there
        cut()
        for _ in range(round(_SECOND_HOST / _STEP)):
            second = self._find()
            if second:
                second.close()
                break
            await asyncio.sleep(_STEP)
        await asyncio.sleep(seconds)
        self._heal(host)
        for each in stay:
            each.send(signal.SIGCONT)
        return True

    async def sweep(self) -> None:
        """Its folder goes as a whole, or stays."""

    async def mend(self) -> None:
        for host in list(self._hurt.values()):
            self._heal(host)

    def _heal(self, host: Process) -> None:
        if self._hurt.pop(host.pid, None):
            if host.is_alive():
                with contextlib.suppress(ProcessLookupError):
                    resource.prlimit(host.pid, resource.RLIMIT_FSIZE, (_UNLIMITED, _UNLIMITED))
            host.send(signal.SIGCONT)
            host.close()


def is_ours(pid: int) -> bool:
    """Whether the process belongs to this drill."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def all_of_ours() -> Iterator[int]:
    """The processes of this drill, hosts too, but for this one."""
    for path in Path("/proc").iterdir():
        if path.name.isdecimal() and int(path.name) != os.getpid() and is_ours(int(path.name)):
            yield int(path.name)


def kill_all_of_ours() -> None:
    """End every process of this drill, stopped ones too."""
    for _ in range(3):  # one may just be starting another
        for pid in all_of_ours():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
