"""The LiteTopics in memory: heads and tails of those in use; the others are read from the store when asked for."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Final

from agentmesh.broker.embedded.store import Changes, Store, prefix_range
from agentmesh.contracts import LogInfo
from agentmesh.ids import kind_of
from agentmesh.message import DAY, Entry, decode_entry

HOUR: Final = 3_600_000
_LOGS_IN_MEMORY: Final = 20_000
_TAILS_IN_MEMORY: Final = 64_000_000
_TAIL_ENTRIES: Final = 64
_TTL: Final = {"call": DAY}
_LONG_TTL: Final = 30 * DAY

_TIMED_CALL: Final = re.compile(r"call-[01][0-9a-f]{31}\Z")
"""Names in order of time: one after the newest is not there, and need not be looked for. Hashes have no 0 or 1."""

Row = tuple[int, str | None, int, bytes]


def ttl(name: str) -> int:
    """How long (ms) a LiteTopic outlives its deadline and its last append: a day for calls, 30 days for all others."""
    return _TTL.get(kind_of(name), _LONG_TTL)


class LogState:
    """Head and tail of one LiteTopic. `tail` holds its last entries as rows, without a gap."""

    __slots__ = ("deadline", "expires", "id", "name", "next", "tail")

    def __init__(self, name: str, number: int, following: int, deadline: int, expires: int) -> None:
        self.name = name
        self.id = number
        self.next = following
        self.deadline = deadline
        self.expires = expires
        self.tail: list[Row] = []


class Logs:
    """All LiteTopics of a store. Changes are collected for the turn's transaction; memory is ahead of it until then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._logs: dict[str, LogState] = {}
        self._tail_size = 0
        self._next_id = 1
        self._newest_call = ""
        self._turn_ids: dict[tuple[int, str], int] = {}
        self._turn_removed: set[str] = set()

    def load(self) -> None:
        """Forget what memory holds and start from the store."""
        last = self._store.query("last_lite_topic")[0][0]
        self._logs.clear()
        self._turn_ids.clear()
        self._turn_removed.clear()
        self._tail_size = 0
        self._next_id = last + 1
        self._newest_call = self._store.query("newest_call")[0][0]

    def find(self, name: str) -> LogState | None:
        """The LiteTopic, if it exists."""
        log = self._logs.get(name)
        if log is None:
            if name > self._newest_call and _TIMED_CALL.match(name):
                return None
            rows = self._store.query("find_lite_topic", name)
            if not rows or name in self._turn_removed:
                return None
            number, deadline, expires, following = rows[0]
            log = self._logs[name] = LogState(name, number, following, deadline, expires)
        return log

    def create(self, name: str, title: str, deadline: int, now: int, changes: Changes) -> LogState:
        """A LiteTopic that does not exist yet; its first entry belongs to the same turn."""
        log = LogState(name, self._next_id, 0, deadline, _expires(name, deadline, now))
        self._next_id += 1
        self._logs[name] = log
        if name > self._newest_call and _TIMED_CALL.match(name):
            self._newest_call = name
        changes.insert_lite_topic.append((name, log.id, title, now, deadline, log.expires))
        changes.rows += 1
        return log

    def append(self, log: LogState, entry_id: str, content: bytes, now: int, changes: Changes) -> int:
        """Add an entry and return its offset; an id that is there already keeps its own."""
        if entry_id:
            known = self._offset_of(log, entry_id)
            if known is not None:
                return known
            self._turn_ids[log.id, entry_id] = log.next
        offset = log.next
        log.next = offset + 1
        changes.insert_entry.append((log.id, offset, now, entry_id or None, content))
        changes.rows += 1
        changes.size += len(content)
        log.tail.append((offset, entry_id, now, content))
        self._tail_size += len(content)
        if len(log.tail) > 2 * _TAIL_ENTRIES:
            self._tail_size -= sum(len(row[3]) for row in log.tail[:-_TAIL_ENTRIES])
            del log.tail[:-_TAIL_ENTRIES]
        if now > log.deadline:
            self._touch(log, now, changes)
        return offset

    def _touch(self, log: LogState, now: int, changes: Changes) -> None:
        expires = _expires(log.name, log.deadline, now)
        if expires != log.expires:
            log.expires = expires
            changes.update_expires.append((expires, log.name))
            changes.rows += 1

    def head(self, name: str) -> int:
        """The offset of the last entry; −1 if there is none."""
        log = self.find(name)
        return log.next - 1 if log else -1

    def read(self, name: str, after: int, limit: int, since: int = 0) -> list[Entry]:
        """Entries past `after`, from the tail if it reaches back that far."""
        log = self.find(name)
        if log is None or after + 1 >= log.next or limit < 1:
            return []
        tail = log.tail
        rows: Sequence[Row]
        if tail and tail[0][0] <= after + 1 and not since:
            start = max(0, after + 1 - tail[0][0])
            rows = tail[start : start + limit]
        else:
            rows = self._store.query("read_entries", log.id, after, since, limit)
        return [decode_entry(offset, entry_id or "", time, content) for offset, entry_id, time, content in rows]

    def listing(self, prefix: str, after: str, limit: int) -> list[LogInfo]:
        """By name."""
        low, high = prefix_range(prefix)
        return [LogInfo(*row) for row in self._store.query("list_lite_topics", after, low, high, limit)]

    def settle(self) -> None:
        """After a turn: give back memory beyond the bounds, oldest first."""
        self._turn_ids.clear()
        self._turn_removed.clear()
        if len(self._logs) > _LOGS_IN_MEMORY:
            for name in list(islice(self._logs, _LOGS_IN_MEMORY // 4)):
                self._forget(name)
        if self._tail_size > _TAILS_IN_MEMORY:
            for log in self._logs.values():
                log.tail.clear()
            self._tail_size = 0

    def remove_expired(self, now: int, limit: int, changes: Changes) -> list[str]:
        """Delete up to `limit` LiteTopics whose time is over; returns their names."""
        names = []
        for name, number in self._store.query("expired_lite_topics", now // HOUR, limit):
            changes.delete_entries.append((number,))
            changes.delete_lite_topic.append((name,))
            changes.rows += 2
            self._forget(name)
            self._turn_removed.add(name)
            names.append(name)
        return names

    def _forget(self, name: str) -> None:
        log = self._logs.pop(name, None)
        if log:
            self._tail_size -= sum(len(row[3]) for row in log.tail)

    def _offset_of(self, log: LogState, entry_id: str) -> int | None:
        known = self._turn_ids.get((log.id, entry_id))
        if known is None:
            rows = self._store.query("find_entry", log.id, entry_id)
            known = rows[0][0] if rows else None
        return known


def _expires(name: str, deadline: int, touched: int) -> int:
    """The hour (since 1970) in which a LiteTopic's time is over."""
    return (max(deadline, touched) + ttl(name)) // HOUR + 1
