"""A drill on a `rocketmq://` mesh: its servers are not ours to hurt, its workers, callers and supervisors are.

Without a namespace in the mesh's URL the drill has one of its own, in the mesh and in its registries, which is swept in
the end.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import parse_qsl
from uuid import uuid4

from agentmesh.cli.chaos.faults import Process
from agentmesh.cli.chaos.plan import CLUSTER, Pace
from agentmesh.config import load_config
from agentmesh.errors import ConfigError

_SHORTEST: Final = 10.0
"""Seconds that a lease lasts there, at least."""

_OWN: Final = "chaos_"
_POLLS_END: Final = 7.0
"""Seconds in which the polls of processes that were killed end, which would make their groups anew."""


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


class ClusterFaults:
    """Nothing can be done to its servers. Who can be hurt is hurt more slowly: each that begins takes longer."""

    pace = Pace(CLUSTER, _SHORTEST, interval=1.2, warm=40.0, quiet=50.0, patience=300.0, look=240.0)
    modules: Sequence[str] = (
        "agentmesh.broker.rocketmq.broker",
        "agentmesh.registry.several",
        "agentmesh.registry.nacos",
        "agentmesh.registry.direct",
    )

    def __init__(self, url: str) -> None:
        self._url = url

    async def kill(self) -> bool:
        return False

    async def stop(self, seconds: float) -> bool:  # noqa: ARG002
        return False

    async def quota(self, seconds: float) -> bool:  # noqa: ARG002
        return False

    async def split(self, seconds: float, stay: Sequence[Process], cut: Callable[[], None]) -> bool:  # noqa: ARG002
        return False

    async def mend(self) -> None:
        """There is nothing."""

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
            for group in await remoting.groups():
                if group.startswith(mine):
                    await remoting.delete_group(group)
            for topic in await remoting.topics():
                if mine in topic:  # also %RETRY% and %DLQ%
                    await remoting.delete_topic(topic)
        finally:
            await remoting.close()


def _namespace(url: str) -> str:
    return dict(parse_qsl(url.partition("?")[2])).get("namespace", "")


def _with(url: str, namespace: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}namespace={namespace}"
