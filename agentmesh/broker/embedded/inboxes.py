"""The inboxes of all clients: InterestSet and ReadySets in memory, fed after each commit.

No step takes long, however many LiteTopics a client reads: what concerns all of them goes in slices.
"""

import asyncio
import time
from asyncio import Future
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, islice
from typing import Any, Final

from agentmesh.broker.embedded.logs import Head, Logs
from agentmesh.broker.embedded.turns import Turns
from agentmesh.broker.interest import InterestSet
from agentmesh.broker.ready import ReadySet
from agentmesh.clock import Clock, Timer, resolve
from agentmesh.contracts import Batch
from agentmesh.errors import PayloadCorrupt
from agentmesh.ids import check_lite_topic
from agentmesh.scheduling.timers import Timers

LOCK: Final = 30_000
SILENCE: Final = 180_000
COMMITTED: Final = 10_000
"""How many committed offsets a client keeps; the oldest go first."""
RETURNING: Final = 1000
"""How many clients that were forgotten for their silence are told, when they return, what they held exclusively."""

_BATCH_ENTRIES: Final = 256
_BATCH_BYTES: Final = 8_000_000
_SLICE: Final = 500
_HEADS: Final = 50
_SWEEP: Final = 8
_TURN: Final = 0.001
"""How long (seconds) a sync may hold the loop."""

_NOTHING: Final = (0, -1)
"""What a client committed of a log that it does not know."""


class Client:
    """What the broker knows of one inbox. `committed` holds the number of a log and an offset: a log of the same name
    that begins anew has another number. `changed` are the names that changed while a `sync` goes on.
    """

    __slots__ = ("changed", "committed", "name", "ready", "revoked", "seen", "silent", "waiter")

    def __init__(self, name: str, now: int) -> None:
        self.name = name
        self.ready = ReadySet()
        self.committed: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self.revoked: dict[str, None] = {}
        self.changed: set[str] | None = None
        self.seen = now
        self.silent = False
        self.waiter: Future[None] | None = None

    def wake(self) -> None:
        if self.waiter is not None:
            resolve(self.waiter, None)


