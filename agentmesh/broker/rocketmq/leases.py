"""Tasks that this process holds: how they are taken, kept, ended and given back.

RocketMQ has no transaction over an ack and a log. So whatever decides is written into the call's log, read back, and
acted on only if the fold says that it counts.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final, Literal

from agentmesh.broker.drafts import Encoded, encode, identity, submitted
from agentmesh.broker.rocketmq.aside import Aside
from agentmesh.broker.rocketmq.client import Received
from agentmesh.broker.rocketmq.commons import Commons
from agentmesh.broker.rocketmq.lanes import Source, invisible
from agentmesh.broker.rocketmq.letters import Letters
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.tally import RETURNED, Tally
from agentmesh.broker.rocketmq.tasks import read_task
from agentmesh.clock import Clock
from agentmesh.contracts import Delivery, Lease
from agentmesh.errors import BrokerUnavailable, LeaseLost, MeshError, PayloadCorrupt
from agentmesh.ids import new_token
from agentmesh.log import get_logger
from agentmesh.message import Draft, Message
from agentmesh.scheduling.retry import Dead, after_lost

_SOON: Final = 1.0
_LONGEST: Final = 12 * 3600.0
"""Seconds that RocketMQ hides a message, at least and at most."""

_PATIENCE: Final = 10.0
_PAUSE: Final = 0.002
_PUBLISHERS_TURN: Final = (0.01, 0.05, 0.2)
"""Pauses in which whoever published a task begins its log; after them whoever has the task does."""

News = Literal["cancelled", "lost"]

Foreign = Callable[[Source, Received], bool]
"""Is shown at once what is no task of ours. If it takes that, it has the message; else this goes to the dead letters of
its group."""


class Held:
    """A task that a worker of this process holds."""

    __slots__ = ("aside", "ending", "expires", "following", "lease", "received", "source", "tally", "told", "worker")

    def __init__(self, lease: Lease, worker: str, source: Source, received: Received, tally: Tally) -> None:
        self.lease = lease
        self.worker = worker
        self.source = source
        self.received = received
        self.tally = tally
        self.expires = lease.expires
        self.aside = lease.attempt > 1
        self.ending = False
        self.following = 0
        self.told = False
        """Whether its worker knows that it is lost or cancelled."""

    @property
    def message(self) -> Message:
        return self.lease.message


class Leases:
    """What is held, by token."""

    def __init__(self, logs: Logs, commons: Commons, letters: Letters, aside: Aside, clock: Clock) -> None:
        self._logs = logs
        self._commons = commons
        self._letters = letters
        self._aside = aside
        self._clock = clock
        self.foreign: Foreign = _nobodys
        self._held: dict[str, Held] = {}

    async def release(self, lease: Lease | None) -> None:
        """It was taken for somebody who left: give it back unharmed."""
        held = self._held.get(lease.token) if lease else None
        if held:
            with contextlib.suppress(MeshError):
                await self.returned(held)
                await self.give_back(held, 0)

    async def take(self, source: Source, received: Received, worker: str) -> Lease | None:
        """Begin an attempt, unless the call has no need of one. What cannot be taken now comes back later."""
        try:
            return await self._take(source, received, worker)
        except MeshError as error:
            get_logger().warning("cannot take a task", topic=source.lane.topic, error=str(error))
            return None

    async def _take(self, source: Source, received: Received, worker: str) -> Lease | None:
        try:
            message = read_task(received.body)
        except PayloadCorrupt as error:
            if not self.foreign(source, received):
                await self._refuse(source, received, str(error))
            return None
        delivery = self._commons.topics.get(source.lane.topic) or Delivery()
        tally = await self._look(message)
        state, now = tally.state, self._clock.now()
        if state.submitted is None or _identity(state.submitted) != identity(message):
            await self._done(source, received)  # its log is another call's
            return None
        if state.terminal and state.terminal.type == "dead_lettered":
            await self._letters.add(message, state.terminal.data["reason"], state.terminal.data["attempts"])
        if state.terminal or message.deadline <= now:
            await self._done(source, received)
            return None
        later = _wait(tally, message, received, now, delivery)
        if later:
            await source.consumer.change_invisible(received, min(max(later / 1000, _SOON), _LONGEST))
            return None
        verdict = after_lost(delivery.retry, tally.lost)
        if state.attempt and not tally.concluded and isinstance(verdict, Dead):
            await self._bury(message, verdict.reason, state.attempt)
            await self._done(source, received)
            return None
        return await self._accept(source, received, worker, message, tally, delivery)

    async def _accept(
        self, source: Source, received: Received, worker: str, message: Message, tally: Tally, delivery: Delivery
    ) -> Lease:
        token, attempt = new_token(), tally.state.attempt + 1
        accepted = Draft("accepted", {"worker": worker}, attempt=attempt, token=token)
        await self._logs.send(message.log, encode([accepted]))
        expires = self._clock.now() + round(invisible(delivery) * 1000)
        lease = Lease(message, token, attempt, tally.raised, expires)
        held = self._held[token] = Held(lease, worker, source, received, tally)
        held.following = tally.state.next + 1
        return lease

    def held(self, lease: Lease) -> Held:
        """Raises `LeaseLost`."""
        held = self._held.get(lease.token)
        if held is None or held.expires <= self._clock.now():
            raise lost(lease)
        return held

    @contextlib.contextmanager
    def ending(self, lease: Lease) -> Iterator[Held]:
        """While its end is written, nobody else can end it. Raises `LeaseLost`."""
        held = self.held(lease)
        if held.ending:
            raise lost(lease)
        held.ending = True
        try:
            yield held
        finally:
            held.ending = False

    def forget(self, topic: str) -> list[Held]:
        """Hold nothing of the topic any more."""
        gone = [each for each in self._held.values() if each.message.topic == topic]
        for each in gone:
            del self._held[each.lease.token]
        return gone

    def of(self, worker: str) -> list[Held]:
        """What this worker holds."""
        return [each for each in self._held.values() if each.worker == worker]

    def holds(self, message: Message) -> bool:
        """Whether a worker of this process has it."""
        now = self._clock.now()
        return any(each.message.id == message.id and each.expires > now for each in self._held.values())

    def workers_of(self, log: str) -> set[str]:
        """Who holds a task whose events go to this log."""
        return {each.worker for each in self._held.values() if each.message.log == log}

    async def look(self, token: str) -> News | None:
        """The bad news of a lease, if there is any."""
        held = self._held.get(token)
        if held is None or held.expires <= self._clock.now():
            self._held.pop(token, None)
            return "lost"
        await self.refresh(held)
        terminal = held.tally.state.terminal
        if terminal or _is_anothers(held):
            return "cancelled" if terminal and terminal.type == "cancelled" else "lost"
        return None

    async def renew(self, token: str) -> News | None:
        """Hold it for another whole lease; the bad news, if there is any."""
        news = await self.look(token)
        held = self._held.get(token)
        if news or held is None:
            return news or "lost"
        await self._put_aside(held)
        length = invisible(self._commons.topics.get(held.message.topic) or Delivery())
        try:
            await held.source.consumer.change_invisible(held.received, length)
        except LeaseLost:
            return "lost"
        held.expires = self._clock.now() + round(length * 1000)
        return None

    async def refresh(self, held: Held, until: str = "") -> None:
        """Read what is new in the call's log, at least up to the message of this id. Raises `BrokerUnavailable` if that
        cannot be read.
        """
        loop = asyncio.get_running_loop()
        limit, pause = loop.time() + _PATIENCE, _PAUSE
        while True:
            found = await self._logs.pull(held.message.log, held.tally.state.next)
            held.tally.add(each.entry for each in found)
            held.following = max(held.following, held.tally.state.next)
            if not until or any(each.message_id == until for each in found):
                return
            if loop.time() > limit:
                raise BrokerUnavailable(f"{held.message.log}: what was stored cannot be read after {_PATIENCE:g} s.")
            if not found:
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, 0.1)

    async def own(self, held: Held) -> None:
        """Make sure that the lease still owns the call. Raises `LeaseLost`."""
        await self.refresh(held)
        self.check(held)

    def check(self, held: Held) -> None:
        """Raises `LeaseLost` if the log says that another attempt owns the call."""
        if _is_anothers(held):
            self._held.pop(held.lease.token, None)
            raise lost(held.lease)

    async def tell(self, held: Held, entries: Encoded) -> int:
        """Write entries that decide nothing, and are not read back; the offset that the first should have."""
        offset, held.following = held.following, held.following + len(entries)
        await self._logs.send(held.message.log, entries)
        return offset

    async def write(self, held: Held, entries: Encoded) -> None:
        """Write entries of the attempt, read them back, and see that they count."""
        sent = await self._logs.send(held.message.log, entries)
        await self.refresh(held, sent[-1])
        self.check(held)

    async def end(self, held: Held) -> None:
        """The task is done."""
        self._held.pop(held.lease.token, None)
        self._aside.done(held.message)
        try:
            await held.source.consumer.ack([held.received])
        except MeshError as error:  # whoever gets it next sees in the log that it is done
            get_logger().debug("cannot acknowledge", call=held.message.id, error=str(error))

    async def give_back(self, held: Held, not_before: int) -> None:
        """Let others have it, at that time or as soon as possible."""
        self._held.pop(held.lease.token, None)
        await self._put_aside(held)
        wait = (not_before - self._clock.now()) / 1000
        with contextlib.suppress(LeaseLost):
            await held.source.consumer.change_invisible(held.received, min(max(wait, _SOON), _LONGEST))

    async def _put_aside(self, held: Held) -> None:
        """It is not in its queue, and not done for long."""
        if not held.aside:
            held.aside = True
            await self._aside.put(held.message)

    async def returned(self, held: Held) -> None:
        """Say that the attempt does not count."""
        entry = Draft(RETURNED, {}, attempt=held.lease.attempt, token=held.lease.token)
        await self.write(held, encode([entry]))

    async def bury(self, held: Held, reason: str) -> None:
        """Make it a dead letter."""
        await self._bury(held.message, reason, held.lease.attempt)
        await self.end(held)

    async def close(self) -> None:
        """Let others have what is held."""
        held = list(self._held.values())
        await asyncio.gather(*(self.give_back(each, 0) for each in held), return_exceptions=True)

    async def _bury(self, message: Message, reason: str, attempts: int) -> None:
        """The entry decides; the letter follows, and whoever gets the task after a crash sees to it again."""
        entry = Draft("dead_lettered", {"reason": reason, "attempts": attempts}, "dead_lettered")
        await self._logs.append(message.log, encode([entry]))
        await self._letters.add(message, reason, attempts)

    async def _look(self, message: Message) -> Tally:
        """The call's log, which begins here if whoever published died before it could write."""
        tally = Tally()
        for pause in _PUBLISHERS_TURN:
            tally.add(await self._logs.read(message.log, -1, 1 << 31))
            if tally.state.next:
                break
            await asyncio.sleep(pause)
        else:
            highest = self._commons.tenant(message.tenant).highest
            await self._logs.append(message.log, [("", "submitted", submitted(message, highest))])
            tally.add(await self._logs.read(message.log, -1, 1 << 31))
        return tally

    async def _done(self, source: Source, received: Received) -> None:
        """There is nothing to do any more."""
        await source.consumer.ack([received])

    async def _refuse(self, source: Source, received: Received, why: str) -> None:
        """What is no task goes to the dead letters of its group, whole."""
        get_logger().warning("not a task of ours", topic=source.lane.topic, message=received.id, error=why)
        await source.consumer.dead_letter(received)


def _is_anothers(held: Held) -> bool:
    """Whether the log says so. Our own `accepted` may not be seen yet."""
    state, lease = held.tally.state, held.lease
    return state.attempt > lease.attempt or (state.attempt == lease.attempt and state.token != lease.token)


def lost(lease: Lease) -> LeaseLost:
    """The error for a lease that is not held any more."""
    return LeaseLost(f"Attempt {lease.attempt} of {lease.message.id} does not hold its lease any more.")


def _identity(first: dict[str, object]) -> tuple[object, object, object]:
    return first.get("topic"), first.get("skill"), first.get("digest")


def _wait(tally: Tally, message: Message, received: Received, now: int, delivery: Delivery) -> int:
    """How long (ms) it must wait: for its time, for the end of a back-off, or for the owner of its double, which a send
    that was repeated may have made.
    """
    until = max(message.not_before, tally.not_before if tally.concluded else 0)
    if received.attempt == 1 and not tally.concluded:
        until = max(until, tally.accepted + round(invisible(delivery) * 1000))
    return max(0, until - now)


def _nobodys(_source: Source, _received: Received) -> bool:
    """Nobody takes what is no task of ours."""
    return False
