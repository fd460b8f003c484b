"""Which waiting task is next: the highest priority, and among equals the oldest."""

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from typing import Final

ANY: Final = ""
"""The lane of tasks that any worker may take."""


class Waiting:
    """The tasks of one topic that wait for a worker, as positions (ints that grow with age), each in a lane.

    Adding and taking cost O(log n); removing is O(1) and leaves its place in the heap to be skipped.
    """

    def __init__(self) -> None:
        self._lanes: dict[str, list[tuple[int, int]]] = {}
        self._priority: dict[int, int] = {}
        self._gone = 0

    def __len__(self) -> int:
        return len(self._priority)

    def __contains__(self, position: int) -> bool:
        return position in self._priority

    def add(self, position: int, priority: int, lane: str = ANY) -> None:
        """Let it wait; it keeps its age if it waited before."""
        if position not in self._priority:
            heappush(self._lanes.setdefault(lane, []), (-priority, position))
            self._priority[position] = priority

    def remove(self, position: int) -> None:
        """Take it out, if it is there."""
        if self._priority.pop(position, None) is not None:
            self._gone += 1
            if self._gone > len(self._priority) + 64:
                self._sweep()

    def take(self, lanes: Sequence[str] = (ANY,)) -> int | None:
        """The next one in any of these lanes, taken out; None when nothing waits there."""
        best: list[tuple[int, int]] | None = None
        for lane in lanes:
            heap = self._lanes.get(lane)
            while heap and heap[0][1] not in self._priority:
                heappop(heap)
                self._gone -= 1
            if heap and (best is None or heap[0] < best[0]):
                best = heap
        if best is None:
            return None
        _, position = heappop(best)
        del self._priority[position]
        return position

    def _sweep(self) -> None:
        """Give back the places of what was removed."""
        for lane, heap in list(self._lanes.items()):
            heap[:] = [place for place in heap if place[1] in self._priority]
            heapify(heap)
            if not heap:
                del self._lanes[lane]
        self._gone = 0
