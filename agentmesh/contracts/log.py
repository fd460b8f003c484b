"""The log: LiteTopics, and the inboxes that wake their readers."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from agentmesh.contracts.queue import Lease
from agentmesh.message import Draft, Entry


class LogInfo(msgspec.Struct, frozen=True):
    """A LiteTopic in a listing. `title` is the readable name of a log of one's own; `next` the offset of its next
    entry.
    """

    lite_topic: str
    title: str
    next: int
    created: int
    touched: int


class Log(Protocol):
    """The LiteTopics: ordered logs, made by their first append."""

    async def append(
        self,
        lite_topic: str,
        entries: Sequence[Draft],
        *,
        expect: int | None = None,
        lease: Lease | None = None,
        title: str = "",
    ) -> int:
        """Append all or nothing; returns the offset of the first entry (an entry whose id is there keeps its own).

        Raises `Conflict` if `expect` is not the log's next offset, `LeaseLost` if `lease` is not held any more, and
        `PayloadCorrupt` for data that is not JSON. `title` is kept from the first append.
        """
        ...

    async def read(
        self, lite_topic: str, after: int = -1, limit: int = 1000, since: int | None = None
    ) -> Sequence[Entry]:
        """Committed entries in order, past the offset `after` and not older than `since` (ms). A log that is not there
        is empty. Times never decrease within a log.
        """
        ...

    async def list(self, prefix: str = "", after: str = "", limit: int = 100) -> Sequence[LogInfo]:
        """LiteTopics whose name begins with `prefix`, by name, past the name `after`."""
        ...

    def inbox(self, client: str) -> "Inbox":
        """The inbox of that name; asking again returns the same."""
        ...


class Batch(msgspec.Struct, frozen=True):
    """What a poll brings of one LiteTopic: entries in order, or that an exclusive subscription was `revoked`."""

    lite_topic: str
    entries: Sequence[Entry]
    revoked: bool = False


class Inbox(Protocol):
    """A client's own set of LiteTopics and the wake-up for exactly those that have something to read.

    The set is remembered while the client polls, and for three minutes of silence. It does not survive the broker's
    process: `sync` it again.
    """

    async def subscribe(self, lite_topic: str, after: int | None = None, exclusive: bool = False) -> None:
        """Add the LiteTopic, reading past `after` (`None`: past what this client committed, else from the start).

        Nobody can have read past the end of a log: an `after` beyond it counts as its end.

        Exclusive: the newest subscriber wins, the loser's poll returns `revoked`. So does the first poll of a client
        that lost it by its silence.
        """
        ...

    async def unsubscribe(self, lite_topic: str) -> None:
        """Take it out. What this client committed is kept for its last 10,000 LiteTopics, until it is forgotten."""
        ...

    async def sync(self, interests: Mapping[str, int | None]) -> None:
        """Make this the whole set: LiteTopic → `after`, as for `subscribe`.

        What is subscribed or unsubscribed while this goes on stays so; a later `sync` takes its place.
        """
        ...

    async def poll(self, limit: int, wait: float) -> Sequence[Batch]:
        """Batches of up to `limit` ready LiteTopics, as soon as one is ready; nothing after `wait` seconds.

        A LiteTopic is not polled again until its batch is committed or 30 s have passed.
        """
        ...

    async def commit(self, offsets: Mapping[str, int]) -> None:
        """LiteTopic → the last offset that was read. What came later makes it ready again. An offset beyond the end of
        the log counts as its end.
        """
        ...

    async def close(self) -> None:
        """Forget this client."""
        ...
