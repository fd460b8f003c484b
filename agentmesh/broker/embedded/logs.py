"""The LiteTopics in memory: heads and tails of those in use; the others are read from the store when asked for."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec

from agentmesh.broker.embedded.store import Changes, Store, prefix_range
from agentmesh.contracts import LogInfo
from agentmesh.ids import kind_of
from agentmesh.message import DAY, Entry, decode_entry

HOUR: Final = 3_600_000
_LOGS_IN_MEMORY: Final = 20_000
_TAILS_IN_MEMORY: Final = 64_000_000
_TAIL_ENTRIES: Final = 64
_ROW_SIZE: Final = 200
"""What a row in memory takes beside its content."""
_TTL: Final = {"call": DAY}
_LONG_TTL: Final = 30 * DAY

_TIMED_CALLS: Final = "call-0", "call-2"
"""Between them are names in order of time: one after the newest is not there, and need not be looked for. Hashes have
no 0 or 1."""

Row = tuple[int, str | None, int, bytes]
Head = tuple[int, int]
"""A log's number and the offset of its last entry; (0, −1) of one that is not there."""

_NOT_THERE: Final[Head] = (0, -1)


def ttl(name: str) -> int:
    """How long (ms) a LiteTopic outlives its deadline and its last append: a day for calls, 30 days for all others."""
    return _TTL.get(kind_of(name), _LONG_TTL)


class LogState(msgspec.Struct, eq=False, gc=False):
    """Head and tail of one LiteTopic. `tail` holds its last entries as rows, without a gap; `size` is what they take
    in memory, `time` that of the last entry.

    It is in no cycle, so the garbage collector need not look at it: there are many.
    """

    name: str
    id: int
    next: int
    deadline: int
    expires: int
    time: int = 0
    size: int = 0
    tail: list[Row] = []


