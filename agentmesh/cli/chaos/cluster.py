"""A drill on a `rocketmq://` mesh: its servers are hurt only if a file says how to start them again.

Without a namespace in the mesh's URL the drill has one of its own, in the mesh and in its registries, which is swept in
the end.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl
from uuid import uuid4

import msgspec

from agentmesh.cli.chaos.faults import Process
from agentmesh.cli.chaos.plan import ANY_SERVER, CLUSTER, Card, Pace
from agentmesh.cli.chaos.processes import MARK
from agentmesh.config import load_config
from agentmesh.errors import ConfigError

_SHORTEST: Final = 10.0
"""Seconds that a lease lasts there, at least."""

_OWN: Final = "chaos_"
_POLLS_END: Final = 7.0
"""Seconds in which the polls of processes that were killed end, which would make their groups anew."""

_SWEEPS: Final = 10
_SWEPT: Final = 1.5
"""Seconds after which a group that was made anew is seen."""


def places(mesh: str, registries: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The mesh and its registries, in a namespace of the drill's own unless one is given. Raises `ConfigError`."""
    if not registries:
        raise ConfigError(
            f"{mesh.partition('?')[0]} has no registry of its own: name one, --registry nacos://HOST:PORT."
        )
    if _namespace(mesh):
        return mesh, tuple(registries)
    own = _OWN + uuid4().hex[:12]
    return _with(mesh, own), tuple(
        _with(each, own) if each.startswith("nacos://") and not _namespace(each) else each for each in registries
    )


class Server(msgspec.Struct, forbid_unknown_fields=True):
    """A server that may be hurt: the file with its process id, and the shell command that starts it again, which ends
    when it is up, in a folder.
    """

    pid: str
    start: str
    folder: str = "."


def read_servers(path: Path) -> dict[str, Server]:
    """Those of a file, by name. Raises `ConfigError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Server])
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(
            f"{path} does not tell of servers ({error}). It has to hold, for each by its name: "
            '{"broker": {"pid": "PATH of its pid file", "start": "COMMAND"}}. `make cluster-up` writes such a file.'
        ) from error


class ClusterFaults:
    """Its servers are killed and frozen if a file tells of them. Everything is hurt more slowly than on one machine:
    each process that begins takes longer.
    """

    modules: Sequence[str] = (
        "agentmesh.broker.rocketmq.broker",
        "agentmesh.registry.several",
        "agentmesh.registry.nacos",
        "agentmesh.registry.direct",
    )

    def __init__(self, url: str, servers: Path | None = None) -> None:
        self._url = url
        self._servers = read_servers(servers) if servers else {}
        self.servers: Sequence[str] = tuple(self._servers)
        cards: dict[Card, int] = {("kill", name, ""): 1 for name in self.servers}
        if cards:
            cards["stop", ANY_SERVER, "frozen"] = 1
        self.pace = Pace(
            CLUSTER, _SHORTEST, interval=1.2, warm=40.0, quiet=50.0, patience=300.0, look=240.0, cards=cards
        )
        self._stopped: set[str] = set()
        self._down: set[str] = set()

    async def kill(self, server: str) -> bool:
        self._down.add(server)
        return self._send(server, signal.SIGKILL)

    async def restart(self, server: str) -> None:
        """Raises `OSError` if its command fails."""
        told = self._servers[server]
        environment = {name: value for name, value in os.environ.items() if name != MARK}
        process = await asyncio.create_subprocess_shell(
            told.start,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=told.folder,
            env=environment,
        )
        _, errors = await process.communicate()
        if process.returncode:
            raise OSError(f"{server} cannot be started: {told.start}\n{errors.decode(errors='replace')[-500:]}")
        self._down.discard(server)

    async def stop(self, server: str, seconds: float) -> bool:
        self._stopped.add(server)
        done = self._send(server, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self._continue(server)
        return done

    async def quota(self, seconds: float) -> bool:  # noqa: ARG002
        return False

    async def split(self, seconds: float, stay: Sequence[Process], cut: Callable[[], None]) -> bool:  # noqa: ARG002
        return False

    async def mend(self) -> None:
        for server in tuple(self._stopped):
            self._continue(server)
        for server in tuple(self._down):
            await self.restart(server)

    def _continue(self, server: str) -> None:
        self._stopped.discard(server)
        self._send(server, signal.SIGCONT)

    def _send(self, server: str, number: int) -> bool:
        """Whether it runs."""
        try:
            os.kill(int(Path(self._servers[server].pid).read_text()), number)
        except (OSError, ValueError):
            return False
        return True

    async def sweep(self) -> None:
        """Topics and groups of a namespace that was the drill's own."""
        from agentmesh.broker.rocketmq.address import read_address
        from agentmesh.broker.rocketmq.names import Names
        from agentmesh.broker.rocketmq.remoting import Remoting

        if not _namespace(self._url).startswith(_OWN):
            return
        config = load_config(broker=self._url)
        address = read_address(self._url, config.access_key or "", config.secret_key or "")
        mine = Names(address.namespace).lane("")
        await asyncio.sleep(_POLLS_END)
        remoting = Remoting(address)
        try:
            for _ in range(_SWEEPS):  # what a broker has still to do for a group that is gone makes it anew
                groups = [group for group in await remoting.groups() if group.startswith(mine)]
                topics = [topic for topic in await remoting.topics() if mine in topic]  # also %RETRY% and %DLQ%
                if not groups and not topics:
                    return
                for group in groups:
                    await remoting.delete_group(group)
                for topic in topics:
                    await remoting.delete_topic(topic)
                await asyncio.sleep(_SWEPT)
        finally:
            await remoting.close()


def _namespace(url: str) -> str:
    return dict(parse_qsl(url.partition("?")[2])).get("namespace", "")


def _with(url: str, namespace: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}namespace={namespace}"
