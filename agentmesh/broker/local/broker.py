"""LocalBroker: one broker per folder and process, which hosts in its own loop while it is alone.

When another process arrives, the store moves out: to the child that runs no user code, whose client this one becomes,
as the newcomer does. From then on a `Link` finds whoever hosts; this process never hosts again.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.shared import Shared
from agentmesh.broker.embedded.store import Store
from agentmesh.broker.local.folder import Folder, Lock
from agentmesh.broker.local.host import Doorbell
from agentmesh.broker.local.remote import Belongings, Remote
from agentmesh.broker.process import name_process
from agentmesh.card import write_card
from agentmesh.clock import Clock
from agentmesh.contracts import (
    Append,
    Batch,
    Delivery,
    Health,
    Inbox,
    Lease,
    LogInfo,
    Stored,
    Tenant,
    TopicStats,
)
from agentmesh.errors import BrokerUnavailable
from agentmesh.log import get_logger
from agentmesh.message import Draft, Entry, Message
from agentmesh.registry.embedded import EmbeddedRegistry

Durability = Literal["normal", "full"]

_shared: Final[Shared["LocalBroker"]] = Shared()
_locks: Final[set[Lock]] = set()


async def open_local(
    folder: str | Path, clock: Clock, *, durability: Durability = "normal", alone: bool = True
) -> "LocalBroker":
    """The mesh in `folder`, which is made if it is not there, readable by its owner alone.

    The first process hosts it in its own loop, unless `alone` is false: then a child hosts from the start. What a dead
    process held is handed out again at once. Raises `BrokerUnavailable` if the folder cannot be read or written or is
    on a network file system, if a newer version wrote or hosts it, or if a program that hosts it does not answer (and
    names its pid).
    """
    place = Folder(folder)
    broker = _shared.open(
        f"local://{place.path}", lambda forget: LocalBroker(place, clock, forget, durability=durability, alone=alone)
    )
    try:
        await broker.ready()
    except BaseException:
        await broker.close()
        raise
    return broker


class Hosted:
    """A store that this process hosts in its own loop, with the lock and the socket that go with it."""

    def __init__(self, folder: Folder, lock: Lock, process: str, clock: Clock, durability: Durability) -> None:
        self._lock = lock
        self._server: asyncio.Server | None = None
        _locks.add(lock)
        try:
            self._store = Store(folder.database, process, full=durability == "full")
            try:
                self.broker = EmbeddedBroker(self._store, clock, process=process, on_close=_nothing)
                self.registry = EmbeddedRegistry(self.broker, clock)
            except BaseException:
                self._store.close()
                raise
        except BaseException:
            self._release()
            raise
        self._process = process

    async def listen(self, folder: Folder, ring: Callable[[], None]) -> None:
        """Hear of other processes."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Doorbell(ring), sock=folder.listen())

    def end(self, *, handing_over: bool = False) -> None:
        """Finish what was asked for and let go of everything."""
        if self._server:
            self._server.close()
        self.broker.end()
        self._store.close(handing_over=handing_over)
        self._release()

    def belongings(self) -> Belongings:
        """What this process has here, for its next host."""
        tokens = {task.token: None for task in self.broker.state.tasks.by_token.values()}
        inboxes, exclusive = self.broker.interests()
        registered = {
            (each.topic, each.version, each.instance): write_card(each.card) for each in self.registry.instances()
        }
        return Belongings(tokens, inboxes, exclusive, registered)

    def _release(self) -> None:
        _locks.discard(self._lock)
        self._lock.release()


