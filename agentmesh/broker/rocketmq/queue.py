"""The topics: publishing tasks into their lanes, and handing them to workers."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from agentmesh.broker.drafts import encode, identity, other_call, submitted
from agentmesh.broker.rocketmq.aside import Aside
from agentmesh.broker.rocketmq.client import Connection, Producer, Received
from agentmesh.broker.rocketmq.commons import Commons, Lane
from agentmesh.broker.rocketmq.delays import Delays
from agentmesh.broker.rocketmq.lanes import Source, Sources, draw, invisible, wanting
from agentmesh.broker.rocketmq.leases import Held, Leases, News
from agentmesh.broker.rocketmq.letters import Letters
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.names import Names
from agentmesh.broker.rocketmq.needs import RETRIES, Topic, make_topic
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.broker.rocketmq.tasks import outgoing, prepare
from agentmesh.broker.rocketmq.waiting import happens
from agentmesh.clock import Clock
from agentmesh.contracts import Append, Delivery, Lease
from agentmesh.errors import Conflict
from agentmesh.ids import check_lite_topic
from agentmesh.message import Draft, Message

LOOK: Final = 1.0
"""Seconds of the shortest look for tasks: one question to the server and its answer."""

_SPARE: Final = 1.0
_TURN: Final = 5_000


class Topics:
    """Publishes and leases of this process."""

    def __init__(
        self,
        connection: Connection,
        producer: Producer,
        remoting: Remoting,
        names: Names,
        logs: Logs,
        commons: Commons,
        clock: Clock,
    ) -> None:
        self._connection = connection
        self._producer = producer
        self._remoting = remoting
        self._names = names
        self._logs = logs
        self._clock = clock
        self.commons = commons
        self.letters = Letters(logs)
        self.aside = Aside(logs)
        self.leases = Leases(logs, commons, self.letters, self.aside, clock)
        self._sources = Sources(connection, clock)
        self.delays = Delays(connection, producer, names.delay, self._forward, clock)
        self._lanes: set[Lane] = set()
        self._making = asyncio.Lock()
        self._discarding = asyncio.Lock()
        self._listeners: dict[str, list[asyncio.Event]] = {}
        self._spare: asyncio.Task[None] | None = None
        self._closed = False

    # Topics

    async def declare(self, topic: str, delivery: Delivery) -> None:
        await self.commons.refresh(now=True)
        if self.commons.topics.get(topic) == delivery:
            return
        await self._make(Lane(topic))
        await self.commons.declare(topic, delivery)

    async def remove(self, topic: str) -> None:
        """Tasks become dead letters; workers hear of it."""
        await self.commons.topic(topic)
        await self.commons.refresh(now=True)
        lanes = [Lane(topic), *self.commons.lanes.get(topic, ())]
        await self.commons.declare(topic, None)
        for held in self.leases.forget(topic):
            await self.leases.bury(held, "its topic was removed")
            self._tell(held.worker)
        self._sources.changed.ring()
        await self._drain(lanes)
        await self._sources.forget(topic)
        for lane in lanes:
            name = self._name(lane)
            for each in (name, retry_topic(name)):
                await self._remoting.delete_topic(each)
            await self._remoting.delete_group(name)
            self._lanes.discard(lane)

    async def _drain(self, lanes: Sequence[Lane]) -> None:
        """Bury what waits."""
        sources = await self._sources.open((self._name(lane), lane) for lane in lanes)
        while True:
            drawn = await self._draw(sources, 32, self._clock.now() + round(LOOK * 1000), 30.0)
            if not drawn:
                return
            for source, received in drawn:
                lease = await self.leases.take(source, received, "remove")
                if lease:
                    await self.leases.bury(self.leases.held(lease), "its topic was removed")

    # Publish

    async def publish(self, message: Message) -> bool:
        message, raw = prepare(message, self._clock.now())
        await self.commons.topic(message.topic)
        async with self._logs.publishing(message.log):
            if await self._is_known(message):
                return False
            if message.not_before > self._clock.now():
                await self.aside.put(message)
                await self.delays.put(message, raw)
            else:
                await self._forward(message, raw)
            highest = self.commons.tenant(message.tenant).highest
            await self._logs.send(message.log, [("", "submitted", submitted(message, highest))], first=True)
        return True

    async def check(self, publishes: Sequence[Message], appends: Sequence[Append] = ()) -> None:
        """Refuse what could fail halfway."""
        new: dict[str, Message] = {}
        for message in publishes:
            message, _ = prepare(message, self._clock.now())
            await self.commons.topic(message.topic)
            known = await self._is_known(message)
            if not known and identity(new.setdefault(message.log, message)) != identity(message):
                raise other_call(message)
        for append in appends:
            if append.lite_topic in new:
                raise Conflict(f"{append.lite_topic} begins with its publish. Append to it once that is stored.")

    async def _is_known(self, message: Message) -> bool:
        """Whether this id was published before: the task is sent before its log begins. Raises `Conflict` if it was
        with something else.
        """
        entries = await self._logs.read(message.log, -1, 1)
        if not entries:
            return False
        first = entries[0].data if entries[0].type == "submitted" else None
        if not isinstance(first, dict) or tuple(map(first.get, ("topic", "skill", "digest"))) != identity(message):
            raise other_call(message)
        return True

    async def _forward(self, message: Message, raw: bytes) -> None:
        """Send a task to its lane."""
        delivery = await self.commons.topic(message.topic)
        tenant = message.tenant if delivery.isolate == "tenant" else ""
        lane = Lane(message.topic, message.lane, tenant, delivery.priority)
        await self._make(lane)
        priority = min(message.priority, self.commons.tenant(message.tenant).highest)
        await self._producer.send(
            outgoing(self._name(lane), message, raw, priority=priority if delivery.priority else None)
        )

    async def _make(self, lane: Lane) -> None:
        """The lane is there, and everybody knows. A topic that is named before it exists is missing for a while."""
        if lane in self._lanes:
            return
        async with self._making:
            if lane in self._lanes:
                return
            name = self._name(lane)
            await make_topic(self._remoting, Topic(name, "PRIORITY" if lane.priority else "NORMAL", _queues(lane)))
            await self._remoting.create_group(name, retries=RETRIES)
            self._connection.expect(name)
            if lane != Lane(lane.topic):
                await self.commons.refresh(now=True)
                if lane not in self.commons.lanes.get(lane.topic, ()):
                    await self.commons.add_lane(lane)
            self._lanes.add(lane)

    def _name(self, lane: Lane) -> str:
        return self._names.lane(lane.topic, lane.version, lane.tenant, priority=lane.priority)

    def names_of(self, topic: str) -> list[str]:
        """The RocketMQ topics of all its lanes."""
        return [self._name(lane) for lane in (Lane(topic), *self.commons.lanes.get(topic, ()))]

    # Lease

    async def lease(
        self, topics: Sequence[str], limit: int, wait: float, *, worker: str, lanes: Sequence[str] = ()
    ) -> Sequence[Lease]:
        for topic in topics:
            await self.commons.topic(topic)
        self.delays.start()
        if self._spare is None:
            self._spare = asyncio.create_task(self._give_back_spare())
        until = self._clock.now() + round(max(wait, LOOK) * 1000)
        while True:
            sources = await self._open(topics, lanes)
            hidden = max((invisible(self._delivery(topic)) for topic in topics), default=30.0)
            if wait <= 0:
                await self._gather(sources, limit, until, hidden)
            drawn = await self._draw(sources, limit, min(until, self._clock.now() + _TURN), hidden)
            leases = await self._take(drawn, worker)
            gone = any(topic not in self.commons.topics for topic in topics)
            if leases or gone or self._closed or self._clock.now() >= until:
                return leases

    async def _take(self, drawn: Sequence[tuple[Source, Received]], worker: str) -> list[Lease]:
        """Begin attempts; who is cancelled meanwhile gives them back."""
        taking = asyncio.gather(*(self.leases.take(source, received, worker) for source, received in drawn))
        try:
            return [lease for lease in await asyncio.shield(taking) if lease]
        except asyncio.CancelledError:
            for lease in await taking:
                await self.leases.release(lease)
            raise

    async def _open(self, topics: Sequence[str], versions: Sequence[str]) -> list[Source]:
        await self.commons.refresh()
        wanted = []
        for topic in topics:
            if topic in self.commons.topics:
                mine = (each for each in self.commons.lanes.get(topic, ()) if each.version in ("", *versions))
                wanted += [(self._name(lane), lane) for lane in (Lane(topic), *mine)]
        return await self._sources.open(wanted)

    async def _draw(
        self, sources: Sequence[Source], limit: int, until: int, hidden: float
    ) -> list[tuple[Source, Received]]:
        """What arrived, as soon as something has; nothing at that time (ms)."""
        weights = [self.commons.tenant(source.lane.tenant).weight if source.lane.tenant else 1 for source in sources]
        bell = self._sources.changed
        with wanting(sources, limit), bell.listening() as rung:
            while True:
                rung.clear()
                drawn = draw(sources, limit, weights)
                if drawn or self._closed or self._clock.now() >= until:
                    for source, weight in zip(sources, weights, strict=True):
                        if drawn and source.lane.tenant and len(sources) > 1:
                            source.stock_up(hidden, bell, limit * weight)
                    return drawn
                for source in sources:
                    source.fill(hidden, bell)
                await happens(rung, self._clock, until)

    async def _gather(self, sources: Sequence[Source], limit: int, until: int, hidden: float) -> None:
        """Whoever does not wait wants all that is there, in order."""
        bell = self._sources.changed
        with wanting(sources, limit), bell.listening() as rung:
            while self._clock.now() < until and sum(len(source.arrived) for source in sources) < limit:
                rung.clear()
                for source in sources:
                    source.fill(hidden, bell)
                await happens(rung, self._clock, until)

    def _delivery(self, topic: str) -> Delivery:
        return self.commons.topics.get(topic) or Delivery()

    async def _give_back_spare(self) -> None:
        while True:
            await asyncio.sleep(_SPARE)
            await self._sources.spare()

    # What follows a lease

    async def extend(self, worker: str, tokens: Sequence[str], wait: float) -> Mapping[str, News]:
        event = asyncio.Event()
        self._listeners.setdefault(worker, []).append(event)
        until = self._clock.now() + round(wait * 1000)
        try:
            found = await self._news(worker, tokens, renew=True)
            while not found and not self._closed:
                ends = [each.expires for each in self.leases.of(worker) if not each.told]
                rung = await happens(event, self._clock, min([until, *ends]))
                now = self._clock.now()
                if not rung and now >= until and all(end > now for end in ends):
                    return {}
                event.clear()
                found = {} if self._closed else await self._news(worker, tokens)
            return found
        finally:
            self._listeners[worker].remove(event)
            if not self._listeners[worker]:
                del self._listeners[worker]

    async def _news(self, worker: str, tokens: Sequence[str], *, renew: bool = False) -> dict[str, News]:
        """Of these leases, which may be renewed first, and of all others that the worker holds and has no news of."""
        known = {each.lease.token: each for each in self.leases.of(worker)}
        others = [token for token, held in known.items() if token not in tokens and not held.told]
        ask = self.leases.renew if renew else self.leases.look
        told = await asyncio.gather(*map(ask, tokens), *map(self.leases.look, others))
        found = {token: news for token, news in zip([*tokens, *others], told, strict=True) if news}
        for token in found.keys() & known.keys():
            known[token].told = True
        return found

    def cancelled(self, log: str) -> None:
        """A call was cancelled by this process: its worker need not wait for its next look."""
        for worker in self.leases.workers_of(log):
            self._tell(worker)

    def _tell(self, worker: str) -> None:
        for event in self._listeners.get(worker, ()):
            event.set()

    async def ack(
        self, lease: Lease, appends: Sequence[Append], publishes: Sequence[Message], expect: int | None
    ) -> None:
        with self.leases.ending(lease) as held:
            await self._ack(held, appends, publishes, expect)

    async def _ack(
        self, held: Held, appends: Sequence[Append], publishes: Sequence[Message], expect: int | None
    ) -> None:
        ready = [(append, encode(append.entries)) for append in appends]
        for append in appends:
            check_lite_topic(append.lite_topic)
        await self._check_ends(appends, expect)
        if publishes:
            await self.check(publishes, appends)
            await self.leases.own(held)
            for message in publishes:
                await self.publish(message)
        for append, entries in ready:
            if not entries:
                continue
            if append.lite_topic == held.message.log and not any(entry_id for entry_id, _, _ in entries):
                await self.leases.write(held, entries)
            else:
                await self._logs.append(append.lite_topic, entries)
        await self.leases.end(held)

    async def _check_ends(self, appends: Sequence[Append], expect: int | None) -> None:
        for index, append in enumerate(appends):
            wanted = expect if index == 0 and expect is not None else append.expect
            if wanted is not None:
                following = await self._logs.head(append.lite_topic)
                if following != wanted:
                    raise Conflict(
                        f"{append.lite_topic} goes on at offset {following}, not {wanted}: somebody else appended."
                    )

    async def nack(self, lease: Lease, error: str, not_before: int, dead: str, publishes: Sequence[Message]) -> None:
        with self.leases.ending(lease) as held:
            if publishes:
                await self.check(publishes)
            await self.leases.own(held)
            for message in publishes:
                await self.publish(message)
            if held.tally.state.terminal or (not dead and held.message.deadline <= self._clock.now()):
                await self.leases.end(held)
            elif dead:
                await self.leases.bury(held, dead)
            else:
                await self._give_back(held, error, not_before)

    async def _give_back(self, held: Held, error: str, not_before: int) -> None:
        lease = held.lease
        if error:
            retrying = {"attempt": lease.attempt, "error": error, "not_before": not_before}
            entry = Draft("retrying", retrying, attempt=lease.attempt, token=lease.token)
            await self.leases.write(held, encode([entry]))
        else:
            await self.leases.returned(held)
        await self.leases.give_back(held, not_before)

    async def discard(self, topic: str, positions: Sequence[int], publishes: Sequence[Message]) -> int:
        """Remove dead letters and publish; what is published is there before they are gone."""
        async with self._discarding:
            if publishes:
                there = {each.position for each in await self.letters.list(topic, 0, 1 << 31)}
                if not there.issuperset(positions):
                    raise Conflict(f"{topic} has not all of these dead letters any more. List them again.")
                await self.check(publishes)
                for message in publishes:
                    await self.publish(message)
            return await self.letters.remove(topic, positions)

    async def close(self) -> None:
        self._closed = True
        self._sources.changed.ring()
        for events in self._listeners.values():
            for event in events:
                event.set()
        if self._spare:
            self._spare.cancel()
        await self.leases.close()
        await asyncio.gather(self.delays.close(), self._sources.close())


def _queues(lane: Lane) -> int:
    """Of a topic by priority, one for each."""
    return 10 if lane.priority else 1


def retry_topic(name: str) -> str:
    """Where RocketMQ keeps messages of a lane that are to be handed out again."""
    return f"%RETRY%{name}_{name}"
