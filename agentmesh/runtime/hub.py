"""The hub: one inbox for a whole process, and any number of followers behind it."""

import asyncio
from collections.abc import Sequence
from typing import Final

from agentmesh.clock import Clock, resolve, sleep
from agentmesh.contracts import Broker
from agentmesh.errors import BrokerUnavailable, MeshError
from agentmesh.message import Entry
from agentmesh.scheduling.alarms import Alarms

_POLL: Final = 60.0
_BATCHES: Final = 1000
_BUFFER: Final = 2000
_READ: Final = 500
_PAUSE: Final = 1.0


class Follower:
    """One reader of one LiteTopic, from an offset on. A slow one costs nobody anything: past a bound it forgets what it
    was handed and reads the log itself."""

    def __init__(
        self, broker: Broker, clock: Clock, alarms: Alarms, lite_topic: str, after: int, *, behind: bool
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._alarms = alarms
        self._lite_topic = lite_topic
        self._position = after
        self._buffer: list[Entry] = []
        self._behind = behind
        self._waiter: asyncio.Future[None] | None = None
        self._error: MeshError | None = None

    async def next(self, until: int | None = None) -> Sequence[Entry]:
        """The next entries, at least one; none once the clock is past `until` (ms). Raises what ended the hub."""
        while True:
            if self._behind:
                entries = await self._broker.read(self._lite_topic, self._position, _READ)
                self._behind = bool(entries)
                if entries:
                    self._position = entries[-1].offset
                    return entries
            if self._buffer:
                found, self._buffer = self._buffer, []
                self._position = found[-1].offset
                return found
            if self._error:
                raise self._error
            if until is not None and self._clock.now() >= until:
                return ()
            await self._wait(until)

    def feed(self, entries: Sequence[Entry]) -> None:
        """The hub has these; those that were seen are skipped, and a gap is read from the log."""
        expected = (self._buffer[-1].offset if self._buffer else self._position) + 1
        if entries[0].offset > expected or len(self._buffer) > _BUFFER:
            self._buffer = []
            self._behind = True
        elif not self._behind:
            self._buffer.extend(entries[expected - entries[0].offset :])
        self._wake()

    def look(self) -> None:
        """The hub could not get what there is: the follower is to read the log itself, and to meet its errors."""
        self._behind = True
        self._wake()

    def fail(self, error: MeshError) -> None:
        """The hub has ended."""
        self._error = error
        self._wake()

    async def _wait(self, until: int | None) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        alarm = None if until is None else self._alarms.call_at(until, lambda: resolve(waiter, None))
        try:
            await waiter
        finally:
            self._waiter = None
            if alarm:
                alarm.cancel()

    def _wake(self) -> None:
        if self._waiter is not None:
            resolve(self._waiter, None)


class Hub:
    """Polls one inbox and hands what comes to the followers of each LiteTopic. `alarms`: the timers of all that wait
    in this process."""

    def __init__(self, broker: Broker, clock: Clock, client: str) -> None:
        self._broker = broker
        self._clock = clock
        self.alarms = Alarms(clock)
        self._inbox = broker.inbox(client)
        self._followers: dict[str, list[Follower]] = {}
        self._positions: dict[str, int] = {}
        self._ended: MeshError | None = None

    def follow(self, lite_topic: str, after: int) -> "Following":
        """A follower of `lite_topic` past the offset `after`, inside `async with`; it need not exist yet."""
        return Following(self, lite_topic, after)

    async def enter(self, lite_topic: str, after: int) -> Follower:
        """Begin to follow."""
        if self._ended:
            raise self._ended
        others = self._followers.get(lite_topic)
        follower = Follower(self._broker, self._clock, self.alarms, lite_topic, after, behind=bool(others))
        if others:
            others.append(follower)
        else:
            self._followers[lite_topic] = [follower]
            self._positions[lite_topic] = after
            try:
                await self._inbox.subscribe(lite_topic, after)
            except BaseException:
                self._forget(lite_topic, follower)
                raise
        return follower

    async def leave(self, lite_topic: str, follower: Follower) -> None:
        """Follow no more; with its last follower the LiteTopic leaves the inbox."""
        if self._forget(lite_topic, follower) and not self._ended:
            await self._inbox.unsubscribe(lite_topic)

    def _forget(self, lite_topic: str, follower: Follower) -> bool:
        """Whether it was the last one there."""
        followers = self._followers.get(lite_topic, [])
        if follower in followers:
            followers.remove(follower)
        if followers or self._followers.pop(lite_topic, None) is None:
            return False
        del self._positions[lite_topic]
        return True

    async def run(self) -> None:
        """Poll until cancelled; then every follower fails."""
        try:
            while True:
                try:
                    await self._poll()
                except BrokerUnavailable:
                    await sleep(self._clock, _PAUSE)
                    await self._come_back()
        except MeshError as error:
            self._end(error)
        finally:
            self._end(BrokerUnavailable("The mesh is closed."))
            self.alarms.close()

    async def _come_back(self) -> None:
        """Subscribe anew, as soon as the broker is there again. Until then whoever follows fails, and may try again."""
        while True:
            try:
                await self._inbox.sync(self._positions)
            except BrokerUnavailable as error:
                self._fail(error)
                await sleep(self._clock, _PAUSE)
            else:
                return

    async def _poll(self) -> None:
        batches = await self._inbox.poll(_BATCHES, _POLL)
        offsets = {}
        for batch in batches:
            name = batch.lite_topic
            followers = self._followers.get(name, ())
            if not batch.entries:
                for follower in followers:
                    follower.look()
                continue
            offsets[name] = batch.entries[-1].offset
            if name in self._positions:
                self._positions[name] = offsets[name]
            for follower in followers:
                follower.feed(batch.entries)
        if offsets:
            await self._inbox.commit(offsets)

    def _end(self, error: MeshError) -> None:
        if not self._ended:
            self._ended = error
            self._fail(error)

    def _fail(self, error: MeshError) -> None:
        """Let everybody go who follows now."""
        everybody, self._followers = self._followers, {}
        self._positions.clear()
        for followers in everybody.values():
            for follower in followers:
                follower.fail(error)


class Following:
    """`async with hub.follow(…) as follower`."""

    __slots__ = ("_after", "_follower", "_hub", "_lite_topic")

    def __init__(self, hub: Hub, lite_topic: str, after: int) -> None:
        self._hub = hub
        self._lite_topic = lite_topic
        self._after = after
        self._follower: Follower | None = None

    async def __aenter__(self) -> Follower:
        self._follower = await self._hub.enter(self._lite_topic, self._after)
        return self._follower

    async def __aexit__(self, *_: object) -> None:
        if self._follower:
            await self._hub.leave(self._lite_topic, self._follower)
