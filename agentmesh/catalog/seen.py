"""How the calls of this process went: the recent share that succeeded, and how long they took."""

from typing import Final

import msgspec

_RECENT: Final = 0.1
"""How much one call moves the averages."""
_MOST: Final = 10_000


class Record(msgspec.Struct, frozen=True):
    """Of a topic's recent calls, the share that succeeded, and how many seconds one took."""

    succeeded: float
    seconds: float


class Seen:
    """A record a topic: averages in which what is older counts less."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}

    def add(self, topic: str, seconds: float, *, succeeded: bool) -> None:
        """A call of that topic ended."""
        before = self._records.pop(topic, None)
        if before is None:
            before = Record(float(succeeded), seconds)
        self._records[topic] = Record(
            before.succeeded + _RECENT * (succeeded - before.succeeded),
            before.seconds + _RECENT * (seconds - before.seconds),
        )
        if len(self._records) > _MOST:
            del self._records[next(iter(self._records))]

    def of(self, topic: str) -> Record | None:
        """The record of the topic; None if this process has called nothing there."""
        return self._records.get(topic)
