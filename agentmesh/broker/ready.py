"""ReadySet: which of a client's LiteTopics have something to read.

Four events make a LiteTopic ready, those of Apache RocketMQ: a subscription comes online, a message is written, a
commit leaves a remainder, an order lock is released. A poll touches only what is ready, however many are subscribed.
"""

from collections import OrderedDict
from collections.abc import Iterator


class ReadySet:
    """One client's LiteTopics by what it has read of them. A LiteTopic that was taken is locked until it is committed
    or its lock runs out: one unread batch at a time, in order. `head` is always the last offset of the log (−1: none);
    an offset past it counts as the head, since nobody can have read further.
    """

    def __init__(self) -> None:
        self._position: dict[str, int] = {}
        # Ordered dicts: of a plain one, the first key costs a walk over all that were removed before it.
        self._locked: OrderedDict[str, int] = OrderedDict()
        self._ready: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, name: str) -> bool:
        return name in self._position

    def __len__(self) -> int:
        return len(self._ready)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ready)

    def position(self, name: str) -> int:
        """The last offset that was committed or subscribed past."""
        return self._position[name]

    def rests(self, name: str, position: int) -> bool:
        """Whether subscribing `name` past `position` once more would change nothing."""
        return self._position.get(name) == position and name not in self._locked

    def subscribed(self, name: str, position: int, head: int) -> None:
        """The subscription is online, past `position`; an earlier lock is gone."""
        self.removed(name)
        self._position[name] = position if -1 <= position <= head else max(-1, min(position, head))
        self._refresh(name, head)

    def written(self, name: str, head: int) -> bool:
        """Something was appended; True if that made the LiteTopic ready."""
        if name not in self._position or name in self._ready or name in self._locked:
            return False
        self._refresh(name, head)
        return name in self._ready

    def take(self, limit: int, until: int) -> list[str]:
        """Up to `limit` ready names, longest ready first, locked until the time `until` (ms), which never decreases."""
        names: list[str] = []
        while self._ready and len(names) < limit:
            name, _ = self._ready.popitem(last=False)
            self._locked[name] = until
            names.append(name)
        return names

    def committed(self, name: str, offset: int, head: int) -> None:
        """Everything up to `offset` was read; never moves back. A remainder makes it ready again."""
        position = self._position.get(name)
        if position is not None:
            self._locked.pop(name, None)
            self._ready.pop(name, None)
            self._position[name] = max(min(offset, head), position)
            self._refresh(name, head)

    def release(self, now: int) -> list[str]:
        """Locks that ran out: their LiteTopics are ready again. Returns their names."""
        names: list[str] = []
        while self._locked and next(iter(self._locked.values())) <= now:
            name, _ = self._locked.popitem(last=False)
            self._ready[name] = None
            names.append(name)
        return names

    def next_release(self) -> int | None:
        """When the oldest lock runs out (ms)."""
        return next(iter(self._locked.values()), None)

    def removed(self, name: str) -> None:
        """The client does not read it any more."""
        self._position.pop(name, None)
        self._locked.pop(name, None)
        self._ready.pop(name, None)

    def _refresh(self, name: str, head: int) -> None:
        if head > self._position[name] and name not in self._locked:
            self._ready[name] = None
