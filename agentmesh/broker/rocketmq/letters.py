"""The dead letters of a topic: a LiteTopic that never ends, with an entry for each and one for each that is gone."""

from collections.abc import Sequence
from typing import Final

from agentmesh.broker.drafts import encode
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.names import KEPT
from agentmesh.contracts import Stored
from agentmesh.ids import digest
from agentmesh.message import Draft, Entry, Message, decode_message, encode_message

_PAGE: Final = 500
_LONGEST: Final = 59


class _Book:
    """What was read of one topic's letters."""

    def __init__(self) -> None:
        self.next = 0
        self.there: dict[int, Stored] = {}
        self._seen: set[str] = set()

    def add(self, entry: Entry) -> None:
        position = entry.offset + 1
        self.next = position
        if entry.type == "gone":
            for gone in entry.data:
                self.there.pop(gone, None)
        elif entry.type == "letter" and entry.id not in self._seen:
            self._seen.add(entry.id)
            message = decode_message(entry.data["message"])
            self.there[position] = Stored(position, message, entry.data["attempts"], "dead", entry.data["reason"])


class Letters:
    """Positions are offsets, from 1."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._books: dict[str, _Book] = {}

    async def add(self, message: Message, reason: str, attempts: int) -> None:
        """Keep the message; once, however often this is called for one message."""
        data = {"message": encode_message(message), "reason": reason, "attempts": attempts}
        await self._logs.append(_name(message.topic), encode([Draft("letter", data, message.id)]), kind=KEPT)

    async def list(self, topic: str, after: int = 0, limit: int = 100) -> list[Stored]:
        """By position, past `after`."""
        there = await self._read(topic)
        return [there[position] for position in sorted(there) if position > after][:limit]

    async def count(self, topic: str) -> int:
        """How many there are."""
        return len(await self._read(topic))

    async def remove(self, topic: str, positions: Sequence[int]) -> int:
        """How many of them there were."""
        there = await self._read(topic)
        gone = [each for each in dict.fromkeys(positions) if each in there]
        if gone:
            await self._logs.append(_name(topic), encode([Draft("gone", gone)]), kind=KEPT)
        return len(gone)

    async def _read(self, topic: str) -> dict[int, Stored]:
        book = self._books.setdefault(topic, _Book())
        while entries := await self._logs.read(_name(topic), book.next - 1, _PAGE, kind=KEPT):
            for entry in entries:
                if entry.offset >= book.next:  # somebody else may have read meanwhile
                    book.add(entry)
        return book.there


def _name(topic: str) -> str:
    return f"dead-{topic if len(topic) <= _LONGEST else digest(topic)}"
