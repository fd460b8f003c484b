"""EmbeddedBroker: the contract over memory (`state.py`), a file (`store.py`) and one event loop (`turns.py`)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from agentmesh.broker.blobs import LocalBlobs, MemoryBlobs
from agentmesh.broker.drafts import Encoded, check_text, encode, encode_task
from agentmesh.broker.embedded.health import Survey, examine, of_memory
from agentmesh.broker.embedded.inboxes import EmbeddedInbox, Inboxes
from agentmesh.broker.embedded.retention import Retention
from agentmesh.broker.embedded.state import State
from agentmesh.broker.embedded.store import Store
from agentmesh.broker.embedded.sweep import Sweep
from agentmesh.broker.embedded.tasks import LeaseRequest
from agentmesh.broker.embedded.turns import Turns
from agentmesh.clock import Clock, resolve
from agentmesh.contracts import Append, Blobs, Delivery, Health, Lease, LogInfo, Stored, Tenant, TopicStats
from agentmesh.errors import PayloadCorrupt
from agentmesh.ids import check_lite_topic, check_topic, kind_of
from agentmesh.message import CALL_DEADLINE, RUN_DEADLINE, Draft, Entry, Message, decode_message
from agentmesh.scheduling.limits import check_delivery, check_tenant
from agentmesh.scheduling.order import ANY

News = Mapping[str, Literal["cancelled", "lost"]]
Rows = list[tuple[Any, ...]]
T = TypeVar("T")

_LAST_TIME: Final = 2**53


class EmbeddedBroker:
    """A `Broker` over one `Store`, for the event loop it is made in.

    It is closed when `close` was called once for each of its `users`; `on_close` then lets go of the store.
    `retention` bounds what the store takes (bytes; 0: any size). `blobs` is where the large bodies are that its rows
    refer to; without it, beside the store's file.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        process: str = "",
        on_close: Callable[[], None] | None = None,
        retention: int = 0,
        blobs: Blobs | None = None,
    ) -> None:
        self.users = 1
        self._ended = False
        self._process = process
        self._on_close = on_close or store.close
        self._store = store
        self._clock = clock
        self._state = State(store, clock.now())
        self._inboxes = Inboxes(self._state.logs, clock)
        self._retention = Retention(store, self._state.logs, self._is_needed, retention)
        self._listeners: dict[str, asyncio.Future[News]] = {}
        self._turns = Turns(store, self._state, clock, self._tell, self._upkeep)
        self.blobs: Blobs = blobs or (LocalBlobs(store.path.parent) if store.path else MemoryBlobs())
        self.sweep = Sweep(self.blobs, store, self._state, self._turns, clock)

    # Queue

    async def declare(self, topic: str, delivery: Delivery | None) -> None:
        check_topic(topic)
        if delivery is not None:
            check_delivery(delivery)
        await self._turns.submit(self._state.remove if delivery is None else self._state.declare, topic, delivery)

    async def publish(self, message: Message) -> bool:
        message, raw = self.prepare(message)
        return await self._turns.submit(self._state.publish, message, raw, size=len(raw))

    async def lease(
        self, topics: Sequence[str], limit: int, wait: float, *, worker: str, lanes: Sequence[str] = ()
    ) -> Sequence[Lease]:
        check_text(worker)
        self._turns.check_here()
        future = self._turns.new_future()
        request = LeaseRequest(topics, limit, worker, (ANY, *lanes), self._process, future)
        try:
            self._state.request(request)  # it writes nothing, so it needs no place in the turn
            found: Sequence[Lease] = ()
            if wait <= 0:
                await self._turns.submit(_nothing)
            else:
                if self._state.offers:
                    self._turns.begin_soon()
                found = await self._turns.until(future, self._clock.now() + round(wait * 1000), ())
            if not found and request.granted:  # by a commit that the disk is still waited for
                await self._turns.settled()
            return found or request.granted
        except asyncio.CancelledError:
            if not self._turns.closed:
                for lease in request.granted:  # to nobody: give them back
                    _dismiss(self._turns.submit(self._state.nack, lease, "", 0, "", ()))
            raise
        finally:
            self._state.withdraw(request)
            future.cancel()

    async def extend(self, worker: str, tokens: Sequence[str], wait: float) -> News:
        self._turns.check_open()
        if self._turns.syncing:
            await self._turns.settled()
        news: dict[str, Literal["cancelled", "lost"]] = {}
        now = self._clock.now()
        for token in tokens:
            task = self._state.tasks.by_token.get(token)
            if task is None or task.expires <= now:
                news[token] = "lost"
                continue
            self._state.tasks.renew(task, now + self._state.lease_time(task))
            task.worker = worker  # a new host knows its process alone
            if task.cancelled:
                news[token] = "cancelled"
        if news or wait <= 0:
            return news
        self._turns.arm()
        listener = self._listeners[worker] = self._turns.new_future()
        try:
            return await self._turns.until(listener, self._clock.now() + round(wait * 1000), {})
        finally:
            if self._listeners.get(worker) is listener:
                del self._listeners[worker]

    async def ack(
        self,
        lease: Lease,
        appends: Sequence[Append] = (),
        publishes: Sequence[Message] = (),
        expect: int | None = None,
    ) -> None:
        encoded = [(check_lite_topic(append.lite_topic), append.expect, encode(append.entries)) for append in appends]
        if expect is not None and encoded:
            encoded[0] = (encoded[0][0], expect, encoded[0][2])
        pairs = [self.prepare(message) for message in publishes]
        rows, size = _weigh([entries for _, _, entries in encoded], pairs)
        await self._turns.submit(self._state.ack, lease, encoded, pairs, size=size, rows=rows)

    async def nack(
        self,
        lease: Lease,
        *,
        error: str = "",
        not_before: int = 0,
        dead: str = "",
        publishes: Sequence[Message] = (),
    ) -> None:
        pairs = [self.prepare(message) for message in publishes]
        rows, size = _weigh((), pairs)
        await self._turns.submit(
            self._state.nack,
            lease,
            _printable(error),
            _check_time(not_before),
            _printable(dead),
            pairs,
            size=size + len(lease.message.body),
            rows=rows,
        )

    async def stats(self, topics: Sequence[str] = ()) -> Sequence[TopicStats]:
        self._turns.check_open()
        await self._turns.settled()
        dead = dict(self._store.query("count_dead"))
        return [
            self._state.stats(name, dead.get(name, 0)) for name in topics or sorted({*self._state.tasks.topics, *dead})
        ]

    async def browse(self, topic: str, after: int = 0, limit: int = 100, *, dead: bool = False) -> Sequence[Stored]:
        self._turns.check_open()
        await self._turns.settled()
        if not dead or not self._store.query("browse_dead", topic, 0, 1):
            self._state.topic(topic)
        found = []
        for position, attempts, reason, raw in self._store.query(
            "browse_dead" if dead else "browse_tasks", topic, after, limit
        ):
            task = None if dead else self._state.tasks.by_position.get(position)
            state: Literal["waiting", "running", "dead"] = "running" if task and task.token else "waiting"
            found.append(Stored(position, decode_message(raw), attempts, "dead" if dead else state, reason))
        return found

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
        rows, size = _weigh([encoded], ())
        return await self._turns.submit(
            self._state.append, lite_topic, encoded, expect, lease, title, size=size, rows=rows
        )

    async def read(
        self, lite_topic: str, after: int = -1, limit: int = 1000, since: int | None = None
    ) -> Sequence[Entry]:
        check_lite_topic(lite_topic)
        self._turns.check_open()
        if self._turns.syncing:
            await self._turns.settled()
        return self._state.logs.read(lite_topic, after, limit, since or 0)

    async def list(self, prefix: str = "", after: str = "", limit: int = 100) -> Sequence[LogInfo]:
        for part in (prefix, after):
            if part:
                check_lite_topic(part)
        self._turns.check_open()
        await self._turns.settled()
        return self._state.logs.listing(prefix, after, limit)

    def inbox(self, client: str, *, raw: bool = False) -> EmbeddedInbox:
        """The inbox of that name; `raw`: its batches hold rows of the store, for a process that passes them on."""
        return EmbeddedInbox(self._turns, self._inboxes, client, self._clock.now, raw=raw)

    # Admin

    async def tenants(self) -> Sequence[Tenant]:
        self._turns.check_open()
        return [msgspec.msgpack.decode(row[0], type=Tenant) for row in self._store.query("tenants")]

    async def set_tenant(self, tenant: Tenant) -> None:
        check_tenant(tenant)
        await self._turns.submit(self._state.set_tenant, tenant)

    async def discard(self, topic: str, positions: Sequence[int], publishes: Sequence[Message] = ()) -> int:
        pairs = [self.prepare(message) for message in publishes]
        rows, size = _weigh((), pairs)
        return await self._turns.submit(
            self._state.discard, topic, positions, pairs, size=size, rows=rows + len(positions)
        )

    async def health(self) -> Health:
        self._turns.check_open()
        now, path = self._clock.now(), self._store.path
        found = await asyncio.to_thread(examine, path, now) if path else Survey()
        found.facts["durability"] = "full" if self._store.full else "normal" if path else "none: in memory"
        found.problems += of_memory(self._state, now)
        return found.health()

    async def figures(self) -> Mapping[str, float]:
        self._turns.check_open()
        return self._turns.figures.all(self._state, self._store, self._inboxes)

    async def close(self) -> None:
        self.users -= 1
        if self.users <= 0:
            self.end()

    def end(self) -> None:
        """Do what was asked for so far, let whoever waits go, and let go of the store."""
        if self._ended:
            return
        self._ended = True
        self.sweep.end()
        self._turns.close()
        for listener in self._listeners.values():
            resolve(listener, {})
        for topic in self._state.tasks.topics.values():
            for request in topic.requests:
                resolve(request.future, ())
        self._inboxes.close()
        self._on_close()

    def abandon(self) -> None:
        """Let go of the store; the loop that this broker belonged to is over."""
        self._ended = self._turns.closed = True
        self._on_close()

    def interests(self) -> tuple[dict[str, dict[str, int | None]], dict[str, set[str]]]:
        """By client, how far each LiteTopic was read, and those that it has for itself alone."""
        return self._inboxes.interests()

    @property
    def turns(self) -> Turns:
        """For what else is written in the same transactions: the embedded registry."""
        return self._turns

    @property
    def state(self) -> State:
        """As `turns`."""
        return self._state

    def query(self, name: str, *arguments: object) -> Rows:
        """Rows of the store, as committed."""
        return self._store.query(name, *arguments)

    def prepare(self, message: Message) -> tuple[Message, bytes]:
        """The message with its default deadline, and as bytes."""
        check_lite_topic(message.log)
        if not message.deadline:
            lifetime = RUN_DEADLINE if kind_of(message.id) == "run" else CALL_DEADLINE
            message = msgspec.structs.replace(message, deadline=self._clock.now() + lifetime)
        if not 0 <= message.priority <= 9:
            raise PayloadCorrupt(f"{message.id} has priority {message.priority}, and priorities are 0 to 9.")
        _check_time(message.deadline)
        if message.not_before:
            _check_time(message.not_before)
        return message, encode_task(message)

    def _tell(self) -> None:
        """After a commit: wake the readers, and tell the workers about their leases."""
        self.sweep.told()
        if self._state.expired:
            self._inboxes.expired(self._state.expired)
        if self._state.written:
            self._inboxes.written(self._state.written)
        news: dict[str, dict[str, Literal["cancelled", "lost"]]] = {}
        for worker, token, what in self._state.news:
            news.setdefault(worker, {})[token] = what
        for worker, found in news.items():
            if worker in self._listeners:
                resolve(self._listeners[worker], found)

    def _upkeep(self) -> int:
        self._state.expired = self._retention.step(self._state.now, self._state.changes)
        return self._retention.pause(self._state.now)

    def _is_needed(self, lite_topic: str) -> bool:
        return lite_topic in self._state.tasks.by_log or self._inboxes.is_read(lite_topic)


def _weigh(appends: Sequence[Encoded], publishes: Sequence[tuple[Message, bytes]]) -> tuple[int, int]:
    """About how many rows and bytes an operation writes, so that a transaction stays within its bounds."""
    rows, size = 4, 0
    for entries in appends:
        rows += len(entries) + 1
        for _, _, content in entries:
            size += len(content)
    for _, raw in publishes:
        rows += 3
        size += len(raw)
    return rows, size


def _nothing() -> None:
    """An operation that merely waits for its turn."""


def _dismiss(future: asyncio.Future[T]) -> asyncio.Future[T]:
    """Let it fail without anybody looking."""
    future.add_done_callback(lambda done: None if done.cancelled() else done.exception())
    return future


def _check_time(when: int) -> int:
    if not 0 <= when <= _LAST_TIME:
        raise PayloadCorrupt(f"{when} is no time in milliseconds since 1970.")
    return when


def _printable(text: str) -> str:
    """An error's text may hold what came from outside: lone surrogates become question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()
