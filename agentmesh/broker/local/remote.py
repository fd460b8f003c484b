"""The contract over a `Link`: what a process does that does not host."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from agentmesh.broker.drafts import check_text, encode
from agentmesh.broker.local.folder import Folder
from agentmesh.broker.local.link import Link, Request
from agentmesh.broker.local.wire import BatchRow, LeaseRow, Row, decoder, read_rows
from agentmesh.card import AgentCard, read_card, write_card
from agentmesh.contracts import (
    Append,
    Batch,
    Delivery,
    Health,
    Lease,
    LogInfo,
    Registration,
    Stored,
    Tenant,
    TopicStats,
)
from agentmesh.errors import LeaseLost, PayloadCorrupt
from agentmesh.ids import check_lite_topic, check_topic
from agentmesh.message import Draft, Entry, Message, decode_message, encode_message

News = Mapping[str, Literal["cancelled", "lost"]]

_CARDS_AT_ONCE: Final = 1000


class Belongings(msgspec.Struct):
    """What a process has at its host, and tells the next one: leases by token, inboxes with how far each LiteTopic was
    read, those that it has for itself alone, and who it registered.
    """

    tokens: dict[str, None] = {}
    inboxes: dict[str, dict[str, int | None]] = {}
    exclusive: dict[str, set[str]] = {}
    registered: dict[tuple[str, str, str], bytes] = {}

    def requests(self) -> list[Request]:
        """What makes a new host know all of it."""
        found: list[Request] = [
            ("register", (topic, version, card, instance))
            for (topic, version, instance), card in self.registered.items()
        ]
        for client, interests in self.inboxes.items():
            alone = self.exclusive.get(client, set())
            found.append(("sync", (client, {name: _past(at) for name, at in interests.items() if name not in alone})))
            found += [("subscribe", (client, name, _past(interests[name]), True)) for name in alone]
        if self.tokens:
            found.append(("claim", (list(self.tokens),)))
        return found


class Remote:
    """A broker that another process hosts."""

    def __init__(self, folder: Folder, process: str, belongings: Belongings, options: Sequence[str] = ()) -> None:
        self.has = belongings
        self.listeners: list[Callable[[str], None]] = []
        self._cards: dict[str, AgentCard] = {}
        self._found: dict[tuple[str, str], Registration] = {}
        self._routes: dict[str, Mapping[str, int]] = {}
        self._seen: set[str] = set()
        self._changes = 0
        self.link = Link(folder, process, self._restore, self._changed, self._orphaned, options)

    def _restore(self) -> list[Request]:
        self._changed(sorted({topic for topic, _ in self._found} | set(self._routes) | self._seen))
        return self.has.requests()

    def _orphaned(self, leases: Sequence[Lease]) -> None:
        """Leases that came for nobody: give them back."""
        for lease in leases:
            self.has.tokens.pop(lease.token, None)
            future = self.link.request("nack", (*_lease(lease), "", 0, "", ()), _NONE)
            future.add_done_callback(lambda done: done.cancelled() or done.exception())

    # Queue

    async def declare(self, topic: str, delivery: Delivery | None) -> None:
        check_topic(topic)
        await self.link.ask("declare", (topic, delivery), _NONE)

    async def publish(self, message: Message) -> bool:
        check_lite_topic(message.log)
        return await self.link.ask("publish", (encode_message(message),), _BOOL)  # type: ignore[no-any-return]

    async def lease(
        self, topics: Sequence[str], limit: int, wait: float, *, worker: str, lanes: Sequence[str] = ()
    ) -> Sequence[Lease]:
        check_text(worker)
        return await self.link.ask(  # type: ignore[no-any-return]
            "lease", (list(topics), limit, wait, worker, list(lanes)), self._read_leases, ()
        )

    def _read_leases(self, raw: msgspec.Raw) -> Sequence[Lease]:
        leases = [Lease(decode_message(message), *rest) for message, *rest in _LEASES(raw) or ()]
        for lease in leases:
            self.has.tokens[lease.token] = None
        return leases

    async def extend(self, worker: str, tokens: Sequence[str], wait: float) -> News:
        news: News = await self.link.ask("extend", (worker, list(tokens), wait), _NEWS, {}) or {}
        for token, what in news.items():
            if what == "lost":
                self.has.tokens.pop(token, None)
        return news

    async def ack(
        self,
        lease: Lease,
        appends: Sequence[Append] = (),
        publishes: Sequence[Message] = (),
        expect: int | None = None,
    ) -> None:
        rows = [(check_lite_topic(each.lite_topic), each.expect, encode(each.entries)) for each in appends]
        if expect is not None and rows:
            rows[0] = (rows[0][0], expect, rows[0][2])
        raws = [encode_message(message) for message in publishes]
        await self._end(lease, "ack", (*_lease(lease), rows, raws))

    async def nack(
        self,
        lease: Lease,
        *,
        error: str = "",
        not_before: int = 0,
        dead: str = "",
        publishes: Sequence[Message] = (),
    ) -> None:
        raws = [encode_message(message) for message in publishes]
        arguments = (*_lease(lease), _printable(error), _time(not_before), _printable(dead), raws)
        await self._end(lease, "nack", arguments)

    async def _end(self, lease: Lease, operation: str, arguments: Sequence[Any]) -> None:
        try:
            await self.link.ask(operation, arguments, _NONE)
        except LeaseLost:
            self.has.tokens.pop(lease.token, None)
            raise
        self.has.tokens.pop(lease.token, None)

    async def stats(self, topics: Sequence[str] = ()) -> Sequence[TopicStats]:
        return await self.link.ask("stats", (list(topics),), _STATS)  # type: ignore[no-any-return]

    async def browse(self, topic: str, after: int = 0, limit: int = 100, *, dead: bool = False) -> Sequence[Stored]:
        found: list[Stored] = []
        more = True
        while more and len(found) < limit:
            arguments = (topic, found[-1].position if found else after, limit - len(found), dead)
            rows, more = await self.link.ask("browse", arguments, _STORED)
            found += [Stored(position, decode_message(raw), *rest) for position, raw, *rest in rows]
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
        held = _lease(lease) if lease else None
        arguments = (lite_topic, encode(entries), expect, held, title)
        return await self.link.ask("append", arguments, _INT)  # type: ignore[no-any-return]

    async def read(
        self, lite_topic: str, after: int = -1, limit: int = 1000, since: int | None = None
    ) -> Sequence[Entry]:
        check_lite_topic(lite_topic)
        rows, more = await self.link.ask("read", (lite_topic, after, limit, since or 0), _ROWS)
        while more and len(rows) < limit:
            following, more = await self.link.ask("read", (lite_topic, rows[-1][0], limit - len(rows), 0), _ROWS)
            rows += following
        return read_rows(rows)

    async def list(self, prefix: str = "", after: str = "", limit: int = 100) -> Sequence[LogInfo]:
        for part in (prefix, after):
            if part:
                check_lite_topic(part)
        return await self.link.ask("list", (prefix, after, limit), _LOGS)  # type: ignore[no-any-return]

    def inbox(self, client: str) -> "RemoteInbox":
        return RemoteInbox(self, client)

    # Admin

    async def tenants(self) -> Sequence[Tenant]:
        return await self.link.ask("tenants", (), _TENANTS)  # type: ignore[no-any-return]

    async def set_tenant(self, tenant: Tenant) -> None:
        await self.link.ask("set_tenant", (tenant,), _NONE)

    async def discard(self, topic: str, positions: Sequence[int], publishes: Sequence[Message] = ()) -> int:
        raws = [encode_message(message) for message in publishes]
        return await self.link.ask("discard", (topic, [*positions], raws), _INT)  # type: ignore[no-any-return]

    async def health(self) -> Health:
        return await self.link.ask("health", (), _HEALTH)  # type: ignore[no-any-return]

    async def figures(self) -> Mapping[str, float]:
        return await self.link.ask("figures", (), _FIGURES)  # type: ignore[no-any-return]

    async def close(self) -> None:
        await self.link.close()

    # Registry

    async def register(self, registration: Registration) -> None:
        topic, version, instance = registration.topic, registration.version, registration.instance
        card = write_card(registration.card)
        await self.link.ask("register", (topic, version, card, instance), _NONE)
        self.has.registered[topic, version, instance] = card
        self._forget(topic)

    async def renew(self, instance: str) -> None:
        await self.link.ask("renew", (instance,), _NONE)

    async def remove(self, topic: str, instance: str = "") -> None:
        for key in [key for key in self.has.registered if key[0] == topic and instance in ("", key[2])]:
            del self.has.registered[key]
        await self.link.ask("remove", (topic, instance), _NONE)
        self._forget(topic)

    async def get(self, topic: str, version: str = "") -> Registration:
        """From memory, which the host keeps current."""
        found = self._found.get((topic, version))
        while found is None:
            changes = self._changes
            row = await self.link.ask("registration", (topic, version), _CARD)
            for found in await self._with_cards([row]):
                if changes == self._changes:  # else it may be out of date by now
                    self._found[topic, version] = found
        return found

    async def registrations(self, topic: str = "", *, alive: bool = False) -> Sequence[Registration]:
        """Those of a topic, or of all."""
        rows = await self.link.ask("registrations", (topic, alive), _CARDS)
        if not topic and not alive:  # all there are: other cards are of the past
            digests = {row[2] for row in rows}
            self._cards = {digest: card for digest, card in self._cards.items() if digest in digests}
        return await self._with_cards(rows)

    async def route(self, topic: str, weights: Mapping[str, int] | None = None) -> Mapping[str, int]:
        if weights is not None or topic not in self._routes:
            changes, sent = self._changes, None if weights is None else dict(weights)
            found: Mapping[str, int] = await self.link.ask("route", (topic, sent), _ROUTE)
            if changes == self._changes:
                self._routes[topic] = found
            return found
        return self._routes[topic]

    async def _with_cards(self, rows: Sequence[Any]) -> Sequence[Registration]:
        """Registrations of these rows; a card is fetched once."""
        wanted = [row[:2] for row in rows if row[2] not in self._cards]
        for at in range(0, len(wanted), _CARDS_AT_ONCE):
            fetched = await self.link.ask("cards", (wanted[at : at + _CARDS_AT_ONCE],), _RAW_CARDS)
            self._cards.update((digest, read_card(raw)) for digest, raw in fetched.items())
        self._seen.update(row[0] for row in rows)
        return [
            Registration(topic, version, self._cards[digest], alive=alive, renewed=renewed, siblings=siblings)
            for topic, version, digest, alive, renewed, siblings in rows
            if digest in self._cards
        ]

    def _changed(self, topics: Sequence[str]) -> None:
        for topic in topics:
            self._forget(topic)
            for listener in self.listeners:
                listener(topic)

    def _forget(self, topic: str) -> None:
        self._changes += 1
        self._routes.pop(topic, None)
        for key in [key for key in self._found if key[0] == topic]:
            del self._found[key]


class RemoteInbox:
    """One client's `Inbox` at the host."""

    def __init__(self, remote: Remote, client: str) -> None:
        self._link = remote.link
        self._has = remote.has
        self._client = client

    async def subscribe(self, lite_topic: str, after: int | None = None, exclusive: bool = False) -> None:
        check_lite_topic(lite_topic)
        alone = self._has.exclusive.setdefault(self._client, set())
        (alone.add if exclusive else alone.discard)(lite_topic)
        self._interests()[lite_topic] = after
        await self._link.ask("subscribe", (self._client, lite_topic, after, exclusive), _NONE)

    async def unsubscribe(self, lite_topic: str) -> None:
        self._interests().pop(lite_topic, None)
        self._link.tell("unsubscribe", (self._client, check_lite_topic(lite_topic)))

    async def sync(self, interests: Mapping[str, int | None]) -> None:
        for name in interests:
            check_lite_topic(name)
        before = self._interests()
        self._has.exclusive.pop(self._client, None)
        self._has.inboxes[self._client] = {
            name: before.get(name) if after is None else after for name, after in interests.items()
        }
        await self._link.ask("sync", (self._client, dict(interests)), _NONE)

    async def poll(self, limit: int, wait: float) -> Sequence[Batch]:
        rows = await self._link.ask("poll", (self._client, limit, wait), _BATCHES, [])
        batches = []
        for name, entries, revoked in rows or ():
            if revoked:
                self._interests().pop(name, None)
                self._has.exclusive.get(self._client, set()).discard(name)
            try:
                batches.append(Batch(name, read_rows(entries), revoked))
            except PayloadCorrupt:
                batches.append(Batch(name, ()))  # one log that cannot be read keeps nobody from the others
        return batches

    async def commit(self, offsets: Mapping[str, int]) -> None:
        interests = self._interests()
        for name, offset in offsets.items():
            if name in interests:
                interests[name] = offset
            else:
                check_lite_topic(name)
        self._link.tell("commit", (self._client, dict(offsets)))

    async def close(self) -> None:
        self._has.inboxes.pop(self._client, None)
        self._has.exclusive.pop(self._client, None)
        await self._link.ask("close_inbox", (self._client,), _NONE)

    def _interests(self) -> dict[str, int | None]:
        return self._has.inboxes.setdefault(self._client, {})


