"""A log of one's own."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from agentmesh.ids import own_log
from agentmesh.message import Draft, Entry

if TYPE_CHECKING:
    from agentmesh.runtime.client import Client


class LiteTopic:
    """An ordered log that anybody of the same tenant may append to, read and follow, by its readable name.

    It is made by its first append and lives for 30 days after its last.
    """

    def __init__(self, client: "Client", name: str, tenant: str) -> None:
        self.name = name
        self._tenant = tenant
        self.lite_topic = own_log(tenant, name)
        self._client = client

    async def append(self, data: Any, *, id: str = "", expect: int | None = None) -> int:  # noqa: A002
        """Append JSON data; returns its offset once it is stored.

        Appending an `id` that is there already is a no-op that returns its offset. Raises `Conflict` if the log's next
        offset is not `expect`, `PayloadCorrupt` for data that is not JSON, and `PayloadTooLarge`.
        """
        draft = Draft("data", data, id=id or uuid4().hex)
        drafts = await self._client.bodies.written(self._tenant, [draft])
        return await self._client.broker.append(self.lite_topic, drafts, expect=expect, title=self.name)

    async def read(self, after: int = -1, limit: int = 1000, since: int | None = None) -> Sequence[Entry]:
        """Up to `limit` entries past the offset `after`, in order, not older than `since` (ms UTC).

        Raises `PayloadCorrupt`, naming the offset, if the blob of an entry is not there or was altered.
        """
        entries = await self._client.broker.read(self.lite_topic, after, limit, since)
        return await self._client.bodies.all_resolved(self._tenant, entries)

    async def follow(self, after: int = -1) -> AsyncIterator[Entry]:
        """The entries past `after`, then each new one as it is stored, without end."""
        async with self._client.hub.follow(self.lite_topic, after) as follower:
            while True:
                for entry in await follower.next():
                    yield await self._client.bodies.resolved(self._tenant, entry)
