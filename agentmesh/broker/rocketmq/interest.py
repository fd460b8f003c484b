"""A LiteTopic that an inbox follows."""

from typing import Final

from agentmesh.message import Entry

_BUFFER: Final = 500


class Interest:
    """`position` is the last offset that was committed, `out` the last that was handed out and not committed (−1:
    none), for which there is time `until` (ms). `arrived` are the entries that come next; `behind`: the log may hold
    more.

    When it was silent, it is looked at when it is `due` (ms), for the `checks`-th time.
    """

    __slots__ = ("arrived", "behind", "checks", "due", "name", "out", "position", "until")

    def __init__(self, name: str, position: int, due: int, *, behind: bool) -> None:
        self.name = name
        self.position = position
        self.arrived: list[Entry] = []
        self.behind = behind
        self.out = -1
        self.until = 0
        self.checks = 0
        self.due = due

    @property
    def is_ready(self) -> bool:
        """Whether there is something to hand out, or to look for."""
        return self.out < 0 and (self.behind or bool(self.arrived))

    @property
    def seen(self) -> int:
        """The last offset that has arrived."""
        return self.arrived[-1].offset if self.arrived else max(self.position, self.out)

    def offer(self, entry: Entry) -> None:
        """The entry woke us: it is the next one, an old one, or a sign that the log holds more."""
        if entry.offset <= self.seen:
            return
        if self.behind or entry.offset > self.seen + 1 or len(self.arrived) >= _BUFFER:
            self.behind = True
        else:
            self.arrived.append(entry)

    def was_read(self, entries: list[Entry], *, more: bool) -> None:
        """These were read past `position`; what arrived meanwhile follows them, or is among them."""
        last = entries[-1].offset if entries else self.position
        later = [each for each in self.arrived if each.offset > last]
        if later and later[0].offset > last + 1:
            later, more = [], True
        self.arrived = entries + later
        self.behind = self.behind or more

    def hand_out(self, until: int) -> list[Entry]:
        """What there is, to be committed until then."""
        entries, self.arrived = self.arrived, []
        self.out, self.until = entries[-1].offset, until
        return entries

    def commit(self, offset: int) -> None:
        """It was read up to there; never less far than before."""
        if offset < self.position:
            return
        if offset < self.out:
            self.arrived, self.behind = [], True
        self.position, self.out = offset, -1
        self.arrived = [each for each in self.arrived if each.offset > offset]

    def release(self) -> None:
        """What was handed out was not committed in time."""
        self.arrived, self.behind, self.out = [], True, -1
