"""Which waiting task of a topic is next.

1. **Level.** A task's level is its priority, lowered to its tenant's ceiling, plus one for each `aging` that it has
   waited, at most 9.
2. **Within a tenant** the highest level is first, and among equals the oldest.
3. **Between tenants** the highest level decides who takes part: the tenants with a task of that level. Waiting makes a
   task equal to others, never more than equal: where a task of priority 4 got there by waiting, the tenants with any
   task of priority 4 or above take part. So a backlog, however old, does not come before another tenant's first task.
4. **Those who take part** have turns by weight: deficit round robin (Shreedhar and Varghese, 1995), where one that has
   just come gets a task first (as in RFC 8290, section 4.2).

Tasks of one tenant, lane, priority and depth are in a line, by age; only the heads of lines are ever compared. A tenant
may be barred from starting tasks up to a depth; its lines then take no part.
"""

from collections.abc import Callable, Mapping, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from agentmesh.contracts import Tenant
from agentmesh.scheduling.turns import Ring

ANY: Final = ""
"""The lane of tasks that any worker may take."""

HIGHEST: Final = 9
_SPARE: Final = 64


class Line:
    """The tasks of one tenant that share lane, priority and depth, as a heap of positions.

    Of what was removed, a position may stay in the heap until it surfaces. `dated` is the line's key among the ages of
    its level, never later than what its head has.
    """

    __slots__ = ("base", "dated", "depth", "lane", "level", "number", "positions", "priority", "share", "size")

    def __init__(self, share: "Share", priority: int, lane: str, depth: int, number: int) -> None:
        self.share = share
        self.priority = priority
        self.lane = lane
        self.depth = depth
        self.number = number
        self.positions: list[int] = []
        self.size = 0
        self.dated: int | None = None
        self.base: int
        self.level: Level


class Level:
    """The open lines of one lane with one base priority: how many there are, and since when their heads wait."""

    __slots__ = ("ages", "open")

    def __init__(self) -> None:
        self.ages: list[tuple[int, int, Line]] = []
        self.open = 0


class Share:
    """A tenant's part in one topic. Lines less deep than `barred` take no part now."""

    __slots__ = ("barred", "ceiling", "lines", "name", "opened", "served", "weight")

    def __init__(self, tenant: Tenant) -> None:
        self.name = tenant.name
        self.weight = tenant.weight
        self.ceiling = tenant.highest
        self.lines: dict[tuple[int, str, int], Line] = {}
        self.opened: dict[Line, None] = {}
        self.barred = 0
        self.served = False

    def takes_part(self, lanes: Sequence[str], lowest: int) -> bool:
        """Whether it has a task in one of the lanes, of this priority at least."""
        return any(line.base >= lowest and line.lane in lanes for line in self.opened)


