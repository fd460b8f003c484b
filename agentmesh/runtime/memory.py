"""What agents remember of one principal: keys and values, kept in a LiteTopic of their own."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from agentmesh.ids import memory_log
from agentmesh.message import Draft
from agentmesh.runtime.reading import read_all

if TYPE_CHECKING:
    from agentmesh.runtime.client import Client


class Memory:
    """A small store per tenant and principal, which all agents that work for them share.

    What was set is there in every later call, in any process, until 30 days after the last change. Values are JSON
    data; the last write to a key wins.
    """

    def __init__(self, client: "Client", tenant: str, principal: str) -> None:
        self._client = client
        self._tenant = tenant
        self._lite_topic = memory_log(tenant, principal)
        self._values: dict[str, Any] = {}
        self._read = -1

    async def get(self, key: str, default: Any = None) -> Any:
        await self._refresh()
        return self._values.get(key, default)

    async def set(self, key: str, value: Any) -> None:
        """Returns once it is stored."""
        await self._append({"key": key, "value": value})

    async def delete(self, key: str) -> None:
        """A key that is not there is no error."""
        await self._append({"key": key})

    async def items(self) -> Mapping[str, Any]:
        """A copy of everything."""
        await self._refresh()
        return dict(self._values)

    async def _append(self, change: dict[str, Any]) -> None:
        drafts = await self._client.bodies.written(self._tenant, [Draft("data", change, id=uuid4().hex)])
        await self._client.broker.append(self._lite_topic, drafts)

    async def _refresh(self) -> None:
        for stored in await read_all(self._client.broker, self._lite_topic, self._read):
            entry = await self._client.bodies.resolved(self._tenant, stored)
            if "value" in entry.data:
                self._values[entry.data["key"]] = entry.data["value"]
            else:
                self._values.pop(entry.data["key"], None)
            self._read = entry.offset
