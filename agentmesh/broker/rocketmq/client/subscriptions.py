"""The LiteTopics to which one logical client is subscribed.

One task owns all traffic about them, with one request on its way at a time: names that pile up meanwhile go together,
and the full sync, which undoes whatever it does not name, can never overtake an addition (facts: the 30 s race).
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from agentmesh.broker.rocketmq.client import wire
from agentmesh.broker.rocketmq.client.faults import may_pass
from agentmesh.broker.rocketmq.client.session import Session
from agentmesh.clock import resolve, sleep
from agentmesh.errors import MeshError
from agentmesh.log import get_logger

EVERY: Final = 30.0
"""Seconds between full syncs. The broker forgets a client's subscriptions after three minutes without any."""

_TIMEOUT: Final = 10.0
"""Seconds that a sync may take: one of 100,000 names took 0.4 s."""

_BACK: Final = (0.2, 2.0)
"""The first and the longest wait after a failed request, in seconds."""

Waiter = asyncio.Future[None]


class Subscriptions:
    """What is to be (`names`), and the task that makes it so at the broker."""

    def __init__(self, session: Session, parent: str) -> None:
        self.names: set[str] = set()
        self._session = session
        self._parent = parent
        self._adds: dict[str, wire.Start] = {}
        self._removes: set[str] = set()
        self._waiters: list[Waiter] = []
        self._full = False
        self._failing = False
        self._work = asyncio.Event()
        self._version = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End; those who wait are cancelled. The broker forgets the names with the client."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for each in self._waiters:
            each.cancel()

    def add(self, names: Iterable[str], start: wire.Start = None, again: bool = False) -> Waiter:
        """Add names; `again`: remove them first. The future ends when the broker knows."""
        for name in names:
            if again or (start is not None and name in self.names):
                self._removes.add(name)  # the broker begins nowhere else with a subscription that it has
            self.names.add(name)
            self._adds[name] = start
        return self._wait()

    def remove(self, names: Iterable[str]) -> Waiter:
        """Take names away. The future ends when the broker knows."""
        for name in names:
            self.names.discard(name)
            self._adds.pop(name, None)
            self._removes.add(name)
        return self._wait()

    def sync(self) -> Waiter:
        """Tell the broker everything: it may know nothing any more, or too much."""
        self._full = True
        return self._wait()

    def revoke(self, name: str) -> None:
        """Another client took the name over."""
        self.names.discard(name)
        self._adds.pop(name, None)

    def _wait(self) -> Waiter:
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._work.set()
        return waiter

    async def _run(self) -> None:
        back, longest = _BACK
        while True:
            try:
                async with asyncio.timeout(EVERY):
                    await self._work.wait()
            except TimeoutError:
                self._full = True
            self._work.clear()
            waiters, self._waiters = self._waiters, []
            try:
                await self._step()
            except MeshError as error:
                self._failed(error, waiters)
                await sleep(self._session.connection.clock, back)
                back = min(back * 2, longest)
                continue
            back, self._failing = _BACK[0], False
            for each in waiters:
                resolve(each, None)

    async def _step(self) -> None:
        """Removals, then additions. What fails stays to be done, by a full sync."""
        removes, adds, full = self._removes, self._adds, self._full
        self._removes, self._adds, self._full = set(), {}, False
        try:
            if removes:
                await self._send("PARTIAL_REMOVE", removes)
            if full and self.names:
                await self._send("COMPLETE_ADD", self.names)
            for start in dict.fromkeys(adds.values()):
                if start is not None or not full:
                    await self._send("PARTIAL_ADD", [name for name, each in adds.items() if each == start], start)
        except BaseException:
            self._removes |= {name for name in removes if name in adds or name not in self.names}
            self._adds = {name: start for name, start in adds.items() if name in self.names} | self._adds
            self._full = True
            raise

    def _failed(self, error: MeshError, waiters: list[Waiter]) -> None:
        if not self._failing:
            get_logger().warning("LiteTopics cannot be subscribed", error=str(error))
        self._failing = True
        if may_pass(error):
            self._waiters = waiters + self._waiters
            self._work.set()
            return
        self.names.difference_update(self._adds)
        self._adds.clear()
        for each in waiters:
            if not each.done():
                each.set_exception(error)
                each.exception()  # whoever waits sees it; nobody need

    async def _send(self, action: wire.Action, names: Iterable[str], start: wire.Start = None) -> None:
        connection = self._session.connection
        self._version = max(self._version + 1, connection.clock.now())
        group = self._session.group
        request = wire.sync(action, self._parent, group, list(names), self._version, start)
        doing = connection.doing("Subscribing to LiteTopics", self._parent, group)
        await connection.call(self._session.id, wire.SYNC, request, doing, _TIMEOUT)
