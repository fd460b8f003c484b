"""What the host does for its clients."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from agentmesh.broker.drafts import check_text
from agentmesh.broker.embedded.inboxes import EmbeddedInbox
from agentmesh.broker.embedded.tasks import LeaseRequest
from agentmesh.broker.local.session import Answer, LeaseAnswer, Session, TurnAnswer
from agentmesh.broker.local.wire import Appends, BatchRow, LeaseRow, Row
from agentmesh.card import read_card, write_card
from agentmesh.contracts import Delivery, Lease, Registration, Tenant
from agentmesh.ids import check_lite_topic
from agentmesh.message import Message, decode_message, encode_message
from agentmesh.scheduling.order import ANY

if TYPE_CHECKING:
    from agentmesh.broker.local.host import Host

CardRow = tuple[str, str, str, bool, int, int]
"""A registration without its card: topic, version, digest, alive, renewed, siblings."""


_PAGE: Final = 1000
_REPLY: Final = 8_000_000
"""About how many bytes a reply has at most; whoever wants more asks again."""

_BATCHES: Final = 1000


class Operations:
    """What the host does for its clients. A write answers once it is stored; `number` is the request's."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self._broker = host.broker
        self._state = host.broker.state
        self._turns = host.broker.turns
        self._registry = host.registry

    def recall(self, value: Any) -> Any:
        """The answer that was stored; of leases, those that are still held."""
        if not isinstance(value, list):
            return value
        tasks = self._state.tasks
        held = [(token, tasks.by_token[token]) for token in value if token in tasks.by_token]
        for _, task in held:
            tasks.renew(task, self._state.now + self._state.lease_time(task))
        return _lease_rows(
            [Lease(tasks.message(task), token, task.attempt, task.raised, task.expires) for token, task in held]
        )

    def publish(self, session: Session, number: int, raw: bytes) -> None:
        message, raw = self._broker.prepare(decode_message(raw))
        self._turns.submit_for(Answer(session, number), self._state.publish, message, raw, size=len(raw))

    def ack(
        self, session: Session, number: int, token: str, attempt: int, call: str, appends: Appends, raws: list[bytes]
    ) -> None:
        pairs = [self._broker.prepare(decode_message(raw)) for raw in raws]
        rows, size = 4 + 3 * len(pairs), sum(map(len, raws))
        for name, _, entries in appends:
            check_lite_topic(name)
            rows += len(entries) + 1
            size += _size(entries)
        lease = _lease(token, attempt, call)
        self._turns.submit_for(Answer(session, number), self._state.ack, lease, appends, pairs, size=size, rows=rows)

    def nack(
        self,
        session: Session,
        number: int,
        token: str,
        attempt: int,
        call: str,
        error: str,
        not_before: int,
        dead: str,
        raws: list[bytes],
    ) -> None:
        pairs = [self._broker.prepare(decode_message(raw)) for raw in raws]
        task = self._state.tasks.by_token.get(token)
        size = sum(map(len, raws)) + (len(task.message.body) if task else 0)
        self._turns.submit_for(
            Answer(session, number),
            self._state.nack,
            _lease(token, attempt, call),
            error,
            not_before,
            dead,
            pairs,
            size=size,
            rows=4 + 3 * len(pairs),
        )

    def append(
        self,
        session: Session,
        number: int,
        name: str,
        entries: list[tuple[str, str, bytes]],
        expect: int | None,
        lease: tuple[str, int, str] | None,
        title: str,
    ) -> None:
        check_lite_topic(name)
        check_text(title)
        self._turns.submit_for(
            Answer(session, number),
            self._state.append,
            name,
            entries,
            expect,
            _lease(*lease) if lease else None,
            title,
            size=_size(entries),
            rows=5 + len(entries),
        )

    def lease(
        self, session: Session, number: int, topics: list[str], limit: int, wait: float, worker: str, lanes: list[str]
    ) -> None:
        check_text(worker)
        self._turns.begin_soon()
        answer = LeaseAnswer(session, number, _lease_rows)
        request = LeaseRequest(topics, limit, worker, (ANY, *lanes), session.name, answer)
        answer.withdraw = lambda: self._state.withdraw(request)
        try:
            self._state.request(request)
        except Exception:
            answer.give_up()
            raise
        if wait <= 0:
            self._turns.submit_for(TurnAnswer(answer), _nothing)
        else:
            clock = self._host.clock
            answer.timer = clock.call_at(clock.now() + round(wait * 1000), answer.let_go)

    def cancel(self, session: Session, _: int, other: int) -> None:
        """Nobody waits for the answer to request `other` any more."""
        waiting = session.open.get(other)
        if isinstance(waiting, LeaseAnswer) and not waiting.is_granted:
            waiting.give_up()
        elif waiting is None or isinstance(waiting, Answer):
            return  # it is answered, or about to be
        else:
            waiting.cancel()
        session.answer(other, None)

    def keep(self, session: Session, number: int, numbers: list[int]) -> None:
        """All that the client still waits for, after a broken connection."""
        session.keep(numbers)
        session.answer(number, None)

    def here(self, session: Session, number: int) -> None:
        """What came before is all that the process has at its host."""
        if session.name not in self._host.returning:
            return
        told = [each for each in session.open.values() if isinstance(each, asyncio.Task)]
        self._host.begin(session, number, self._host.arrived(session.name, told))

    def claim(self, session: Session, number: int, tokens: list[str]) -> None:
        """Leases that this process holds since before this host."""
        tasks = self._state.tasks
        for token in tokens:
            task = tasks.by_token.get(token)
            if task and task.holder == session.name and task.expires > self._host.clock.now():
                tasks.renew(task, self._host.clock.now() + self._state.lease_time(task))
        session.answer(number, None)

    def extend(self, session: Session, number: int, worker: str, tokens: list[str], wait: float) -> None:
        self._host.begin(session, number, self._broker.extend(worker, tokens, wait))

    def declare(self, session: Session, number: int, topic: str, delivery: Delivery | None) -> None:
        self._host.begin(session, number, self._broker.declare(topic, delivery))

    def stats(self, session: Session, number: int, topics: list[str]) -> None:
        self._host.begin(session, number, self._broker.stats(topics))

    def browse(self, session: Session, number: int, topic: str, after: int, limit: int, dead: bool) -> None:
        self._host.begin(session, number, self._browse(topic, after, limit, dead))

    async def _browse(self, topic: str, after: int, limit: int, dead: bool) -> Any:
        found = await self._broker.browse(topic, after, min(limit, _PAGE), dead=dead)
        rows = [(each.position, encode_message(each.message), each.attempt, each.state, each.reason) for each in found]
        return _bounded(rows, 1, limit)

    def read(self, session: Session, number: int, name: str, after: int, limit: int, since: int) -> None:
        if self._turns.syncing:
            self._host.begin(session, number, self._read_settled(name, after, limit, since))
        else:
            session.answer(number, self._rows(name, after, limit, since))

    async def _read_settled(self, name: str, after: int, limit: int, since: int) -> tuple[Sequence[Row], bool]:
        await self._turns.settled()
        return self._rows(name, after, limit, since)

    def _rows(self, name: str, after: int, limit: int, since: int) -> tuple[Sequence[Row], bool]:
        self._turns.check_open()
        return _bounded(self._state.logs.rows(name, after, min(limit, _PAGE), since), 3, limit)

    def list_logs(self, session: Session, number: int, prefix: str, after: str, limit: int) -> None:
        self._host.begin(session, number, self._broker.list(prefix, after, limit))

    def subscribe(
        self, session: Session, number: int, client: str, name: str, after: int | None, exclusive: bool
    ) -> None:
        session.answer(number, _at_once(self._inbox(session, client).subscribe(name, after, exclusive)))

    def unsubscribe(self, session: Session, number: int, client: str, name: str) -> None:
        session.answer(number, _at_once(self._inbox(session, client).unsubscribe(name)))

    def sync(self, session: Session, number: int, client: str, interests: dict[str, int | None]) -> None:
        rest = self._inbox(session, client).begin_sync(interests)  # now: what is asked for next comes after it
        if rest:
            self._host.begin(session, number, rest)
        else:
            session.answer(number, None)

    def poll(self, session: Session, number: int, client: str, limit: int, wait: float) -> None:
        self._host.begin(session, number, self._poll(session, client, limit, wait))

    async def _poll(self, session: Session, client: str, limit: int, wait: float) -> list[BatchRow]:
        batches = await self._inbox(session, client).poll(min(limit, _BATCHES), wait)
        return [(batch.lite_topic, list(batch.entries), batch.revoked) for batch in batches]  # type: ignore[arg-type]

    def commit(self, session: Session, number: int, client: str, offsets: dict[str, int]) -> None:
        session.answer(number, _at_once(self._inbox(session, client).commit(offsets)))

    def close_inbox(self, session: Session, number: int, client: str) -> None:
        session.inboxes.discard(client)
        self._host.begin(session, number, self._inbox(session, client).close())

    def _inbox(self, session: Session, client: str) -> EmbeddedInbox:
        session.inboxes.add(client)
        return self._broker.inbox(client, raw=True)

    def tenants(self, session: Session, number: int) -> None:
        self._host.begin(session, number, self._broker.tenants())

    def set_tenant(self, session: Session, number: int, tenant: Tenant) -> None:
        self._host.begin(session, number, self._broker.set_tenant(tenant))

    def discard(self, session: Session, number: int, topic: str, positions: list[int], raws: list[bytes]) -> None:
        pairs = [self._broker.prepare(decode_message(raw)) for raw in raws]
        rows, size = 4 + 3 * len(pairs) + len(positions), sum(map(len, raws))
        self._turns.submit_for(
            Answer(session, number), self._state.discard, topic, positions, pairs, size=size, rows=rows
        )

    def health(self, session: Session, number: int) -> None:
        self._host.begin(session, number, self._broker.health())

    def figures(self, session: Session, number: int) -> None:
        self._host.begin(session, number, self._broker.figures())

    def register(self, session: Session, number: int, topic: str, version: str, card: bytes, instance: str) -> None:
        session.instances.add(instance)
        registration = Registration(topic, version, read_card(card), instance)
        self._host.begin(session, number, self._registry.register(registration))

    def renew(self, session: Session, number: int, instance: str) -> None:
        self._host.begin(session, number, self._registry.renew(instance))

    def remove(self, session: Session, number: int, topic: str, instance: str) -> None:
        self._host.begin(session, number, self._registry.remove(topic, instance))

    def route(self, session: Session, number: int, topic: str, weights: dict[str, int] | None) -> None:
        self._host.begin(session, number, self._registry.route(topic, weights))

    def registration(self, session: Session, number: int, topic: str, version: str) -> None:
        self._host.begin(session, number, self._registration(topic, version))

    async def _registration(self, topic: str, version: str) -> CardRow:
        await self._host.returning.wait()
        return self._card_row(await self._registry.get(topic, version))

    def registrations(self, session: Session, number: int, topic: str, alive: bool) -> None:
        self._host.begin(session, number, self._registrations(topic, alive))

    async def _registrations(self, topic: str, alive: bool) -> Sequence[CardRow]:
        await self._host.returning.wait()
        found = self._registry.of(topic) if topic else await self._registry.list(alive=alive)
        return [self._card_row(each) for each in found]

    def cards(self, session: Session, number: int, wanted: Sequence[tuple[str, str]]) -> None:
        self._host.begin(session, number, self._cards(wanted))

    async def _cards(self, wanted: Sequence[tuple[str, str]]) -> Mapping[str, bytes]:
        cards = {}
        for topic, version in wanted:
            for each in self._registry.of(topic):
                if each.version == version:
                    cards[self._registry.digest(topic, version)] = write_card(each.card)
        return cards

    def _card_row(self, each: Registration) -> CardRow:
        digest = self._registry.digest(each.topic, each.version)
        return each.topic, each.version, digest, each.alive, each.renewed, each.siblings

    def ping(self, session: Session, number: int) -> None:
        session.answer(number, None)

    def bye(self, session: Session, number: int) -> None:
        """The process leaves in an orderly way."""
        self._host.part(session, number)


def _at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise AssertionError("It waits.")


def _lease(token: str, attempt: int, call: str) -> Lease:
    """What is needed of a lease to end it."""
    return Lease(Message(id=call, topic=""), token, attempt, 0, 0)


def _lease_rows(leases: Sequence[Lease]) -> list[LeaseRow]:
    return [
        (encode_message(lease.message), lease.token, lease.attempt, lease.raised, lease.expires) for lease in leases
    ]


def _bounded(rows: Sequence[Any], column: int, limit: int) -> tuple[Sequence[Any], bool]:
    """As many of these rows as a reply holds, one at least, and whether there may be more; `column` has the bytes."""
    size = 0
    for count, row in enumerate(rows):
        size += len(row[column])
        if size > _REPLY and count:
            return rows[:count], True
    return rows, len(rows) == _PAGE < limit


def _size(entries: Sequence[tuple[str, str, bytes]]) -> int:
    return sum(len(content) for _, _, content in entries)


def _nothing() -> None:
    """An operation that merely waits for its turn."""
