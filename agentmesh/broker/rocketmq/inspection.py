"""What brokers and proxies tell of topics, groups and clients: looked up all at once, by who examines a cluster."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from agentmesh.broker.rocketmq.address import Address, split_endpoint
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.broker.rocketmq.remoting.brokers import read_json
from agentmesh.broker.rocketmq.remoting.faults import NO_GROUP
from agentmesh.broker.rocketmq.remoting.link import Link
from agentmesh.errors import MeshError

_TOPICS: Final = 21
_GROUPS: Final = 201
_CLIENTS: Final = 203
_NOBODY: Final = 206
_AT_ONCE: Final = 64

Table = Mapping[str, Mapping[str, Any]]


class Inspection(Remoting):
    """As `Remoting`, with whole tables."""

    async def topic_table(self) -> Table:
        """All topics: their attributes."""
        table = await self._table("Listing topics", _TOPICS, "topicConfigTable")
        return {name: config.get("attributes") or {} for name, config in table.items()}

    async def group_table(self) -> Table:
        """All groups: their configurations (`retryMaxTimes`, `attributes`, …)."""
        return await self._table("Listing groups", _GROUPS, "subscriptionGroupTable")

    async def facts(self) -> Mapping[str, str]:
        """What the first broker measures of itself."""
        return {str(name): str(value) for name, value in (await self._runtime()).items()}

    async def _table(self, what: str, code: int, name: str) -> Table:
        table: dict[str, Mapping[str, Any]] = {}
        for answer in await self._everywhere(what, code, {}):
            table |= read_json(answer.body).get(name, {})
        return table


class Clients:
    """Who is connected to the proxies of a cluster. One of them is asked, at its remoting port; it knows of the others'
    clients too."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._link: Link | None = None

    async def find(self) -> bool:
        """Whether a proxy's remoting port was found: the one given, or where it usually is beside its gRPC port."""
        host, port = split_endpoint(self._address.endpoint)
        for endpoint in dict.fromkeys((self._address.remoting_endpoint, f"{host}:{port - 1}", f"{host}:8080")):
            found = Remoting(msgspec.structs.replace(self._address, remoting=endpoint))
            try:
                is_proxy = await found.kind() == "proxy"
            except MeshError:
                continue
            finally:
                await found.close()
            if is_proxy:
                self._link = Link(endpoint, self._address)
                return True
        return False

    async def alone(self, groups: Iterable[str]) -> set[str]:
        """Those of these groups in which there is nobody now. Raises `MeshError`."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def look(group: str) -> str:
            async with slots:
                return group if await self._is_alone(group) else ""

        return set(await asyncio.gather(*map(look, groups))) - {""}

    async def _is_alone(self, group: str) -> bool:
        assert self._link
        fields = {"consumerGroup": group}
        answer = await self._link.ask("Looking for clients", _CLIENTS, fields, name=group, well=(0, _NOBODY, NO_GROUP))
        return answer.code != 0 or not read_json(answer.body).get("connectionSet")

    async def close(self) -> None:
        if self._link:
            await self._link.close()