class Waiting:
    """The tasks of one topic that wait for a worker, as positions (ints that grow with age).

    Adding and taking cost O(log n) in the number of tasks and of tenants; removing O(1), amortised. `tenants` holds
    those that were set; `aging` is in milliseconds, 0 for none.
    """

    def __init__(self, tenants: Mapping[str, Tenant] | None = None, aging: int = 0) -> None:
        self.aging = aging
        self._tenants = tenants if tenants is not None else {}
        self._places: dict[int, tuple[Line, int]] = {}
        self._shares: dict[str, Share] = {}
        self._levels: dict[str, list[Level]] = {}
        self._opened: dict[Line, None] = {}
        self._rings: dict[tuple[tuple[str, ...], int], Ring[Share]] = {}
        self._lines = self._made = 0
        self._prune_at = _SPARE

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, position: int) -> bool:
        return position in self._places

    @property
    def deepest(self) -> int:
        """The depth of the deepest task that takes part; −1 if none does."""
        return max((line.depth for line in self._opened), default=-1)

    def ready(self) -> bool:
        """Whether any task takes part."""
        return bool(self._opened)

    def oldest(self) -> int | None:
        """Since when (ms) the one waits that has waited longest."""
        lines = (line for share in self._shares.values() for line in share.lines.values() if line.size)
        return min((self._places[self._head(line)][1] for line in lines), default=None)

    def add(self, position: int, since: int, tenant: str, priority: int, lane: str = ANY, depth: int = 0) -> None:
        """Let it wait, with a level that counts from `since` (ms); it keeps its place if it waited before."""
        if position in self._places:
            return
        share = self._shares.get(tenant)
        if share is None:
            share = self._shares[tenant] = Share(self._tenants.get(tenant) or Tenant(tenant))
        line = share.lines.get((priority, lane, depth))
        if line is None:
            line = self._new_line(share, priority, lane, depth)
        self._places[position] = line, since
        heappush(line.positions, position)
        line.size += 1
        if line.size == 1:
            self._open(line)
        if (line.dated is None or since < line.dated) and line.positions[0] == position:
            self._date(line, since)

    def remove(self, position: int) -> None:
        """Take it out, if it is there."""
        place = self._places.pop(position, None)
        if place is not None:
            line = place[0]
            line.size -= 1
            if not line.size:
                line.positions.clear()
                if line in self._opened:
                    self._close(line)
                return
            if len(line.positions) > 2 * line.size + _SPARE:
                line.positions = list({each for each in line.positions if each in self._places})
                heapify(line.positions)
            self._date(line, self._places[self._head(line)][1])

    def take(
        self,
        lanes: tuple[str, ...] = (ANY,),
        now: int = 0,
        may: Callable[[str, int], bool] | None = None,
        floor: int = 0,
    ) -> int | None:
        """The next one in any of these lanes, at least `floor` deep, taken out; None when nothing takes part there.

        `may(tenant, depth)` says whether a task of the tenant may start; where it may not, the tenant is barred to
        that depth until `release`.
        """
        if len(self._opened) == 1 and may is None and not floor:  # the usual case
            (line,) = self._opened
            return self._take_head(line) if line.lane in lanes else None
        while self._opened:
            found, ring = self._next(lanes, now, floor)
            if found is None:
                return None
            if may is None or may(found.share.name, found.depth):
                if ring:
                    ring.served(found.share)
                return self._take_head(found)
            self._bar(found.share, found.depth + 1)
        return None

    def release(self, tenant: str) -> None:
        """Let the tenant take part again, after those who do."""
        share = self._shares.get(tenant)
        if share is not None and share.barred:
            share.barred = 0
            for line in share.lines.values():
                if line.size and line not in self._opened:
                    self._reopen(line)

    def release_all(self) -> None:
        """Let every tenant take part again."""
        for tenant in self._shares:
            self.release(tenant)

    def renew(self, tenant: Tenant) -> None:
        """The tenant's weight and ceiling have changed."""
        share = self._shares.get(tenant.name)
        if share is None:
            return
        share.weight, share.ceiling = tenant.weight, tenant.highest
        for line in share.lines.values():
            base = min(line.priority, share.ceiling)
            if base != line.base:
                was_open = line in self._opened
                if was_open:
                    self._close(line)
                line.base, line.level, line.dated = base, self._levels[line.lane][base], None
                if was_open:
                    self._reopen(line)

    def lowest(self, lanes: tuple[str, ...], now: int) -> int:
        """The lowest priority whose tasks have reached the highest level, with which tenants take part; −1 if nothing
        does in these lanes.
        """
        found = highest = -1
        for base in range(HIGHEST, -1, -1):
            for lane in lanes:
                levels = self._levels.get(lane)
                if levels is None or not levels[base].open:
                    continue
                if not self.aging:
                    return base
                level = self._aged(base, self._oldest(levels[base]), now)
                if level >= highest:
                    found, highest = base, level
        return found

    def _next(self, lanes: tuple[str, ...], now: int, floor: int) -> tuple[Line | None, Ring[Share] | None]:
        """The line whose head is next, and the ring in which that is its tenant's turn."""
        if floor:  # seldom: a topic that is full, and tasks that its own tasks wait for
            deep = [line for line in self._opened if line.depth >= floor and line.lane in lanes]
            return max(deep, key=lambda line: self._rank(line, now), default=None), None
        if len(self._opened) == 1:
            (line,) = self._opened
            return (line if line.lane in lanes else None), None
        lowest = self.lowest(lanes, now)
        if lowest < 0:
            return None, None
        ring = self._rings.get((lanes, lowest)) or self._new_ring(lanes, lowest)
        share = ring.next()
        assert share is not None, "whatever is open has joined"
        fitting = (line for line in share.opened if line.lane in lanes)
        return max(fitting, key=lambda line: self._rank(line, now)), ring

    def _rank(self, line: Line, now: int) -> tuple[int, int]:
        head = self._head(line)
        return self._aged(line.base, self._places[head][1], now), -head

    def _aged(self, base: int, since: int, now: int) -> int:
        if not self.aging or now <= since:
            return base
        return min(HIGHEST, base + (now - since) // self.aging)

    def _head(self, line: Line) -> int:
        """The oldest position of a line that is not empty."""
        positions = line.positions
        while positions[0] not in self._places:
            heappop(positions)
        return positions[0]

    def _take_head(self, line: Line) -> int:
        position = heappop(line.positions)
        while self._places.pop(position, None) is None:
            position = heappop(line.positions)
        line.size -= 1
        line.share.served = True
        if line.size:
            self._date(line, self._places[self._head(line)][1])
        else:
            line.positions.clear()
            self._close(line)
        return position

    def _open(self, line: Line, *, new: bool = True) -> None:
        """Let the line take part, unless it is barred. A tenant that has just come is served first."""
        share = line.share
        if line.depth < share.barred:
            return
        if new and not share.opened:
            share.served = False
        self._opened[line] = share.opened[line] = None
        line.level.open += 1
        for ring in self._rings.values():
            if line.base >= ring.lowest and line.lane in ring.lanes:
                ring.join(share, new=new and not share.served)

    def _reopen(self, line: Line) -> None:
        self._open(line, new=False)
        self._date(line, self._places[self._head(line)][1])

    def _close(self, line: Line) -> None:
        del self._opened[line]
        del line.share.opened[line]
        line.level.open -= 1
        if not self._opened:
            self._rings.clear()

    def _bar(self, share: Share, depth: int) -> None:
        share.barred = depth
        for line in [line for line in share.opened if line.depth < depth]:
            self._close(line)

    def _new_ring(self, lanes: tuple[str, ...], lowest: int) -> Ring[Share]:
        if len(self._rings) > _SPARE:  # of so many lanes: whose turn it was in each matters less than room
            self._rings.clear()
        ring = self._rings[lanes, lowest] = Ring[Share](lanes, lowest)
        for line in self._opened:
            if line.base >= lowest and line.lane in lanes:
                ring.join(line.share, new=not line.share.served)
        return ring

    def _date(self, line: Line, since: int) -> None:
        """The head of the line waits since then: it stands among the ages of its level with a key that is no later."""
        if (line.dated is None or since < line.dated) and line in self._opened:
            line.dated = since
            level = line.level
            heappush(level.ages, (since, line.number, line))
            if len(level.ages) > 2 * level.open + _SPARE:
                self._forget_ages(level)

    def _oldest(self, level: Level) -> int:
        """Since when the longest waiting head of the level waits."""
        ages = level.ages
        while True:
            since, number, line = ages[0]
            if line.level is not level or line.dated != since:
                heappop(ages)
            elif line not in self._opened:
                line.dated = None
                heappop(ages)
            else:
                line.dated = self._places[self._head(line)][1]
                if line.dated == since:
                    return since
                heapreplace(ages, (line.dated, number, line))

    def _forget_ages(self, level: Level) -> None:
        """Give back the places of lines that take no part."""
        kept = []
        for since, number, line in level.ages:
            if line.level is level and line.dated == since:
                if line in self._opened:
                    kept.append((since, number, line))
                else:
                    line.dated = None
        level.ages = list(dict.fromkeys(kept))
        heapify(level.ages)

    def _new_line(self, share: Share, priority: int, lane: str, depth: int) -> Line:
        if self._lines > self._prune_at:
            self._prune()
            share = self._shares.setdefault(share.name, share)
        self._lines += 1
        self._made += 1
        levels = self._levels.get(lane)
        if levels is None:
            levels = self._levels[lane] = [Level() for _ in range(HIGHEST + 1)]
        line = share.lines[priority, lane, depth] = Line(share, priority, lane, depth, self._made)
        line.base = min(priority, share.ceiling)
        line.level = levels[line.base]
        return line

    def _prune(self) -> None:
        """Forget tenants, lines and lanes with nothing that waits."""
        for share in list(self._shares.values()):
            share.lines = {key: line for key, line in share.lines.items() if line.size}
            if not share.lines:
                del self._shares[share.name]
        lines = [line for share in self._shares.values() for line in share.lines.values()]
        used = {line.lane for line in lines}
        self._levels = {lane: levels for lane, levels in self._levels.items() if lane in used}
        self._lines = len(lines)
        self._prune_at = 2 * self._lines + _SPARE
