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
from agentmesh.broker.local.folder import Folder, disown_sockets
from agentmesh.broker.local.hosted import Durability, Hosted, disown_locks
from agentmesh.broker.local.inbox import LocalInbox
from agentmesh.broker.local.remote import Belongings, Remote
from agentmesh.broker.process import name_process
from agentmesh.clock import Clock
from agentmesh.contracts import (
    Append,
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

_REFUSE: Final = 30.0
"""For how long (s) others are refused after a host could not be started."""

_shared: Final[Shared["LocalBroker"]] = Shared()


async def open_local(
    folder: str | Path, clock: Clock, *, durability: Durability = "normal", alone: bool = True, retention: int = 0
) -> "LocalBroker":
    """The mesh in `folder`, which is made if it is not there, readable by its owner alone.

    The first process hosts it in its own loop, unless `alone` is false: then a child hosts from the start. `retention`
    bounds the file (bytes; 0: any size); that of whoever hosts counts. What a dead process held is handed out again at
    once. Raises `BrokerUnavailable` if the folder cannot be read or written or is on a network file system, if a newer
    version wrote or hosts it, or if a program that hosts it does not answer (and names its pid).
    """
    place = Folder(folder)
    broker = _shared.open(
        f"local://{place.path}",
        lambda forget: LocalBroker(place, clock, forget, durability=durability, alone=alone, retention=retention),
    )
    try:
        await broker.ready()
    except BaseException:
        await broker.close()
        raise
    return broker


class LocalBroker:
    """A `Broker` over a folder, for the event loop it is made in. It is closed when `close` was called once for each of
    its `users`."""

    def __init__(
        self,
        folder: Folder,
        clock: Clock,
        forget: Callable[[], None],
        *,
        durability: Durability,
        alone: bool,
        retention: int = 0,
    ) -> None:
        self.users = 1
        self.folder = folder
        self.clock = clock
        self.process = name_process()
        self.hosted: Hosted | None = None
        self.remote: Remote | None = None
        self.listeners: list[Callable[[str], None]] = []
        self._durability: Durability = durability
        self._retention = retention
        self._options = ("--durability", durability, *(("--retention", str(retention)) if retention else ()))
        self._forget = forget
        self._closed = self._hosted_once = False
        self._now: EmbeddedBroker | Remote | None = None
        self._leaving: Hosted | None = None
        self._alone_until = 0.0
        self._alone_because = ""
        lock = folder.take("program", self.process) if alone else None
        if lock:
            self._host(Hosted(folder, lock, self.process, clock, durability, retention))
        self._belongings = Belongings()
        self._opening: asyncio.Task[None] | None = None
        self._begin(self._open(self.hosted))

    def _host(self, hosted: Hosted) -> None:
        self.hosted = hosted
        self._now = hosted.broker
        hosted.registry.listen(self._changed)
        hosted.broker.turns.on_deposed = self._deposed

    async def _open(self, hosted: Hosted | None) -> None:
        if hosted is None:
            await self._join()
        elif hosted is self.hosted:
            await hosted.listen(self.folder, self._rung)

    async def _join(self) -> None:
        """Become a client of whoever hosts."""
        remote = Remote(self.folder, self.process, self._belongings, self._options)
        remote.listeners.append(self._changed)
        try:
            await remote.link.open()
        except BaseException:
            await remote.close()
            raise
        self.remote = self._now = remote

    def _rung(self) -> str:
        """Somebody is at the door: the store moves out, or why not."""
        if asyncio.get_running_loop().time() < self._alone_until:
            return self._alone_because
        self._move()
        return ""

    def _deposed(self) -> None:
        get_logger().warning("another process hosts by now, since the lock was removed", folder=str(self.folder.path))
        self._move()

    def _move(self) -> None:
        """Let the store move out. What is asked for meanwhile waits."""
        if self.hosted and not self._closed:
            self._leaving, self.hosted, self._now = self.hosted, None, None
            self._begin(self._hand_over(self._leaving))

    async def _hand_over(self, hosted: Hosted) -> None:
        get_logger().debug("another process is here: the store moves to a host", folder=str(self.folder.path))
        self._leaving = None
        self._belongings = hosted.hand_over()
        self._hosted_once = True
        await self._rejoin()

    async def _rejoin(self) -> None:
        """As `_join`; what this process hosted before it hosts again, if nobody else can."""
        try:
            await self._join()
        except BrokerUnavailable as error:
            if not self._hosted_once or not await self._take_back(error):
                raise

    async def _take_back(self, error: BrokerUnavailable) -> bool:
        """No host can be started: go on here, for this process alone. Whether that could be done."""
        lock = self.folder.take("program", self.process)
        if lock is None:
            return False
        get_logger().error("no host can be started: this process goes on alone", error=str(error))
        hosted = Hosted(self.folder, lock, self.process, self.clock, self._durability, self._retention)
        try:
            await hosted.restore(self._belongings)
            self._alone_until = asyncio.get_running_loop().time() + _REFUSE
            self._alone_because = f"The program with pid {os.getpid()} has {self.folder.path} for itself: {error}"
            await hosted.listen(self.folder, self._rung)
        except BaseException:
            hosted.end()
            raise
        self._host(hosted)
        for topic in {topic for topic, _, _ in self._belongings.registered}:
            self._changed(topic)
        return True

    async def ready(self) -> None:
        """Wait until there is a host. Raises `BrokerUnavailable`."""
        await self.target()

    async def target(self) -> EmbeddedBroker | Remote:
        """Whoever hosts."""
        return self._now or await self._target()

    async def _target(self) -> EmbeddedBroker | Remote:
        """Whoever hosts, as soon as somebody does. Each call after a failure tries anew."""
        while True:
            if self._closed:
                raise BrokerUnavailable("This broker is closed.")
            if self._opening is None:
                if self._now:
                    return self._now
                self._begin(self._rejoin())
            opening = self._opening
            assert opening
            try:
                await asyncio.shield(opening)
            except asyncio.CancelledError:
                if not opening.cancelled():
                    raise  # it is we who are to end
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
        for hosted in (self.hosted, self._leaving):
            if hosted:
                hosted.end()
        if self.remote:
            await self.remote.close()

    def abandon(self) -> None:
        """Let go of the store; the loop that this broker belonged to is over."""
        self._closed = True
        self._forget()
        for hosted in (self.hosted, self._leaving):
            if hosted:
                hosted.abandon()
        if self.remote:
            self.remote.link.abandon()

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


def _look(task: "asyncio.Task[None]") -> None:
    """Its error is raised to whoever asks next; nobody has to."""
    if not task.cancelled():
        task.exception()


def _forked() -> None:
    """In a forked child, what is open is the parent's: it ends with the parent, not with us."""
    disown_locks()
    disown_sockets()
    _shared.disown()


os.register_at_fork(after_in_child=_forked)
