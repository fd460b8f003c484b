"""Whose turn it is: deficit round robin among the tenants of one topic that take part."""

from collections import deque
from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

_SPARE: Final = 64


class Member(Protocol):
    """A tenant's part in a topic, as a ring sees it."""

    weight: int

    def takes_part(self, lanes: Sequence[str], lowest: int) -> bool: ...


M = TypeVar("M", bound=Member)


class Ring(Generic[M]):
    """The tenants with a task of priority `lowest` or above in these lanes. Each turn gives up to `weight` tasks.

    A newcomer is given one task before the turns go on, and then stands last. One that has nothing left keeps its place
    until its turn comes, so that nobody is a newcomer again by coming and going. Every operation costs O(1), amortised.
    """

    __slots__ = ("_forget_at", "_left", "_new", "_order", "lanes", "lowest")

    def __init__(self, lanes: Sequence[str], lowest: int) -> None:
        self.lanes = lanes
        self.lowest = lowest
        self._new: deque[M] = deque()
        self._order: deque[M] = deque()
        self._left: dict[M, int] = {}
        self._forget_at = _SPARE

    def join(self, member: M, *, new: bool) -> None:
        """Let it have turns, unless it has; `new`: before those who had some."""
        if member not in self._left:
            self._left[member] = 1 if new else 0
            (self._new if new else self._order).append(member)
            if len(self._left) > self._forget_at:
                self._forget()
                self._forget_at = 2 * len(self._left) + _SPARE

    def next(self) -> M | None:
        """Whose turn it is; those who have nothing there leave."""
        for queue in (self._new, self._order):
            while queue:
                member = queue[0]
                if member.takes_part(self.lanes, self.lowest):
                    self._left[member] = min(self._left[member] or member.weight, member.weight)
                    return member
                queue.popleft()
                del self._left[member]
        return None

    def served(self, member: M) -> None:
        """The one whose turn it is was given a task."""
        self._left[member] -= 1
        if not self._left[member]:
            queue = self._new if self._new and self._new[0] is member else self._order
            queue.popleft()
            self._order.append(member)

    def _forget(self) -> None:
        """Give back the places of those who have nothing there."""
        for queue in (self._new, self._order):
            gone = [member for member in queue if not member.takes_part(self.lanes, self.lowest)]
            for member in gone:
                del self._left[member]
            for _ in range(len(queue)):
                member = queue.popleft()
                if member in self._left:
                    queue.append(member)
