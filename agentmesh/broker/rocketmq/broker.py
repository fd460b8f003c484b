"""RocketMQBroker: the contract over a RocketMQ cluster with LiteTopics."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from agentmesh.broker.blobs import shared_blobs
from agentmesh.broker.drafts import check_text, encode
from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.blobs import LiteBlobs
from agentmesh.broker.rocketmq.client import Connection, Producer
from agentmesh.broker.rocketmq.commons import Commons
from agentmesh.broker.rocketmq.health import check, examine
from agentmesh.broker.rocketmq.inbox import RocketInbox
from agentmesh.broker.rocketmq.leases import Foreign, News
from agentmesh.broker.rocketmq.listing import Listing
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.names import Names
from agentmesh.broker.rocketmq.needs import DOCTOR, groups, make, topics
from agentmesh.broker.rocketmq.queue import Topics
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.broker.rocketmq.scan import Scan
from agentmesh.broker.rocketmq.tasks import check_time
from agentmesh.clock import Clock
from agentmesh.contracts import Append, Blobs, Delivery, Health, Lease, LogInfo, Stored, Tenant, TopicStats
from agentmesh.contracts.admin import figure
from agentmesh.errors import BrokerUnavailable, ConfigError, MeshError, Unauthorized
from agentmesh.ids import check_lite_topic, check_topic
from agentmesh.log import get_logger
from agentmesh.message import Draft, Entry, Message
from agentmesh.scheduling.limits import check_delivery, check_tenant

_RENEW: Final = 3600.0


class RocketMQBroker:
    """A `Broker` over RocketMQ 5.5 for the event loop it is made in; `open_rocketmq` makes it."""

    def __init__(self, address: Address, clock: Clock) -> None:
        self.address = address
        self._clock = clock
        self._connection = Connection(address, clock)
        self._producer = Producer(self._connection)
        self.remoting = Remoting(address)
        self.names = Names(address.namespace)
        self._logs = Logs(self._producer, self.remoting, self.names)
        self._commons = Commons(self._logs, clock)
        self._topics = Topics(
            self._connection, self._producer, self.remoting, self.names, self._logs, self._commons, clock
        )
        self._scan = Scan(self.remoting, self._logs, self._commons, self._topics, self._topics.letters, clock)
        self._listing = Listing(self.remoting, self._logs, self.names)
        self._inboxes: dict[str, RocketInbox] = {}
        self._renewing: asyncio.Task[None] | None = None
        self._closed = False
        self._writes = 0
        self._idle = asyncio.Event()
        self.blobs: Blobs

    async def open(self, blobs: str = "") -> None:
        """Make what every mesh needs, and read what its processes agreed on. Raises `BrokerUnavailable`, `ConfigError`,
        `Unauthorized`.
        """
        try:
            await make(self.names, self.remoting)
            self._connection.expect(*(each.name for each in topics(self.names)))
            self._connection.expect(*(each.name for each in groups(self.names)))
            await self._producer.start()
            await check(self.names, self.remoting, self._connection)
        except (ConfigError, Unauthorized) as error:
            raise type(error)(f"{error} {DOCTOR}") from error
        secret = await self._commons.agree_on_secret()
        if blobs:
            self.blobs = await asyncio.to_thread(shared_blobs, blobs, bytes.fromhex(secret))
        else:
            self.blobs = LiteBlobs(self._logs, self._listing, secret, asyncio.get_running_loop())
        self._renewing = asyncio.create_task(self._renew())

    def hand_on(self, foreign: Foreign) -> None:
        """Offer to `foreign` what comes on the topics and is no task of ours."""
        self._topics.leases.foreign = foreign

    # Queue

    async def declare(self, topic: str, delivery: Delivery | None) -> None:
        check_topic(topic)
        self._check_open()
        if delivery is None:
            await self._topics.remove(topic)
            return
        check_delivery(delivery)
        if delivery.rate or delivery.quota.total or delivery.quota.per_tenant:
            raise ConfigError(
                f"{topic}: rocketmq:// holds no rate and no quota over all workers. Leave delivery.rate and "
                "delivery.quota out, and bound the workers by delivery.concurrency."
            )
        await self._topics.declare(topic, delivery)

    async def publish(self, message: Message) -> bool:
        with self._writing():
            return await self._topics.publish(message)

    async def lease(
        self, topics: Sequence[str], limit: int, wait: float, *, worker: str, lanes: Sequence[str] = ()
    ) -> Sequence[Lease]:
        self._check_open()
        check_text(worker)
        return await self._topics.lease(topics, limit, wait, worker=worker, lanes=lanes)

    async def extend(self, worker: str, tokens: Sequence[str], wait: float) -> Mapping[str, News]:
        self._check_open()
        return await self._topics.extend(worker, tokens, wait)

    async def ack(
        self,
        lease: Lease,
        appends: Sequence[Append] = (),
        publishes: Sequence[Message] = (),
        expect: int | None = None,
    ) -> None:
        with self._writing():
            await self._topics.ack(lease, appends, publishes, expect)

    async def nack(
        self,
        lease: Lease,
        *,
        error: str = "",
        not_before: int = 0,
        dead: str = "",
        publishes: Sequence[Message] = (),
    ) -> None:
        check_time(not_before)
        with self._writing():
            await self._topics.nack(lease, _printable(error), not_before, _printable(dead), publishes)

    async def stats(self, topics: Sequence[str] = ()) -> Sequence[TopicStats]:
        self._check_open()
        return await self._scan.stats(topics)

    async def browse(self, topic: str, after: int = 0, limit: int = 100, *, dead: bool = False) -> Sequence[Stored]:
        self._check_open()
        if not dead:
            return await self._scan.browse(topic, after, limit)
        letters = await self._topics.letters.list(topic, after, limit)
        if not letters and topic not in self._commons.topics and not await self._topics.letters.count(topic):
            await self._commons.topic(topic)
        return letters

    # Log

    async def append(
        self,
        lite_topic: str,
        entries: Sequence[Draft],
        *,
        expect: int | None = None,
        lease: Lease | None = None,
        title: str = "",
    ) -> int:
        check_lite_topic(lite_topic)
        check_text(title)
        encoded = encode(entries)
        with self._writing():
            if lease is not None:
                return await self._append_held(lite_topic, encoded, lease, expect)
            offset = await self._logs.append(lite_topic, encoded, title=title, expect=expect)
        if any(kind == "cancelled" for _, kind, _ in encoded):
            self._topics.cancelled(lite_topic)
        return offset

    async def _append_held(
        self, lite_topic: str, encoded: "list[tuple[str, str, bytes]]", lease: Lease, expect: int | None
    ) -> int:
        """What only tells how it goes is not read back; what decides is."""
        leases = self._topics.leases
        held = leases.held(lease)
        if lite_topic == held.message.log and expect is None and all(kind in _TELLING for _, kind, _ in encoded):
            return await leases.tell(held, encoded)
        offset = await self._logs.append(lite_topic, encoded, expect=expect)
        await leases.own(held)
        return offset

    async def read(
        self, lite_topic: str, after: int = -1, limit: int = 1000, since: int | None = None
    ) -> Sequence[Entry]:
        check_lite_topic(lite_topic)
        self._check_open()
        return await self._logs.read(lite_topic, after, limit, since)

    async def list(self, prefix: str = "", after: str = "", limit: int = 100) -> Sequence[LogInfo]:
        for part in (prefix, after):
            if part:
                check_lite_topic(part)
        self._check_open()
        return await self._listing.list(prefix, after, limit)

    def inbox(self, client: str) -> RocketInbox:
        inbox = self._inboxes.get(client)
        if inbox is None:
            inbox = self._inboxes[client] = RocketInbox(
                self._connection,
                self.remoting,
                self.names,
                self._logs,
                self._clock,
                client,
                lambda: self._inboxes.pop(client, None),
            )
        return inbox

    # Admin

    async def tenants(self) -> Sequence[Tenant]:
        self._check_open()
        await self._commons.refresh(now=True)
        return [tenant for _, tenant in sorted(self._commons.tenants.items())]

    async def set_tenant(self, tenant: Tenant) -> None:
        self._check_open()
        check_tenant(tenant)
        if tenant.running or tenant.waiting or tenant.rate:
            raise ConfigError(
                f"{tenant.name}: rocketmq:// holds no rate and no quota over all workers. Set weight and ceiling only."
            )
        await self._commons.set_tenant(tenant)

    async def discard(self, topic: str, positions: Sequence[int], publishes: Sequence[Message] = ()) -> int:
        with self._writing():
            return await self._topics.discard(topic, positions, publishes)

    async def health(self) -> Health:
        self._check_open()
        return (await examine(self.address, self._clock, self.stats)).health()

    async def figures(self) -> Mapping[str, float]:
        self._check_open()
        found: dict[str, float] = {}
        for each in await self.stats():
            found[figure("tasks_waiting", topic=each.topic)] = each.waiting
            found[figure("tasks_running", topic=each.topic)] = each.running
            found[figure("dead_letters", topic=each.topic)] = each.dead
        return found

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._renewing:
            self._renewing.cancel()
        if self._writes:
            self._idle.clear()
            await self._idle.wait()
        await asyncio.gather(*(inbox.close() for inbox in list(self._inboxes.values())), return_exceptions=True)
        with contextlib.suppress(MeshError):
            await self._topics.close()
        await self._connection.close()
        await self.remoting.close()

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW)
            try:
                await self._commons.renew()
            except MeshError as error:
                get_logger().warning("cannot renew what the mesh agreed on", error=str(error))

    def _check_open(self) -> None:
        if self._closed:
            raise BrokerUnavailable("This broker is closed.")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """What was asked for before the close is stored."""
        self._check_open()
        self._writes += 1
        try:
            yield
        finally:
            self._writes -= 1
            if not self._writes:
                self._idle.set()


_TELLING: Final = frozenset({"progress", "delta", "artifact"})
"""Entries that belong to an attempt and decide nothing."""


def _printable(text: str) -> str:
    """An error's text may hold what came from outside: lone surrogates become question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()
