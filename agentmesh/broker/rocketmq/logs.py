"""The LiteTopics: sending entries, reading them at an offset, and what this process knows of those it wrote."""

import asyncio
from collections import OrderedDict
from typing import Final
from weakref import WeakValueDictionary

from agentmesh.broker.drafts import Encoded
from agentmesh.broker.rocketmq.client import Producer
from agentmesh.broker.rocketmq.entries import Written, outgoing, read_records
from agentmesh.broker.rocketmq.names import Names
from agentmesh.broker.rocketmq.remoting import Remoting, lite_queue
from agentmesh.errors import BrokerUnavailable, Conflict
from agentmesh.message import Entry

_VIEWS: Final = 20_000
_PULL: Final = 500
_PATIENCE: Final = 10.0
_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.1


class View:
    """What this process knows of one LiteTopic. What lies below `tail` was seen; `ids` are the offsets of those entries
    by their ids, once it was read from the start. `pending` are messages that were stored and not seen yet.
    """

    __slots__ = ("ids", "lock", "pending", "tail")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.tail: int | None = None
        self.ids: dict[str, int] | None = None
        self.pending: dict[str, int] = {}


class Logs:
    """Appends and reads of this process. A read sees whatever this process wrote before."""

    def __init__(self, producer: Producer, remoting: Remoting, names: Names) -> None:
        self._producer = producer
        self._remoting = remoting
        self._names = names
        self._views: OrderedDict[str, View] = OrderedDict()
        self._met: dict[str, None] = {}
        self._publishing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def view(self, name: str) -> View:
        """What is known of it; the longest unused are forgotten."""
        view = self._views.get(name)
        if view is None:
            view = self._views[name] = View()
            while len(self._views) > _VIEWS and self._forget():
                pass
        else:
            self._views.move_to_end(name)
        return view

    def publishing(self, name: str) -> asyncio.Lock:
        """Held while a task of this log is published."""
        lock = self._publishing.get(name)
        if lock is None:
            lock = self._publishing[name] = asyncio.Lock()
        return lock

    def is_known(self, name: str) -> bool:
        """Whether this process wrote to it or found something there, not long ago."""
        return name in self._views or name in self._met

    async def append(
        self, name: str, entries: Encoded, *, title: str = "", expect: int | None = None, kind: str = ""
    ) -> int:
        """Write what is not there by its id; the offset of the first entry, which can be read now."""
        view = self.view(name)
        async with view.lock:
            await self._catch_up(name, view, kind, whole=expect is not None or any(each[0] for each in entries))
            if expect is not None and view.tail != expect:
                raise Conflict(f"{name} goes on at offset {view.tail}, not {expect}: somebody else appended. Read on.")
            if not entries:
                return view.tail or 0
            known = None if view.ids is None else view.ids.get(entries[0][0])
            sent = await self._send(name, view, entries, title, kind)
            seen = await self._settle(name, view, kind)
            return known if known is not None else seen[sent[0]]

    async def send(
        self, name: str, entries: Encoded, *, first: bool = False, kind: str = "", title: str = ""
    ) -> list[str]:
        """Write entries that have no ids or are known to be new; the ids of their messages. They can be read soon."""
        view = self.view(name)
        async with view.lock:
            return await self._send(name, view, entries, title, kind, first=first)

    async def post(self, name: str, kind: str, content: bytes, *, title: str, first: bool) -> None:
        """Write an entry in any order with others, and keep no account of it."""
        await self._producer.send(outgoing(self._names.parent_of(kind), name, "", content, title, first=first))

    async def read(self, name: str, after: int, limit: int, since: int | None = None, kind: str = "") -> list[Entry]:
        """Entries past the offset `after`, not older than `since`."""
        await self._see(name, kind)
        begin = max(after + 1, 0)
        queue = self._queue(name, kind)
        if since is not None:
            begin = max(begin, await self._remoting.offset_at(queue, since))
        entries: list[Entry] = []
        while len(entries) < limit:
            pulled = await self._remoting.pull(queue, begin, min(_PULL, limit - len(entries)))
            found = [each.entry for each in read_records(pulled.records)]
            entries += [each for each in found if since is None or each.time >= since]
            gone = not found and begin < pulled.next
            begin = pulled.next
            if begin >= pulled.max or not (found or gone):
                break
        if entries:
            self._remember(name)
        return entries

    async def pull(self, name: str, offset: int, kind: str = "") -> list[Written]:
        """What lies at `offset` and after it, as far as one request brings it."""
        return read_records((await self._remoting.pull(self._queue(name, kind), offset, _PULL)).records)

    async def head(self, name: str, kind: str = "") -> int:
        """The offset that the next entry gets, after those that this process wrote."""
        await self._see(name, kind)
        return await self._remoting.max_offset(self._queue(name, kind))

    async def _see(self, name: str, kind: str) -> None:
        """Wait until what this process wrote can be read."""
        view = self._views.get(name)
        if view and view.pending:
            async with view.lock:
                await self._settle(name, view, kind)

    def _remember(self, name: str) -> None:
        self._met[name] = None
        if len(self._met) > _VIEWS:
            del self._met[next(iter(self._met))]

    def _queue(self, name: str, kind: str) -> str:
        return lite_queue(self._names.parent_of(kind) if kind else self._names.parent(name), name)

    async def _send(
        self, name: str, view: View, entries: Encoded, title: str, kind: str, *, first: bool | None = None
    ) -> list[str]:
        parent = self._names.parent_of(kind) if kind else self._names.parent(name)
        sent: list[str] = []
        new: set[str] = set()
        for entry_id, _, content in entries:
            if entry_id and (entry_id in new or (view.ids is not None and entry_id in view.ids)):
                continue
            new.add(entry_id)
            begins = not view.tail if first is None else first
            message = outgoing(parent, name, entry_id, content, title, first=begins and not sent)
            sent.append(await self._producer.send(message))
            view.pending[sent[-1]] = -1
        return sent

    async def _catch_up(self, name: str, view: View, kind: str, *, whole: bool) -> None:
        """Know where it ends and, if it has to be the `whole`, which ids are there."""
        if whole and view.ids is None:
            view.tail, view.ids = 0, {}
        if view.tail is None:
            view.tail = 0 if view.pending else await self._remoting.max_offset(self._queue(name, kind))
        elif view.ids is not None:
            while await self._look(name, view, kind):
                pass

    async def _settle(self, name: str, view: View, kind: str) -> dict[str, int]:
        """Wait until all that was sent can be read; the offsets, by message."""
        if view.tail is None:
            view.tail = 0
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + _PATIENCE, _PAUSE
        offsets: dict[str, int] = {}
        while view.pending:
            if not await self._look(name, view, kind, offsets):
                if loop.time() > until:
                    view.pending.clear()
                    raise BrokerUnavailable(
                        f"{name}: what was stored cannot be read after {_PATIENCE:g} s. Is the broker behind with its "
                        "dispatching, or its disk full? `agentmesh doctor` tells."
                    )
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
        return offsets

    async def _look(self, name: str, view: View, kind: str, offsets: dict[str, int] | None = None) -> bool:
        """See what is new; whether there was anything."""
        assert view.tail is not None
        found = await self.pull(name, view.tail, kind)
        for entry, message_id in found:
            if offsets is not None:
                offsets[message_id] = entry.offset
            view.pending.pop(message_id, None)
            if view.ids is not None and not entry.id.startswith("@"):
                view.ids.setdefault(entry.id, entry.offset)
            view.tail = entry.offset + 1
        return bool(found)

    def _forget(self) -> bool:
        name, view = next(iter(self._views.items()))
        if view.pending or view.lock.locked():
            self._views.move_to_end(name)
            return False
        del self._views[name]
        return True