class LocalBroker:
    """A `Broker` over a folder, for the event loop it is made in. It is closed when `close` was called once for each of
    its `users`."""

    def __init__(
        self, folder: Folder, clock: Clock, forget: Callable[[], None], *, durability: Durability, alone: bool
    ) -> None:
        self.users = 1
        self.folder = folder
        self.clock = clock
        self.process = name_process()
        self.hosted: Hosted | None = None
        self.remote: Remote | None = None
        self.listeners: list[Callable[[str], None]] = []
        self._durability: Durability = durability
        self._forget = forget
        self._closed = False
        self._now: EmbeddedBroker | Remote | None = None
        lock = folder.take("program", self.process) if alone else None
        if lock:
            self._host(Hosted(folder, lock, self.process, clock, durability))
        self._belongings = Belongings()
        self._opening: asyncio.Task[None] | None = None
        self._begin(self._open())

    def _host(self, hosted: Hosted) -> None:
        self.hosted = hosted
        self._now = hosted.broker
        hosted.registry.listen(self._changed)
        hosted.broker.turns.on_deposed = self._move

    async def _open(self) -> None:
        if self.hosted:
            await self.hosted.listen(self.folder, self._move)
        else:
            await self._join()

    async def _join(self) -> None:
        """Become a client of whoever hosts."""
        remote = Remote(self.folder, self.process, self._belongings, ("--durability", self._durability))
        remote.listeners.append(self._changed)
        try:
            await remote.link.open()
        except BaseException:
            await remote.close()
            raise
        self.remote = self._now = remote

    def _move(self) -> None:
        """Let the store move out. What is asked for meanwhile waits."""
        hosted, self.hosted = self.hosted, None
        if hosted and not self._closed:
            self._now = None
            self._begin(self._hand_over(hosted))

    async def _hand_over(self, hosted: Hosted) -> None:
        get_logger().debug("another process is here: the store moves to a host", folder=str(self.folder.path))
        self._belongings = hosted.belongings()
        hosted.end(handing_over=True)
        await self._join()

    async def ready(self) -> None:
        """Wait until there is a host. Raises `BrokerUnavailable`."""
        if not self._now:
            await self._target()

    async def _target(self) -> EmbeddedBroker | Remote:
        """Whoever hosts, as soon as somebody does. Each call after a failure tries anew."""
        while True:
            if self._closed:
                raise BrokerUnavailable("This broker is closed.")
            if self._opening is None:
                if self._now:
                    return self._now
                self._begin(self._join())
            opening = self._opening
            assert opening
            try:
                await asyncio.shield(opening)
            finally:
                if self._opening is opening and opening.done():
                    self._opening = None

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._opening = asyncio.get_running_loop().create_task(work)
        self._opening.add_done_callback(_look)

    def _changed(self, topic: str) -> None:
        for listener in self.listeners:
            listener(topic)

    async def close(self) -> None:
        self.users -= 1
        if self.users > 0 or self._closed:
            return
        self._closed = True
        self._forget()
        if self._opening and not self._opening.done():
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self.hosted:
            self.hosted.end()
        if self.remote:
            await self.remote.close()

    def abandon(self) -> None:
        """Let go of the store; the loop that this broker belonged to is over."""
        self._closed = True
        self._forget()
        if self.hosted:
            self.hosted.broker.turns.closed = True
            self.hosted.end()

    # Queue

    async def declare(self, topic: str, delivery: Delivery | None) -> None:
        target = self._now or await self._target()
        await target.declare(topic, delivery)

    async def publish(self, message: Message) -> bool:
        target = self._now or await self._target()
        return await target.publish(message)

    async def lease(
        self, topics: Sequence[str], limit: int, wait: float, *, worker: str, lanes: Sequence[str] = ()
    ) -> Sequence[Lease]:
        until = self.clock.now() + round(wait * 1000)
        while True:
            target = self._now or await self._target()
            leases = await target.lease(topics, limit, wait, worker=worker, lanes=lanes)
            if leases or target is self._now or self._closed:
                return leases
            wait = max(0, until - self.clock.now()) / 1000  # the store moved meanwhile

    async def extend(
        self, worker: str, tokens: Sequence[str], wait: float
    ) -> Mapping[str, Literal["cancelled", "lost"]]:
        target = self._now or await self._target()
        return await target.extend(worker, tokens, wait)

    async def ack(
        self,
        lease: Lease,
        appends: Sequence[Append] = (),
        publishes: Sequence[Message] = (),
        expect: int | None = None,
    ) -> None:
        target = self._now or await self._target()
        await target.ack(lease, appends, publishes, expect)

    async def nack(
        self,
        lease: Lease,
        *,
        error: str = "",
        not_before: int = 0,
        dead: str = "",
        publishes: Sequence[Message] = (),
    ) -> None:
        target = self._now or await self._target()
        await target.nack(lease, error=error, not_before=not_before, dead=dead, publishes=publishes)

    async def stats(self, topics: Sequence[str] = ()) -> Sequence[TopicStats]:
        target = self._now or await self._target()
        return await target.stats(topics)

    async def browse(self, topic: str, after: int = 0, limit: int = 100, *, dead: bool = False) -> Sequence[Stored]:
        target = self._now or await self._target()
        return await target.browse(topic, after, limit, dead=dead)

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
        target = self._now or await self._target()
        return await target.append(lite_topic, entries, expect=expect, lease=lease, title=title)

    async def read(
        self, lite_topic: str, after: int = -1, limit: int = 1000, since: int | None = None
    ) -> Sequence[Entry]:
        target = self._now or await self._target()
        return await target.read(lite_topic, after, limit, since)

    async def list(self, prefix: str = "", after: str = "", limit: int = 100) -> Sequence[LogInfo]:
        target = self._now or await self._target()
        return await target.list(prefix, after, limit)

    def inbox(self, client: str) -> Inbox:
        return LocalInbox(self, client)

    def is_at(self, target: object) -> bool:
        """Whether that is still who hosts."""
        return target is self._now or self._closed

    # Admin

    async def tenants(self) -> Sequence[Tenant]:
        target = self._now or await self._target()
        return await target.tenants()

    async def set_tenant(self, tenant: Tenant) -> None:
        target = self._now or await self._target()
        await target.set_tenant(tenant)

    async def discard(self, topic: str, positions: Sequence[int], publishes: Sequence[Message] = ()) -> int:
        target = self._now or await self._target()
        return await target.discard(topic, positions, publishes)

    async def health(self) -> Health:
        target = self._now or await self._target()
        return await target.health()

    async def figures(self) -> Mapping[str, float]:
        target = self._now or await self._target()
        return await target.figures()


class LocalInbox:
    """One client's `Inbox`, wherever its host is."""

    def __init__(self, broker: LocalBroker, client: str) -> None:
        self._broker = broker
        self._client = client
        self._host: object = None
        self._inbox: Inbox | None = None

    async def _now(self) -> Inbox:
        broker = self._broker
        host = broker._now or await broker._target()
        if self._inbox is None or host is not self._host:
            self._host, self._inbox = host, host.inbox(self._client)
        return self._inbox

    async def subscribe(self, lite_topic: str, after: int | None = None, exclusive: bool = False) -> None:
        await (await self._now()).subscribe(lite_topic, after, exclusive)

    async def unsubscribe(self, lite_topic: str) -> None:
        await (await self._now()).unsubscribe(lite_topic)

    async def sync(self, interests: Mapping[str, int | None]) -> None:
        await (await self._now()).sync(interests)

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


def _look(task: "asyncio.Task[None]") -> None:
    """Its error is raised to whoever asks next; nobody has to."""
    if not task.cancelled():
        task.exception()


def _nothing() -> None:
    """The store is closed by `Hosted`."""


def _forked() -> None:
    """In a forked child, what is open is the parent's: its lock ends with the parent, not with us."""
    for lock in _locks:
        lock.disown()
    _locks.clear()
    _shared.disown()


os.register_at_fork(after_in_child=_forked)
