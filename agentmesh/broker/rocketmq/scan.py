"""What waits and runs in a topic, found by looking: at its queues, at what was put aside, and at each call's log."""

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple
from zlib import crc32

from agentmesh.broker.rocketmq.commons import Commons
from agentmesh.broker.rocketmq.letters import Letters
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.queue import Topics, retry_topic
from agentmesh.broker.rocketmq.remoting import Lag, Remoting
from agentmesh.broker.rocketmq.tally import Tally
from agentmesh.broker.rocketmq.tasks import read_task
from agentmesh.clock import Clock
from agentmesh.contracts import Stored, TopicStats
from agentmesh.errors import PayloadCorrupt, TopicNotFound
from agentmesh.message import Message

EXACT: Final = 2_000
"""Tasks of a lane that are looked at one by one; of those beyond it, the offsets tell how many there are."""

_AT_ONCE: Final = 64
_PAGE: Final = 500


class Found(NamedTuple):
    """A task that is not done."""

    position: int
    message: Message
    attempt: int
    running: bool
    since: int


class Scan:
    """Reads without taking anything away from anybody."""

    def __init__(
        self, remoting: Remoting, logs: Logs, commons: Commons, topics: Topics, letters: Letters, clock: Clock
    ) -> None:
        self._remoting = remoting
        self._logs = logs
        self._commons = commons
        self._topics = topics
        self._letters = letters
        self._clock = clock

    async def stats(self, topics: Iterable[str]) -> list[TopicStats]:
        """Of these, or of all and of those that were removed and have left dead letters."""
        await self._commons.refresh(now=True)
        wanted = sorted(topics) or self._commons.names()
        found = await asyncio.gather(*(self._stats(topic) for topic in wanted))
        for topic, each in zip(wanted, found, strict=True):
            if topic not in self._commons.topics and not each.dead and topics:
                raise TopicNotFound(topic, self._commons.topics)
        return [each for each in found if each.dead or each.topic in self._commons.topics]

    async def browse(self, topic: str, after: int, limit: int) -> list[Stored]:
        """By position, which is the time of the task."""
        await self._commons.topic(topic)
        found, _ = await self._look(topic, after, max(limit, EXACT))
        stored = [
            Stored(each.position, each.message, each.attempt, "running" if each.running else "waiting")
            for each in found
            if each.position > after
        ]
        return sorted(stored, key=lambda each: each.position)[:limit]

    async def _stats(self, topic: str) -> TopicStats:
        dead = await self._letters.count(topic)
        if topic not in self._commons.topics:
            return TopicStats(topic, 0, 0, dead, None)
        delivery = self._commons.topics[topic]
        found, more = await self._look(topic, -1, EXACT)
        now = self._clock.now()
        running = sum(each.running for each in found)
        oldest = min((each.since for each in found if not each.running and each.since <= now), default=None)
        return TopicStats(topic, len(found) - running + more, running, dead, oldest, delivery)

    async def _look(self, topic: str, after: int, most: int) -> tuple[list[Found], int]:
        """The tasks past the position `after` that are not done, about so many, and how many more there may be."""
        tasks: dict[str, tuple[int, Message]] = {}
        more = 0
        returned: dict[str, tuple[int, Message]] = {}
        for name in self._topics.names_of(topic):
            for lag in await self._remoting.lags(name, name):
                more += await self._read(lag, tasks, after, most)
            for lag in await self._remoting.lags(name, retry_topic(name)):
                await self._read(lag, returned, after, most, taken=False)
        tasks = {**returned, **tasks}
        for since, message in await self._topics.aside.list(topic):
            tasks.setdefault(message.id, (since, message))
        found: list[Found] = []
        pairs = [pair for pair in tasks.values() if not self._topics.aside.is_done(pair[1])]
        for begin in range(0, len(pairs), _AT_ONCE):
            looked = await asyncio.gather(*(self._fold(*pair) for pair in pairs[begin : begin + _AT_ONCE]))
            found += [each._replace(running=False) if each.message.id in returned else each for each in looked if each]
        return found, more

    async def _read(
        self, lag: Lag, tasks: dict[str, tuple[int, Message]], after: int, most: int, *, taken: bool = True
    ) -> int:
        """What waits in the queue and, of what was `taken` from it, the last; how many wait beyond what was read."""
        begin = max(lag.read - EXACT if taken else lag.read, await self._remoting.min_offset(lag.topic, lag.queue))
        waiting = 0
        while begin < lag.written and waiting < most:
            pulled = await self._remoting.pull(lag.topic, begin, _PAGE, queue=lag.queue)
            for record in pulled.records:
                try:
                    message = read_task(record.body)
                except PayloadCorrupt:
                    continue
                if position(record.born, message) > after:
                    tasks.setdefault(message.id, (record.born, message))
                    waiting += record.offset >= lag.read
            if pulled.next <= begin:
                break
            begin = pulled.next
        return max(0, lag.written - max(begin, lag.read))

    async def _fold(self, since: int, message: Message) -> Found | None:
        tally = Tally()
        now = self._clock.now()
        tally.add(await self._logs.read(message.log, -1, 1 << 31))
        over = bool(message.deadline) and message.deadline < now
        if tally.state.terminal or (over and not self._topics.leases.holds(message)):
            self._topics.aside.done(message)
            return None
        where = position(since, message)
        since = max(message.not_before, tally.not_before) or since
        return Found(where, message, tally.state.attempt, not tally.concluded, since)


def position(since: int, message: Message) -> int:
    """Of a task that began to wait at that time (ms)."""
    return since << 12 | crc32(message.id.encode()) & 0xFFF
