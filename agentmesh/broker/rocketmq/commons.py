"""What the processes of a mesh agree on: its topics and their lanes, its tenants, the secret of its blobs.

It is a LiteTopic that never ends, read at an offset. Brokers delete what is older than they keep messages, so whoever
has the mesh open writes down anew what grew old.
"""

import secrets
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from agentmesh.broker.drafts import encode
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.names import KEPT
from agentmesh.clock import Clock
from agentmesh.contracts import Delivery, Tenant
from agentmesh.errors import TopicNotFound
from agentmesh.message import Draft, Entry

BOOK: Final = "commons"
_FRESH: Final = 5_000
_OLD: Final = 24 * 3600 * 1000


class Lane(NamedTuple):
    """A queue of a topic's tasks that is apart from the others."""

    topic: str
    version: str = ""
    tenant: str = ""
    priority: bool = False


class Commons:
    """As of the last `refresh`."""

    def __init__(self, logs: Logs, clock: Clock) -> None:
        self.topics: dict[str, Delivery] = {}
        self.tenants: dict[str, Tenant] = {}
        self.lanes: dict[str, dict[Lane, None]] = {}
        self.secret = ""
        self.on_removed: Callable[[str], None] = _nobody
        self._written: dict[tuple[str, str], tuple[int, Any]] = {}
        self._logs = logs
        self._clock = clock
        self._next = 0
        self._as_of = 0

    async def refresh(self, *, now: bool = False) -> None:
        """Read what is new, unless that was done within five seconds."""
        if not now and self._clock.now() - self._as_of < _FRESH:
            return
        while entries := await self._logs.read(BOOK, self._next - 1, 500, kind=KEPT):
            for entry in entries:
                self._take(entry)
            self._next = entries[-1].offset + 1
        self._as_of = self._clock.now()

    async def topic(self, name: str) -> Delivery:
        """How a topic delivers. Raises `TopicNotFound`."""
        if name not in self.topics:
            await self.refresh(now=True)
        if name not in self.topics:
            raise TopicNotFound(name, self.topics)
        return self.topics[name]

    def names(self) -> list[str]:
        """All topics that there are or were."""
        return sorted(name for kind, name in self._written if kind == "topic")

    def tenant(self, name: str) -> Tenant:
        """What a tenant gets."""
        return self.tenants.get(name) or Tenant(name)

    async def declare(self, name: str, delivery: Delivery | None) -> None:
        """Say how a topic delivers, or that it is no more."""
        await self._write("topic", name, None if delivery is None else msgspec.to_builtins(delivery))

    async def add_lane(self, lane: Lane) -> None:
        """Say that a topic has this lane."""
        await self._write("lane", "|".join(map(str, lane)), list(lane))

    async def set_tenant(self, tenant: Tenant) -> None:
        await self._write("tenant", tenant.name, msgspec.to_builtins(tenant))

    async def agree_on_secret(self) -> str:
        """The secret of the mesh: the first that was ever written down."""
        await self.refresh(now=True)
        if not self.secret:
            await self._write("secret", "blobs", secrets.token_hex(32))
        return self.secret

    async def renew(self) -> None:
        """Write down anew what was written a day ago or earlier."""
        await self.refresh(now=True)
        for (kind, name), (time, value) in list(self._written.items()):
            if self._clock.now() - time > _OLD and value is not None:
                await self._write(kind, name, value)

    async def _write(self, kind: str, name: str, value: Any) -> None:
        entry = encode([Draft(kind, {"name": name, "value": value})])
        await self._logs.append(BOOK, entry, kind=KEPT)
        await self.refresh(now=True)

    def _take(self, entry: Entry) -> None:
        if not (isinstance(entry.data, dict) and {"name", "value"} <= entry.data.keys()):
            return
        name, value = entry.data["name"], entry.data["value"]
        if entry.type == "secret":
            self.secret = self.secret or value
            value = self.secret
        elif entry.type == "topic" and value is None:
            self.topics.pop(name, None)
            self.lanes.pop(name, None)
            self.on_removed(name)
        elif entry.type == "topic":
            self.topics[name] = msgspec.convert(value, Delivery)
        elif entry.type == "lane":
            lane = Lane(*value)
            self.lanes.setdefault(lane.topic, {})[lane] = None
        elif entry.type == "tenant":
            self.tenants[name] = msgspec.convert(value, Tenant)
        self._written[entry.type, name] = entry.time, value


def _nobody(topic: str) -> None:
    """Nobody minds."""
