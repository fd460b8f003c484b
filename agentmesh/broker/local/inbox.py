"""An inbox that follows its broker from host to host."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from agentmesh.contracts import Batch, Inbox
from agentmesh.errors import BrokerUnavailable

if TYPE_CHECKING:
    from agentmesh.broker.local.broker import LocalBroker


class LocalInbox:
    """One client's `Inbox`, wherever its host is."""

    def __init__(self, broker: "LocalBroker", client: str) -> None:
        self._broker = broker
        self._client = client
        self._host: object = None
        self._inbox: Inbox | None = None

    async def _now(self) -> Inbox:
        host = await self._broker.target()
        if self._inbox is None or host is not self._host:
            self._host, self._inbox = host, host.inbox(self._client)
        return self._inbox

    async def subscribe(self, lite_topic: str, after: int | None = None, exclusive: bool = False) -> None:
        await (await self._now()).subscribe(lite_topic, after, exclusive)

    async def unsubscribe(self, lite_topic: str) -> None:
        await (await self._now()).unsubscribe(lite_topic)

    async def sync(self, interests: Mapping[str, int | None]) -> None:
        while True:
            inbox = await self._now()
            host = self._host
            try:
                await inbox.sync(interests)
            except BrokerUnavailable:
                if self._broker.is_at(host):
                    raise
            if self._broker.is_at(host):
                return

    async def poll(self, limit: int, wait: float) -> Sequence[Batch]:
        until = self._broker.clock.now() + round(wait * 1000)
        while True:
            inbox = await self._now()
            host = self._host
            batches = await inbox.poll(limit, wait)
            if batches or self._broker.is_at(host):
                return batches
            wait = max(0, until - self._broker.clock.now()) / 1000  # the store moved meanwhile

    async def commit(self, offsets: Mapping[str, int]) -> None:
        await (await self._now()).commit(offsets)

    async def close(self) -> None:
        await (await self._now()).close()
