"""Importing: the records of an export into a mesh.

Everything may be done twice: entries have ids, a publish of a known id is a no-op, and what is set is set again. A
journal in the mesh tells how far an import is, so that one that was cut short goes on there.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import msgspec

from agentmesh.card import read_card
from agentmesh.contracts import Delivery, Quota, Registration, Tenant
from agentmesh.errors import ConfigError, Conflict, PayloadCorrupt, TopicNotFound
from agentmesh.message import Draft, Message, decode_message
from agentmesh.runtime.transfer.frames import Frame, FrameReader, Readable, cut_short
from agentmesh.runtime.transfer.history import draft_of
from agentmesh.runtime.transfer.journal import Journal
from agentmesh.runtime.transfer.large import Incoming
from agentmesh.runtime.transfer.place import Place
from agentmesh.runtime.transfer.placing import Placing
from agentmesh.runtime.transfer.records import (
    AgentRecord,
    BlobRecord,
    DeadRecord,
    End,
    Header,
    LogRecord,
    Record,
    RouteRecord,
    TaskRecord,
    TenantRecord,
    TopicRecord,
    decode_records,
    entry_of,
)
from agentmesh.runtime.transfer.sofar import Sofar

_AT_ONCE: Final = 100
_SOON: Final = 3_600_000
"""A deadline nearer than this (ms) could pass before the entries of its call are here."""


@dataclass(slots=True)
class Imported:
    """What an import did. `sofar` counts what the export holds; `known` of its calls were here before; `anew` tasks
    that had begun begin again. `notes` say what stayed as it was here.
    """

    sofar: Sofar = field(default_factory=Sofar)
    resumed: bool = False
    known: int = 0
    anew: int = 0
    position: int = 0
    notes: list[str] = field(default_factory=list)


async def import_mesh(
    place: Place,
    file: Readable,
    name: str,
    *,
    begin_anew: bool = False,
    watch: Callable[[Imported], None] = lambda _: None,
) -> Imported:
    """Take in an export to its end. `watch` is told after each frame.

    Raises `PayloadCorrupt` for what is no whole export: what came before the damage is in the mesh then, and the same
    import may be run again. Raises `Conflict` for tasks that had begun on a topic whose agents are at work here, unless
    they may `begin_anew`, `QuotaExceeded` where limits of this mesh refuse a task, `BrokerUnavailable` and
    `RegistryUnavailable`.
    """
    reader = FrameReader(file, name)
    await asyncio.to_thread(reader.begin)
    done = Imported()
    importer: _Import | None = None
    frames = reader.frames()
    while frame := await asyncio.to_thread(_following, frames):
        records = decode_records(frame.content, name)
        if importer is None:
            importer = await _begin(place, records, done, begin_anew=begin_anew)
        await importer.take(frame.number, records, name)
        done.position = frame.end
        watch(done)
    if not done.sofar.ended:
        raise PayloadCorrupt(cut_short(name, reader.position))
    return done


def check_whole(file: Readable, name: str) -> None:
    """Read a file to its end, and do nothing. Raises `PayloadCorrupt` for what is no whole export. It blocks."""
    reader = FrameReader(file, name)
    reader.begin()
    last: Frame | None = None
    for last in reader.frames():  # noqa: B007 - only the last counts
        pass
    records = decode_records(last.content, name) if last else []
    if not records or not isinstance(records[-1], End):
        raise PayloadCorrupt(cut_short(name, reader.position))


def _following(frames: Iterator[Frame]) -> Frame | None:
    return next(frames, None)


async def _begin(place: Place, records: Sequence[Record], done: Imported, *, begin_anew: bool) -> "_Import":
    header = records[0] if records else None
    if not isinstance(header, Header):
        raise PayloadCorrupt("The export does not begin with its header: export it again.")
    journal = Journal(place.broker, header.export)
    await journal.open()
    done.resumed = journal.frames > 0
    return _Import(place, header, journal, done, begin_anew=begin_anew)


class _Import:
    def __init__(self, place: Place, header: Header, journal: Journal, done: Imported, *, begin_anew: bool) -> None:
        self._broker = place.broker
        self._registry = place.registry
        self._clock = place.clock
        self._journal = journal
        self._done = done
        self._begin_anew = begin_anew
        self._large = Incoming(place.blobs, place.clock.now())
        self._instance = f"import-{header.export}"
        self._placing = Placing(place.broker, place.clock, header.export, self._large.draft)
        self._tenants: list[Tenant] = []
        self._topics: list[TopicRecord] = []
        self._alive: dict[str, bool] = {}
        self._together: list[Callable[[], Coroutine[Any, Any, None]]] = []

    async def take(self, number: int, records: Sequence[Record], name: str) -> None:
        """Take in a frame; of one that is in the mesh already, what the later ones need."""
        is_new = number >= self._journal.frames
        for record in records:
            if self._done.sofar.ended:
                raise PayloadCorrupt(f"{name} goes on after its end: export it again.")
            if isinstance(record, End) and record.counts != dict(self._done.sofar.counts):
                raise PayloadCorrupt(f"{name} does not hold what it says at its end: export it again.")
            self._done.sofar.add(record)
            if isinstance(record, BlobRecord):
                await self._apply()
                await self._large.take(record)
            elif isinstance(record, TenantRecord):
                self._tenants.append(record.tenant)
            elif isinstance(record, TopicRecord):
                self._topics.append(record)
            if is_new:
                await self._take(record)
        await self._apply()
        if is_new:
            await self._journal.passed(number)

    async def _take(self, record: Record) -> None:
        match record:
            case LogRecord():
                await self._later(partial(self._log, record))
            case TaskRecord() if not record.history:
                await self._later(partial(self._waiting, record))
            case _:
                await self._apply()
                await self._take_alone(record)

    async def _take_alone(self, record: Record) -> None:
        match record:
            case TenantRecord():
                await self._tenant(record.tenant)
            case AgentRecord():
                await self._agent(record)
            case RouteRecord():
                await self._route(record)
            case TopicRecord():
                await self._topic(record.name)
            case TaskRecord():
                await self._begun(record)
            case DeadRecord():
                await self._dead(record)
            case End():
                await self._finish()
            case _:
                pass

    async def _later(self, one: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it together with others that need not wait for each other."""
        self._together.append(one)
        if len(self._together) >= _AT_ONCE:
            await self._apply()

    async def _apply(self) -> None:
        some, self._together = self._together, []
        for error in await asyncio.gather(*(each() for each in some), return_exceptions=True):
            if error:
                raise error

    async def _tenant(self, tenant: Tenant) -> None:
        """Its weight and ceiling at once; its limits when all is there, so that they refuse nothing of it."""
        found = await self._tenant_here(tenant.name)
        if found is None:
            await self._broker.set_tenant(_unlimited(tenant))
        elif found not in (tenant, _unlimited(tenant)):
            self._note(f"Tenant {tenant.name} keeps what is set for it here.")

    async def _tenant_here(self, name: str) -> Tenant | None:
        return next((each for each in await self._broker.tenants() if each.name == name), None)

    async def _agent(self, record: AgentRecord) -> None:
        card = read_card(record.card)
        registration = Registration(record.topic, record.version, card, self._instance, renewed=self._clock.now())
        try:
            await self._registry.register(registration)
        except (Conflict, ConfigError) as error:
            self._note(f"The card of {record.topic} {record.version} was not registered: {error}")
        else:
            await self._registry.remove(record.topic, self._instance)

    async def _route(self, record: RouteRecord) -> None:
        try:
            if not await self._registry.route(record.topic):
                await self._registry.route(record.topic, record.weights)
            elif await self._registry.route(record.topic) != record.weights:
                self._note(f"{record.topic} keeps the route that it has here.")
        except (TopicNotFound, ConfigError) as error:
            self._note(f"The route of {record.topic} was not set: {error}")

    async def _topic(self, name: str) -> None:
        try:
            await self._broker.browse(name, 0, 1)
        except TopicNotFound:
            await self._journal.makes(name)
            await self._broker.declare(name, Delivery())

    async def _log(self, record: LogRecord) -> None:
        if record.call:
            first = await self._broker.read(record.name, -1, 1)
            if first and first[0].id.startswith("@"):  # a publish began it: the call is this mesh's own
                self._done.known += not record.more
                return
        drafts = [self._large.draft(draft_of(entry_of(row))) for row in record.rows]
        if record.call == "ended":
            drafts = [self._timeless(draft) for draft in drafts]
        if drafts:
            await self._broker.append(record.name, drafts, title=record.title)

    def _timeless(self, draft: Draft) -> Draft:
        """A call that has ended keeps its end: entries are as old as they are here, and count up to a deadline only."""
        data = draft.data
        if (
            draft.type != "submitted"
            or not isinstance(data, dict)
            or data.get("deadline", 0) > self._clock.now() + _SOON
        ):
            return draft
        return msgspec.structs.replace(draft, data={**data, "deadline": 0})

    async def _waiting(self, record: TaskRecord) -> None:
        await self._published(self._message(record))

    async def _published(self, message: Message) -> None:
        try:
            self._done.known += not await self._broker.publish(message)
        except Conflict:
            self._note(f"{message.id} is another call here: its key was used with another input.")

    async def _begun(self, record: TaskRecord) -> None:
        message = self._message(record)
        if await self._is_alive(message.topic) and not self._begin_anew:
            raise Conflict(
                f"Agents of {message.topic} are at work here, and {message.id} had begun: it would begin anew before "
                "what it recorded is here. Stop them until the import is done, or pass --begin-anew."
            )
        try:
            if not await self._placing.begun(message, [entry_of(row) for row in record.history]):
                self._done.anew += 1
        except Conflict:
            self._note(f"{message.id} is another call here: its key was used with another input.")

    async def _dead(self, record: DeadRecord) -> None:
        message = self._message(record)
        try:
            placed = await self._placing.dead(message, record.reason, [entry_of(row) for row in record.history])
        except Conflict:
            placed = False
        if not placed:
            self._note(f"The dead letter {message.id} was not placed: it is another call here, or somebody has it.")

    def _message(self, record: TaskRecord | DeadRecord) -> Message:
        return self._large.message(decode_message(record.message))

    async def _is_alive(self, topic: str) -> bool:
        if topic not in self._alive:
            try:
                self._alive[topic] = (await self._registry.get(topic)).alive
            except TopicNotFound:
                self._alive[topic] = False
        return self._alive[topic]

    async def _finish(self) -> None:
        """Everything is there: now the limits hold."""
        for topic in self._topics:
            if topic.delivery and topic.name in self._journal.topics:
                try:
                    await self._broker.declare(topic.name, topic.delivery)
                except ConfigError as error:
                    without = msgspec.structs.replace(topic.delivery, rate=None, quota=Quota())
                    await self._broker.declare(topic.name, without)
                    self._note(f"{topic.name} has no rate and no quota here: {error}")
        for tenant in self._tenants:
            if await self._tenant_here(tenant.name) == _unlimited(tenant) != tenant:
                try:
                    await self._broker.set_tenant(tenant)
                except ConfigError as error:
                    self._note(f"Tenant {tenant.name} has no limits here: {error}")

    def _note(self, text: str) -> None:
        self._done.notes.append(text)


def _unlimited(tenant: Tenant) -> Tenant:
    return msgspec.structs.replace(tenant, running=0, waiting=0, rate=None)
