"""Tasks that are neither in a queue nor done: delayed, waiting for another attempt, or with a worker for long. Nobody
could find them at RocketMQ, so whoever puts one aside writes it down.
"""

from typing import Final

from agentmesh.broker.drafts import encode
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.names import ASIDE
from agentmesh.errors import PayloadCorrupt
from agentmesh.ids import digest
from agentmesh.message import Draft, Message, decode_message, encode_message

_PAGE: Final = 500
_REMEMBERED: Final = 50_000
_LONGEST: Final = 58


class Aside:
    """By topic, what was put aside and is not known to be done."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._open: dict[str, dict[str, tuple[int, Message]]] = {}
        self._next: dict[str, int] = {}
        self._done: dict[str, None] = {}

    async def put(self, message: Message) -> None:
        """Write it down."""
        await self._logs.send(_name(message.topic), encode([Draft("task", encode_message(message))]), kind=ASIDE)

    async def list(self, topic: str) -> list[tuple[int, Message]]:
        """Since when (ms), and which."""
        there = self._open.setdefault(topic, {})
        while entries := await self._logs.read(_name(topic), self._next.get(topic, 0) - 1, _PAGE, kind=ASIDE):
            for entry in entries:
                try:
                    message = decode_message(entry.data)
                except (PayloadCorrupt, TypeError):
                    continue
                there.setdefault(message.id, (entry.time, message))
            self._next[topic] = entries[-1].offset + 1
        return list(there.values())

    def done(self, message: Message) -> None:
        """It is done, as far as this process knows."""
        self._open.get(message.topic, {}).pop(message.id, None)
        self._done[message.id] = None
        if len(self._done) > _REMEMBERED:
            del self._done[next(iter(self._done))]

    def is_done(self, message: Message) -> bool:
        """Whether this process knows that it is done."""
        return message.id in self._done


def _name(topic: str) -> str:
    return f"aside-{topic if len(topic) <= _LONGEST else digest(topic)}"