class Logs:
    """All LiteTopics of a store. Changes are collected for the turn's transaction; memory is ahead of it until then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._logs: OrderedDict[str, LogState] = OrderedDict()  # the least recently used first
        self._tail_size = 0
        self._next_id = 1
        self._newest_call = _TIMED_CALLS[0]
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
        self._newest_call = self._store.query("newest_call")[0][0] or _TIMED_CALLS[0]

    def __len__(self) -> int:
        """How many are in memory."""
        return len(self._logs)

    def find(self, name: str) -> LogState | None:
        """The LiteTopic, if it exists, kept in memory from now on."""
        log = self._logs.get(name)
        if log is not None:
            self._logs.move_to_end(name)
        elif log := self._load(name):
            self._logs[name] = log
        return log

    def look(self, name: str) -> LogState | None:
        """As `find`, but what only the store knows stays there: readers may look at any number of them."""
        log = self._logs.get(name)
        if log is not None:
            self._logs.move_to_end(name)
            return log
        return self._load(name)

    def _load(self, name: str) -> LogState | None:
        if self._newest_call < name < _TIMED_CALLS[1]:
            return None
        rows = self._store.query("find_lite_topic", name)
        if not rows or name in self._turn_removed:
            return None
        number, deadline, expires, following, time = rows[0]
        return LogState(name, number, following, deadline, expires, time)

    def create(self, name: str, title: str, deadline: int, now: int, changes: Changes) -> LogState:
        """A LiteTopic that does not exist yet; its first entry belongs to the same turn."""
        log = LogState(name, self._next_id, 0, deadline, _expires(name, deadline, now))
        self._next_id += 1
        self._logs[name] = log
        if self._newest_call < name < _TIMED_CALLS[1]:
            self._newest_call = name
        changes.insert_lite_topic.append((name, log.id, title, now, deadline, log.expires))
        changes.rows += 1
        return log

    def append(self, log: LogState, entry_id: str, content: bytes, now: int, changes: Changes) -> int:
        """Add an entry and return its offset; an id that is there already keeps its own. Times never decrease."""
        if entry_id:
            known = self._offset_of(log, entry_id)
            if known is not None:
                return known
            self._turn_ids[log.id, entry_id] = log.next
        offset = log.next
        log.next = offset + 1
        log.time = max(log.time, now)
        changes.insert_entry.append((log.id, offset, log.time, entry_id or None, content))
        changes.rows += 1
        changes.size += len(content)
        self._remember(log, (offset, entry_id, log.time, content))
        if now > log.deadline:
            self._touch(log, now, changes)
        return offset

    def _remember(self, log: LogState, row: Row) -> None:
        tail = log.tail
        tail.append(row)
        size = len(row[3]) + _ROW_SIZE
        if len(tail) > 2 * _TAIL_ENTRIES:
            size -= sum(len(row[3]) + _ROW_SIZE for row in tail[:-_TAIL_ENTRIES])
            del tail[:-_TAIL_ENTRIES]
        log.size += size
        self._tail_size += size

    def _touch(self, log: LogState, now: int, changes: Changes) -> None:
        expires = _expires(log.name, log.deadline, now)
        if expires != log.expires:
            log.expires = expires
            changes.update_expires.append((expires, log.name))
            changes.rows += 1

    def head(self, name: str) -> int:
        """The offset of the last entry; −1 if there is none."""
        log = self.look(name)
        return log.next - 1 if log else -1

    def head_of(self, name: str) -> Head:
        """Its number and its last offset."""
        log = self.look(name)
        return (log.id, log.next - 1) if log else _NOT_THERE

    def heads(self, names: Sequence[str]) -> dict[str, Head]:
        """As `head_of`, of many at once. Those that only the store knows stay there."""
        found = dict.fromkeys(names, _NOT_THERE)
        others = []
        for name in names:
            log = self._logs.get(name)
            if log:
                found[name] = log.id, log.next - 1
            else:
                others.append(name)
        for name, number, last in self._store.query("heads", json.dumps(others)):
            found[name] = number, last
        return found

    def read(self, name: str, after: int, limit: int, since: int = 0) -> list[Entry]:
        """Entries past `after`."""
        return [decode_entry(*row) for row in self.rows(name, after, limit, since)]

    def rows(self, name: str, after: int, limit: int, since: int = 0) -> Sequence[Row]:
        """As `read`, undecoded; from the tail if it reaches back that far."""
        log = self.look(name)
        if log is not None and since:
            after = self._last_before(log, max(after, -1), since)
        if log is None or after + 1 >= log.next or limit < 1:
            return ()
        tail = log.tail
        if tail and tail[0][0] <= after + 1:
            start = max(0, after + 1 - tail[0][0])
            return tail[start : start + limit]
        return self._store.query("read_entries", log.id, after, limit)

    def _last_before(self, log: LogState, after: int, since: int) -> int:
        """The offset, `after` or higher, that the first entry not older than `since` follows: by halving, since times
        never decrease.
        """
        if since > log.time:
            return log.next - 1
        low, high = after + 1, log.next
        while low < high:
            middle = (low + high) // 2
            if self._store.query("entry_time", log.id, middle)[0][0] < since:
                low = middle + 1
            else:
                high = middle
        return low - 1

    def listing(self, prefix: str, after: str, limit: int) -> list[LogInfo]:
        """By name."""
        low, high = prefix_range(prefix)
        beyond = after + " "  # sorts before every name that is past `after`
        return [LogInfo(*row) for row in self._store.query("list_lite_topics", max(low, beyond), high, limit)]

    def settle(self) -> None:
        """After a turn: give back memory beyond the bounds, least recently used first."""
        self._turn_ids.clear()
        self._turn_removed.clear()
        while len(self._logs) > _LOGS_IN_MEMORY or (self._tail_size > _TAILS_IN_MEMORY and self._logs):
            self._tail_size -= self._logs.popitem(last=False)[1].size

    def drop(self, name: str) -> None:
        """It is removed in this turn."""
        log = self._logs.pop(name, None)
        if log:
            self._tail_size -= log.size
        self._turn_removed.add(name)

    def _offset_of(self, log: LogState, entry_id: str) -> int | None:
        known = self._turn_ids.get((log.id, entry_id))
        if known is None and log.next:
            rows = self._store.query("find_entry", log.id, entry_id)
            known = rows[0][0] if rows else None
        return known


def _expires(name: str, deadline: int, touched: int) -> int:
    """The hour (since 1970) in which a LiteTopic's time is over."""
    return (max(deadline, touched) + ttl(name)) // HOUR + 1
