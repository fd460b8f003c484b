"""Retention: LiteTopics whose time is over are removed, and the oldest that ended when the file is at its bound.

It goes in slices of about `SLICE` rows, each a part of a turn. A LiteTopic is gone as a whole with the first of them:
its name is free from that commit on, and what remains of its entries goes by its number, after a crash too.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Final

from agentmesh.broker.embedded.logs import HOUR, Logs
from agentmesh.broker.embedded.references import release
from agentmesh.broker.embedded.store import Changes, Store
from agentmesh.ids import kind_of
from agentmesh.log import get_logger

SLICE: Final = 400
"""How many rows go in one slice."""

SLICE_BYTES: Final = 1_000_000
"""How much content goes in one slice: what it frees is read, page by page."""

_KINDS: Final = frozenset({"call", "run"})
"""What ends before its time is over: with its last attempt."""

_KEPT: Final = HOUR
"""What ended so recently (ms) may still be fetched by whoever asked for it, and is kept even at the bound."""

_PAGE: Final = 200
_SOON: Final = 10
_LOOK: Final = 60_000
_EVER: Final = 2**62
_PAUSE: Final = 10 * 60_000
_ROWS_OF_A_LOG: Final = 4


class Retention:
    """`bound` is what the file may take (bytes; 0: any size). `is_needed` says of a LiteTopic that it is unfinished, or
    that somebody reads it.
    """

    def __init__(self, store: Store, logs: Logs, is_needed: Callable[[str], bool], bound: int = 0) -> None:
        self._store = store
        self._logs = logs
        self._is_needed = is_needed
        self._bound = bound
        self._shrinking = False
        self._resume = 0
        self._cursor = (0, "")
        self._rows = self._bytes = self._now = 0
        self._ended: dict[str, None] = {}
        self.more = False

    def step(self, now: int, changes: Changes) -> list[str]:
        """A slice of what is to be removed; returns the LiteTopics that are gone. `more`: there is more to do."""
        self._now = now
        self._rows, self._bytes = SLICE, SLICE_BYTES
        self._ended = {}
        self.more = self._remove_rest(changes)
        if self._has_room():
            self._end_expired(now, changes)
        if self._has_room() and self._bound:
            self._end_oldest(now, changes)
        self.more = self.more or self._shrinking or not self._has_room()
        return list(self._ended)

    def pause(self, now: int) -> int:
        """When to come again (ms): soon if there is more to do, else when the next hour's LiteTopics are due, or to
        look at the size."""
        if self.more:
            return _SOON
        busy = self._bound or self._store.query("released_blobs", _EVER, 1)
        return _LOOK if busy else HOUR - now % HOUR

    def _has_room(self) -> bool:
        return self._rows > 0 and self._bytes > 0

    def _remove_rest(self, changes: Changes) -> bool:
        """Entries of what ended in an earlier slice; False if there are none."""
        found = self._store.query("ended")
        for (number,) in found:
            if self._delete(number, changes):
                changes.delete_ended.append((number,))
        return bool(found)

    def _end_expired(self, now: int, changes: Changes) -> None:
        for name, number in self._store.query("expired_lite_topics", now // HOUR, SLICE // _ROWS_OF_A_LOG):
            self._end(name, number, changes)
            if not self._has_room():
                return

    def _end_oldest(self, now: int, changes: Changes) -> None:
        """While the file is beyond its bound, and until a tenth of it is free again."""
        size, free = self._store.query("room")[0]
        if not self._shrinking:
            if size - free <= self._bound or now < self._resume:
                return
            self._shrinking, self._cursor = True, (0, "")
            get_logger(size=size, retention=self._bound).warning(
                "the file is at its bound: the oldest calls and runs that ended are removed before their time"
            )
        surplus = size - free - self._bound * 9 // 10
        self._shrinking = surplus > 0
        if not self._shrinking:
            return
        found = self._store.query("oldest_lite_topics", *self._cursor, _PAGE)
        for expires, name, number, touched in found:
            self._cursor = (expires, name)
            if kind_of(name) in _KINDS and now - touched > _KEPT and not self._is_needed(name):
                self._end(name, number, changes)
                if not self._has_room() or SLICE_BYTES - self._bytes > surplus:
                    return
        if not found:
            self._shrinking, self._resume = False, now + _PAUSE
            get_logger(size=size, retention=self._bound).warning(
                "the file is beyond its bound with what is unfinished, was read a moment ago or is not a call's: "
                "give it more room with `retention`, or another disk"
            )

    def _end(self, name: str, number: int, changes: Changes) -> None:
        """It is gone with this turn; of many entries, the first go now."""
        if name in self._ended:
            return
        self._logs.drop(name)
        self._ended[name] = None
        changes.delete_lite_topic.append((name,))
        changes.rows += 1
        if not self._delete(number, changes):
            changes.insert_ended.append((number,))

    def _delete(self, number: int, changes: Changes) -> bool:
        """Remove its references to blobs and its first entries, as many as there is room for; True if none are left.

        Its last entry is the last to go: a number without entries is given to another LiteTopic after a restart.
        """
        released, finished = release(number, self._store, self._now, changes, max(1, self._rows))
        self._rows -= released
        if not finished:
            return False
        count = following = 0
        finished = True
        with closing(self._store.scan("entry_sizes", number)) as sizes:  # a large entry takes long to pass by
            for offset, size in sizes:
                finished = self._has_room()
                if not finished:
                    break
                count, following = count + 1, offset + 1
                self._rows -= 1
                self._bytes -= size
        if count:
            changes.delete_entries.append((number, following))
            changes.rows += count
        self._rows -= _ROWS_OF_A_LOG
        return finished
