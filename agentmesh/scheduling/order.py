"""Which waiting task is next: the highest priority, and among equals the oldest."""

from heapq import heappop, heappush


class Waiting:
    """The tasks of one topic that wait for a worker, as positions (ints that grow with age).

    Adding and taking cost O(log n); removing is O(1) and leaves its place in the heap to be skipped.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._priority: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._priority)

    def __contains__(self, position: int) -> bool:
        return position in self._priority

    def add(self, position: int, priority: int) -> None:
        """Let it wait; it keeps its age if it waited before."""
        self._priority[position] = priority
        heappush(self._heap, (-priority, position))

    def remove(self, position: int) -> None:
        """Take it out, if it is there."""
        if self._priority.pop(position, None) is not None and len(self._heap) > 2 * len(self._priority) + 64:
            self._heap = sorted((-priority, position) for position, priority in self._priority.items())

    def take(self) -> int | None:
        """The next one, taken out; None when nothing waits."""
        while self._heap:
            rank, position = heappop(self._heap)
            if self._priority.get(position) == -rank:
                del self._priority[position]
                return position
        return None
