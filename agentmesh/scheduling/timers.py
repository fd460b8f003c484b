"""What falls due when: many timers, one of which is asked for."""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
_SPARE: Final = 256


class Timers(Generic[K]):
    """Keys with a time (ms UTC), in buckets of `resolution` ms, so that adding and removing cost O(1).

    A key falls due at the end of its bucket: never early, and at most `resolution` late. Buckets whose keys are
    all removed stay until their time, or until most are such.
    """

    def __init__(self, resolution: int) -> None:
        self._resolution = resolution
        self._bucket_of: dict[K, int] = {}
        self._buckets: dict[int, set[K]] = {}
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self._bucket_of)

    def set(self, key: K, when: int) -> None:
        """Let `key` fall due at `when` instead of any earlier setting."""
        bucket = -(-when // self._resolution)
        before = self._bucket_of.get(key)
        if before == bucket:
            return
        if before is not None:
            self._buckets[before].discard(key)
        self._bucket_of[key] = bucket
        keys = self._buckets.get(bucket)
        if keys is None:
            self._buckets[bucket] = {key}
            heappush(self._order, bucket)
            if len(self._order) > 2 * len(self._bucket_of) + _SPARE:
                self._forget_empty()
        else:
            keys.add(key)

    def remove(self, key: K) -> None:
        """Forget `key`, if it is there."""
        bucket = self._bucket_of.pop(key, None)
        if bucket is not None:
            self._buckets[bucket].discard(key)

    def _forget_empty(self) -> None:
        self._buckets = {bucket: keys for bucket, keys in self._buckets.items() if keys}
        self._order = list(self._buckets)
        heapify(self._order)

    def due(self, now: int, limit: int) -> list[K]:
        """Up to `limit` keys that are due, taken out; bucket by bucket, in no order within one."""
        found: list[K] = []
        while len(found) < limit and self._order and self._order[0] * self._resolution <= now:
            keys = self._buckets[self._order[0]]
            while keys and len(found) < limit:
                key = keys.pop()
                del self._bucket_of[key]
                found.append(key)
            if not keys:
                del self._buckets[heappop(self._order)]
        return found

    def next(self) -> int | None:
        """When to ask again (ms UTC); None when there is nothing to wait for."""
        while self._order and not self._buckets[self._order[0]]:
            del self._buckets[heappop(self._order)]
        return self._order[0] * self._resolution if self._order else None
