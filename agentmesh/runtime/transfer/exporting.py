"""Exporting: everything that a mesh holds, as records into a sink.

A mesh in use goes on meanwhile. Every log and every task that was there when the export began is in it, as it was at
some moment since; those that are made later are not, so that it comes to an end. A call is in it as what it was when
it was looked at last: as a task, with what its next attempt needs, or as a log that has ended, never as both. Calls
that were not over in the pass over the logs are looked for among the tasks, and those that are not there any more,
among the logs again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from importlib import metadata
from typing import Final

from agentmesh.card import write_card
from agentmesh.contracts import LogInfo, Stored
from agentmesh.errors import MeshError, PayloadCorrupt, TopicNotFound
from agentmesh.ids import new_token
from agentmesh.message import Entry, encode_message
from agentmesh.runtime.reading import read_all
from agentmesh.runtime.transfer.history import Kind, Told, told
from agentmesh.runtime.transfer.journal import is_journal
from agentmesh.runtime.transfer.large import Outgoing
from agentmesh.runtime.transfer.part import Sink
from agentmesh.runtime.transfer.place import Place
from agentmesh.runtime.transfer.records import (
    AgentRecord,
    DeadRecord,
    End,
    Header,
    LogRecord,
    OpenRecord,
    ProblemRecord,
    RouteRecord,
    Row,
    TaskRecord,
    TenantRecord,
    TopicRecord,
    row_of,
)
from agentmesh.runtime.transfer.sofar import Sofar

_PAGE: Final = 50
_LOGS: Final = 200
_ROWS: Final = 200
_BYTES: Final = 400_000
_ROUNDS: Final = 3
_SLACK: Final = 2_000
"""What clocks may differ by (ms)."""


async def export_mesh(place: Place, sink: Sink) -> Sofar:
    """Write all of the mesh into the sink, or what is missing there yet; what it holds then.

    Raises `BrokerUnavailable` and `RegistryUnavailable`. What cannot be read is left out, with a problem that says so.
    """
    if not sink.sofar.ended:
        await _Export(place, sink).run()
    await sink.finish()
    return sink.sofar


class _Export:
    def __init__(self, place: Place, sink: Sink) -> None:
        self._broker = place.broker
        self._registry = place.registry
        self._place = place
        self._sink = sink
        self._sofar = sink.sofar
        self._large = Outgoing(place.blobs, sink.sofar.blobs)
        self._open: list[str] = []
        self._until = 0

    async def run(self) -> None:
        if self._sofar.header is None:
            version = metadata.version("agentmesh")
            await self._sink.put(Header(new_token(), self._place.clock.now(), self._place.name, version))
            await self._sink.flush()
        assert self._sofar.header
        self._until = self._sofar.header.time + _SLACK
        await self._tenants()
        await self._agents()
        topics = await self._topics()
        if self._sofar.unfinished:
            await self._rest_of(*self._sofar.unfinished)
        await self._dead_letters()
        await self._sink.flush()
        await self._logs()
        await self._sink.flush()
        for _ in range(_ROUNDS):
            for topic in topics:
                await self._tasks(topic)
            await self._dead_letters()
            await self._leftovers(last=False)
            if not self._sofar.pending:
                break
        await self._leftovers(last=True)
        await self._sink.put(End(dict(self._sofar.counts)))

    async def _tenants(self) -> None:
        for tenant in await self._broker.tenants():
            self._large.knows(tenant.name)
            if tenant.name not in self._sofar.tenants:
                await self._sink.put(TenantRecord(tenant))

    async def _agents(self) -> None:
        found = await self._registry.list(alive=False)
        for each in found:
            if (each.topic, each.version) not in self._sofar.agents:
                await self._sink.put(AgentRecord(each.topic, each.version, write_card(each.card)))
        for topic in dict.fromkeys(each.topic for each in found):
            weights = await self._registry.route(topic)
            if weights and topic not in self._sofar.routes:
                await self._sink.put(RouteRecord(topic, dict(weights)))

    async def _topics(self) -> list[str]:
        """The topics that have tasks, or may have."""
        found = await self._broker.stats()
        for each in found:
            if each.topic not in self._sofar.topics:
                await self._sink.put(TopicRecord(each.topic, each.delivery))
        return [each.topic for each in found]

    async def _logs(self) -> None:
        """Every log as it is, but those of calls that are not over."""
        while page := await self._broker.list("", self._sofar.looked, _LOGS):
            wanted = [each for each in page if each.created <= self._until and not is_journal(each)]
            for start in range(0, len(wanted), _PAGE):
                some = wanted[start : start + _PAGE]
                heads = await asyncio.gather(
                    *(self._quietly(self._broker.read(each.lite_topic, -1, _ROWS)) for each in some)
                )
                for info, head in zip(some, heads, strict=True):
                    await self._log(info, head or ())
            await self._tell_open()
            self._sofar.looked = page[-1].lite_topic

    async def _log(self, info: LogInfo, head: Sequence[Entry]) -> None:
        name = info.lite_topic
        if name in self._sofar.settled or not head:
            return
        is_whole = len(head) < _ROWS
        if head[0].type != "submitted":
            await self._tell_open()
            pages = _once(head) if is_whole else self._pages(name)
            await self._write(name, info.title, "", "", _upto(pages, info.next))
            return
        entries = head if is_whole else await self._quietly(read_all(self._broker, name)) or ()
        found = told(entries, self._place.clock.now())
        self._large.knows(found.tenant)
        if found.kind == "open" or found.end == "dead_lettered":  # which may be among the dead letters by now
            self._open.append(name)
        else:
            await self._tell_open()
            await self._write(name, info.title, found.kind, found.tenant, _once(entries))

    async def _tell_open(self) -> None:
        """Before anything with a later name: an export that goes on begins past the last name that it finds."""
        if self._open:
            names, self._open = self._open, []
            await self._sink.put(OpenRecord(names))

    async def _tasks(self, topic: str) -> None:
        async for page in self._pages_of(topic, dead=False):
            for stored, entries in page:
                if entries is None:
                    continue
                found = told(entries, self._place.clock.now())
                if found.kind in ("open", ""):
                    await self._stored(stored, found)

    async def _dead_letters(self) -> None:
        for each in await self._broker.stats():
            if not each.dead:
                continue
            async for page in self._pages_of(each.topic, dead=True):
                for stored, entries in page:
                    await self._stored(stored, told(entries or (), self._place.clock.now()))

    async def _stored(self, stored: Stored, found: Told) -> None:
        message = stored.message
        try:
            async for record in self._large.of_message(message):
                await self._sink.put(record)
            await self._bodies(message.tenant, found.history)
        except PayloadCorrupt as error:
            await self._problem(message.id, error)
        rows = [row_of(entry) for entry in found.history]
        if stored.state == "dead":
            await self._sink.put(DeadRecord(encode_message(message), stored.attempt, stored.reason, rows))
        else:
            await self._sink.put(TaskRecord(encode_message(message), stored.attempt, rows))

    async def _leftovers(self, *, last: bool) -> None:
        """Logs of calls that were open, and are neither tasks nor dead letters by now."""
        for name in sorted(self._sofar.pending):
            entries = await self._quietly(read_all(self._broker, name)) or ()
            found = told(entries, self._place.clock.now())
            if found.kind == "open" and not last:
                continue
            if found.kind == "open":
                await self._problem(name, MeshError("it is in no queue: what is exported is its log alone."))
            await self._write(name, "", found.kind, found.tenant, _once(entries))

    async def _rest_of(self, name: str, after: int) -> None:
        """A log in the middle of which the export was cut short."""
        entries = await self._quietly(self._broker.read(name, -1, 1)) or ()
        found = Told("")
        if entries and entries[0].type == "submitted":
            found = told(await read_all(self._broker, name), self._place.clock.now())
        await self._write(name, "", found.kind, found.tenant, self._pages(name, after))

    async def _write(
        self, name: str, title: str, kind: Kind, tenant: str, pages: AsyncIterator[Sequence[Entry]]
    ) -> None:
        """A log's entries in records of a bounded size, each after the bodies that it refers to."""
        rows: list[Row] = []
        size = 0
        async for page in pages:
            for entry in page:
                if len(rows) >= _ROWS or size >= _BYTES:
                    await self._sink.put(LogRecord(name, title, kind, rows, more=True))
                    rows, size = [], 0
                try:
                    await self._bodies(tenant, [entry])
                except PayloadCorrupt as error:
                    await self._problem(f"{name}, offset {entry.offset}", error)
                rows.append(row_of(entry))
                size += len(rows[-1][3])
        await self._sink.put(LogRecord(name, title, kind, rows))

    async def _bodies(self, tenant: str, entries: Sequence[Entry]) -> None:
        for entry in entries:
            async for record in self._large.of_entry(tenant, entry):
                await self._sink.put(record)

    async def _pages(self, name: str, after: int = -1) -> AsyncIterator[Sequence[Entry]]:
        """A log's entries past an offset."""
        while page := await self._quietly(self._broker.read(name, after, _ROWS)):
            yield page
            after = page[-1].offset

    async def _pages_of(self, topic: str, *, dead: bool) -> AsyncIterator[list[tuple[Stored, Sequence[Entry] | None]]]:
        """What a queue holds and is not exported yet, with the logs."""
        after = 0
        while page := await self._browse(topic, after, dead=dead):
            after = page[-1].position
            some = [
                each
                for each in page
                if each.message.created <= self._until and each.message.log not in self._sofar.settled
            ]
            logs = await asyncio.gather(*(self._quietly(read_all(self._broker, each.message.log)) for each in some))
            yield list(zip(some, logs, strict=True))

    async def _browse(self, topic: str, after: int, *, dead: bool) -> Sequence[Stored]:
        try:
            return await self._broker.browse(topic, after, _PAGE, dead=dead)
        except TopicNotFound:  # it was removed, or has dead letters alone
            return ()

    async def _quietly(self, read: Awaitable[Sequence[Entry]]) -> Sequence[Entry] | None:
        """What is read, or None with a problem if it is damaged."""
        try:
            return await read
        except PayloadCorrupt as error:
            await self._problem("A log", error)
            return None

    async def _problem(self, what: str, error: Exception) -> None:
        text = f"{what}: {error}"
        if text not in self._sofar.problems:
            await self._sink.put(ProblemRecord(text))


async def _once(entries: Sequence[Entry]) -> AsyncIterator[Sequence[Entry]]:
    yield entries


async def _upto(pages: AsyncIterator[Sequence[Entry]], end: int) -> AsyncIterator[Sequence[Entry]]:
    """The entries before the offset `end`: a log that grows all the time ends all the same."""
    async for page in pages:
        yield [entry for entry in page if entry.offset < end]
        if page[-1].offset >= end - 1:
            return