def _reader(kind: Any) -> Callable[[Any], Any]:
    return decoder(kind).decode


_NONE: Final = _reader(Any)
_BOOL: Final = _reader(bool)
_INT: Final = _reader(int)
_LEASES: Final = _reader(list[LeaseRow] | None)
_NEWS: Final = _reader(dict[str, Literal["cancelled", "lost"]] | None)
_STATS: Final = _reader(list[TopicStats])
_STORED: Final = _reader(tuple[list[tuple[int, bytes, int, Literal["waiting", "running", "dead"], str]], bool])
_ROWS: Final = _reader(tuple[list[Row], bool])
_LOGS: Final = _reader(list[LogInfo])
_BATCHES: Final = _reader(list[BatchRow] | None)
_TENANTS: Final = _reader(list[Tenant])
_HEALTH: Final = _reader(Health)
_FIGURES: Final = _reader(dict[str, float])
_CARD: Final = _reader(tuple[str, str, str, bool, int, int])
_CARDS: Final = _reader(list[tuple[str, str, str, bool, int, int]])
_RAW_CARDS: Final = _reader(dict[str, bytes])
_ROUTE: Final = _reader(dict[str, int])


def _lease(lease: Lease) -> tuple[str, int, str]:
    return lease.token, lease.attempt, lease.message.id


def _past(position: int | None) -> int:
    """Where to go on at a new host, which knows nothing of what was committed."""
    return -1 if position is None else position


def _printable(text: str) -> str:
    """An error's text may hold what came from outside: lone surrogates become question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _time(when: int) -> int:
    if not 0 <= when <= 2**53:
        raise PayloadCorrupt(f"{when} is no time in milliseconds since 1970.")
    return when