class Inboxes:
    """All clients. Nothing here is stored: a client that finds itself forgotten syncs its set again."""

    def __init__(self, logs: Logs, clock: Clock) -> None:
        self.wakes = self.polls = 0
        self._logs = logs
        self._clock = clock
        self._interests: InterestSet[Client] = InterestSet()
        self._clients: dict[str, Client] = {}
        self._silence: Timers[str] = Timers(1000)
        self._timer: Timer | None = None
        self._leaving: deque[Client] = deque()
        self._lost: OrderedDict[str, dict[str, None]] = OrderedDict()

    def client(self, name: str, now: int) -> Client:
        """The client of that name, seen now."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = Client(name, now)
            client.revoked = self._lost.pop(name, {})
            self._silence.set(name, now + SILENCE + 1)
            self._arm()
        client.seen = now
        return client

    def subscribe(self, client: Client, name: str, after: int | None, exclusive: bool = False) -> None:
        if client.changed is not None:
            client.changed.add(name)
        self._subscribe(client, name, after, self._logs.head_of(name), exclusive)
        if client.ready:
            client.wake()

    def _subscribe(self, client: Client, name: str, after: int | None, head: Head, exclusive: bool = False) -> None:
        for loser in self._interests.add(client, name, exclusive=exclusive):
            loser.ready.removed(name)
            loser.revoked[name] = None
            loser.wake()
        client.revoked.pop(name, None)
        number, last = head
        if after is None:
            known, offset = client.committed.get(name, _NOTHING)
            after = offset if known == number else -1
        client.ready.subscribed(name, after, last)

    def unsubscribe(self, client: Client, name: str) -> None:
        if client.changed is not None:
            client.changed.add(name)
        if self._interests.remove(client, name):
            client.ready.removed(name)

    def sync(self, client: Client, interests: Mapping[str, int | None]) -> Generator[None, None, None]:
        """Make this the whole set; between its slices others have their turn.

        What is subscribed or unsubscribed meanwhile stays so, and a later sync takes the place of this one. Names are
        checked before anything changes.
        """
        mine = client.changed = set()
        work = chain(
            self._check(client, interests),
            self._leave_others(client, interests, mine),
            self._join(client, interests, mine),
        )
        try:
            for _ in work:
                yield
                if client.changed is not mine:
                    return
        finally:
            if client.changed is mine:
                client.changed = None

    def _check(self, client: Client, names: Iterable[str]) -> Iterator[None]:
        for part in _slices(names, _SLICE):
            for name in part:
                if name not in client.ready:
                    check_lite_topic(name)
            yield

    def _leave_others(
        self, client: Client, interests: Mapping[str, int | None], changed: Collection[str]
    ) -> Iterator[None]:
        for part in _slices(self._interests.names(client), _SLICE):
            for name in part:
                if name not in interests and name not in changed and self._interests.remove(client, name):
                    client.ready.removed(name)
            yield

    def _join(self, client: Client, interests: Mapping[str, int | None], changed: Collection[str]) -> Iterator[None]:
        for part in _slices(interests, _SLICE):
            new = [name for name in part if not _is_there(client, name, interests[name])]
            for few in _slices(new, _HEADS):
                heads = self._logs.heads(few)
                for name in few:
                    if name not in changed:
                        self._subscribe(client, name, interests[name], heads[name])
                if client.ready:
                    client.wake()
                yield
            yield

    def written(self, heads: Mapping[str, int]) -> None:
        """These LiteTopics have new entries, committed, and end at these offsets now: wake their readers."""
        for name, head in heads.items():
            for client in self._interests.clients(name):
                if client.ready.written(name, head):
                    self.wakes += 1
                    client.wake()

    def take(self, client: Client, limit: int, now: int, *, raw: bool = False) -> list[Batch]:
        """What is ready now, locked; its entries as rows of the store if `raw`."""
        read: Callable[[str, int, int], Sequence[Any]] = self._logs.rows if raw else self._logs.read
        self.polls += 1
        client.ready.release(now)
        batches = [Batch(name, [], revoked=True) for name in islice(client.revoked, max(0, limit))]
        for batch in batches:
            del client.revoked[batch.lite_topic]
        room = _BATCH_BYTES
        while len(batches) < limit and room > 0:
            names = client.ready.take(1 if raw else limit - len(batches), now + LOCK)
            if not names:
                break
            for name in names:
                try:
                    entries = read(name, client.ready.position(name), _BATCH_ENTRIES)
                except PayloadCorrupt:
                    batches.append(Batch(name, ()))  # one log that cannot be read keeps nobody from the others
                    continue
                if raw:
                    entries, room = _fitting(entries, room)
                if entries:
                    batches.append(Batch(name, entries))
                else:
                    client.ready.committed(name, client.ready.position(name), -1)
        return batches

    def commit(self, client: Client, offsets: Mapping[str, int]) -> None:
        committed = client.committed
        for name, offset in offsets.items():
            if name not in client.ready:
                check_lite_topic(name)
            log = self._logs.look(name)
            if log is None:
                continue
            head = log.next - 1
            known, before = committed.get(name, _NOTHING)
            committed[name] = log.id, max(min(offset, head), before if known == log.id else -1)
            committed.move_to_end(name)
            client.ready.committed(name, offset, head)
        while len(committed) > COMMITTED:
            committed.popitem(last=False)
        if client.ready:
            client.wake()

    def forget(self, client: Client) -> None:
        """It reads nothing any more. What it read is taken away in slices."""
        if self._clients.get(client.name) is client:
            del self._clients[client.name]
            self._silence.remove(client.name)
        client.changed = None
        client.wake()
        self._leaving.append(client)
        if len(self._leaving) == 1:
            self._take_leave()

    def _take_leave(self) -> None:
        client = self._leaving[0]
        dropped = self._interests.drop(client, _SLICE)
        for name, exclusive in dropped.items():
            client.ready.removed(name)
            if exclusive and client.silent:
                self._lose(client.name, name)
        if len(dropped) < _SLICE:
            self._leaving.popleft()
        if self._leaving:
            asyncio.get_running_loop().call_soon(self._take_leave)

    def _lose(self, client: str, name: str) -> None:
        """A client that fell silent no longer holds `name` exclusively: it is told when it returns."""
        back = self._clients.get(client)
        if back is None:
            self._lost.setdefault(client, {})[name] = None
            if len(self._lost) > RETURNING:
                self._lost.popitem(last=False)
        elif name not in back.ready:
            back.revoked[name] = None
            back.wake()

    def expired(self, names: Iterable[str]) -> None:
        """These LiteTopics were removed: one of the same name begins anew."""
        for name in names:
            for client in self._interests.clients(name):
                client.ready.subscribed(name, -1, -1)

    def interests(self) -> tuple[dict[str, dict[str, int | None]], dict[str, set[str]]]:
        """By client, how far each LiteTopic was read, and those that it has for itself alone."""
        read: dict[str, dict[str, int | None]] = {}
        alone: dict[str, set[str]] = {}
        for client in self._clients.values():
            names = self._interests.names(client)
            read[client.name] = {name: client.ready.position(name) for name in names}
            alone[client.name] = {name for name in names if self._interests.is_exclusive(name)}
        return read, alone

    def counts(self) -> tuple[int, int]:
        """How many clients there are, and how many subscriptions they have."""
        return len(self._clients), sum(len(self._interests.names(client)) for client in self._clients.values())

    def is_read(self, name: str) -> bool:
        """Whether anybody subscribes to it."""
        return bool(self._interests.clients(name))

    def knows(self, client: Client) -> bool:
        """False once it was forgotten."""
        return self._clients.get(client.name) is client

    def close(self) -> None:
        """Let every poll return."""
        if self._timer:
            self._timer.cancel()
        for client in self._clients.values():
            client.wake()

    def _arm(self) -> None:
        when = self._silence.next()
        if when is not None and self._timer is None:
            self._timer = self._clock.call_at(when, self._sweep)

    def _sweep(self) -> None:
        """Forget the clients that have been silent for three minutes; one that waits in a poll is not silent."""
        self._timer = None
        now = self._clock.now()
        for name in self._silence.due(now, _SWEEP):
            client = self._clients[name]
            if client.waiter is not None:
                client.seen = now
            if now - client.seen > SILENCE:
                client.silent = True
                self.forget(client)
            else:
                self._silence.set(name, client.seen + SILENCE + 1)
        self._arm()


def _is_there(client: Client, name: str, after: int | None) -> bool:
    """Whether subscribing once more would change nothing."""
    return name in client.ready if after is None else client.ready.rests(name, after)


def _fitting(rows: Sequence[Any], room: int) -> tuple[Sequence[Any], int]:
    """As many of these rows as there is room for (bytes), one at least, and the room that is left."""
    for count, row in enumerate(rows):
        room -= len(row[3])
        if room <= 0:
            return rows[: max(1, count)], 0
    return rows, room


def _slices(items: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _go_on(steps: Iterator[None]) -> bool:
    """Take steps for as long as a sync may hold the loop. Whether that was to their end."""
    until = time.perf_counter() + _TURN
    return all(time.perf_counter() <= until for _ in steps)


class EmbeddedInbox:
    """One client's `Inbox`; `raw`: its batches hold rows of the store, for whoever passes them on."""

    def __init__(self, turns: Turns, inboxes: Inboxes, name: str, now: Callable[[], int], *, raw: bool = False) -> None:
        self._raw = raw
        self._turns = turns
        self._inboxes = inboxes
        self._name = name
        self._now = now

    async def subscribe(self, lite_topic: str, after: int | None = None, exclusive: bool = False) -> None:
        self._inboxes.subscribe(self._client(), check_lite_topic(lite_topic), after, exclusive)

    async def unsubscribe(self, lite_topic: str) -> None:
        self._inboxes.unsubscribe(self._client(), check_lite_topic(lite_topic))

    async def sync(self, interests: Mapping[str, int | None]) -> None:
        rest = self.begin_sync(interests)
        if rest:
            await rest

    def begin_sync(self, interests: Mapping[str, int | None]) -> Coroutine[Any, Any, None] | None:
        """Begin `sync` here and now; what is left of it, if that would hold the loop."""
        client = self._client()
        steps = self._inboxes.sync(client, dict(interests))  # a copy: the caller's may change meanwhile
        return None if _go_on(steps) else self._sync_on(client, steps)

    async def _sync_on(self, client: Client, steps: Generator[None, None, None]) -> None:
        with closing(steps):
            there = False
            while not there:
                await asyncio.sleep(0)
                self._turns.check_open()
                client.seen = self._now()
                there = _go_on(steps)

    async def poll(self, limit: int, wait: float) -> Sequence[Batch]:
        client = self._client()
        until = self._now() + round(wait * 1000)
        while not self._turns.closed and self._inboxes.knows(client):
            if self._turns.syncing:
                await self._turns.settled()
            now = self._now()
            batches = self._inboxes.take(client, limit, now, raw=self._raw)
            if batches or now >= until:
                return batches
            release = client.ready.next_release()
            client.waiter = self._turns.new_future()
            try:
                await self._turns.until(client.waiter, until if release is None else min(until, release), None)
            finally:
                client.waiter = None
                client.seen = self._now()
        return ()

    async def commit(self, offsets: Mapping[str, int]) -> None:
        self._inboxes.commit(self._client(), offsets)

    async def close(self) -> None:
        self._inboxes.forget(self._client())

    def _client(self) -> Client:
        self._turns.check_open()
        return self._inboxes.client(self._name, self._now())
