"""Words that the contract suite is written in."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentmesh.clock import ManualClock
from agentmesh.contracts import Append, Broker, Lease
from agentmesh.fold import CallState, fold
from agentmesh.ids import new_id
from agentmesh.message import Draft, Message

FOLDER = os.environ.get("AGENTMESH_TEST_CLUSTER", "")
"""Of the clusters that `tests/cluster/run.py` started; empty: there are none."""

TOPIC = "WeatherAgentTask"
HOUR = 3600
DAY = 24 * HOUR


async def nothing() -> None:
    """Nothing to stop."""


class About(int):
    """A time in ms that is equal to others near it."""

    slack: int

    def __new__(cls, time: int, slack: int) -> "About":
        about = super().__new__(cls, time)
        about.slack = slack
        return about

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and abs(int(self) - int(other)) <= self.slack

    def __hash__(self) -> int:
        return int.__hash__(self)


@dataclass
class Backend:
    """An implementation under test. A flag that is off names what it cannot give."""

    clock: ManualClock
    opener: Callable[[], Awaitable[Broker]]
    stop: Callable[[], Awaitable[None]] = nothing
    transactions: bool = True
    expect: bool = True
    reopens: bool = True
    priority: bool = True
    lanes: bool = True
    fairness: bool = True
    quotas: bool = True
    ttl: bool = True
    drives_out: bool = True
    keeps_age: bool = True
    shortest_lease: float = 0
    slack: int = 0
    _open: list[Broker] = field(default_factory=list)

    @property
    def broker(self) -> Broker:
        return self._open[-1]

    async def open(self) -> Broker:
        self._open.append(await self.opener())
        return self.broker

    async def reopen(self) -> Broker:
        """Close and open again, as the next process does: nobody holds a lease any more."""
        await self.close()
        return await self.open()

    async def close(self) -> None:
        while self._open:
            await self._open.pop().close()

    async def away(self, seconds: float) -> Broker:
        """Let time pass while nobody has it open, then open it again."""
        await self.close()
        await self.passes(seconds)
        return await self.open()

    async def passes(self, seconds: float) -> None:
        """Let time pass."""
        await self.clock.advance(seconds)

    async def comes(self, awaited: "asyncio.Task[Any]") -> None:
        """It is done at once, or soon where servers of their own run."""
        await self.passes(0)
        if FOLDER:
            await asyncio.wait([awaited], timeout=40)
        assert awaited.done()

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """It holds at once, or soon where servers of their own run."""
        for _ in range(40 if FOLDER else 0):
            if await holds():
                return
            await asyncio.sleep(1)
        assert await holds()

    def now(self) -> int:
        return self.clock.now()

    def about(self, time: int) -> "About":
        """That time (ms), or one within `slack` of it: some clocks do not stand still."""
        return About(time, self.slack)


def task(topic: str = TOPIC, **fields: Any) -> Message:
    return Message(**{"id": new_id("call"), "topic": topic, "skill": "forecast", "body": b'{"city": "x"}', **fields})


async def published(broker: Broker, **fields: Any) -> Message:
    """A task that is stored; `deadline` and the like as in `task`."""
    message = task(**fields)
    assert await broker.publish(message) is True
    return message


async def leased(broker: Broker, worker: str = "worker-1", topic: str = TOPIC) -> Lease:
    """The next task of the topic, which must be there already, or within seconds where servers of their own run."""
    (lease,) = await broker.lease([topic], 1, 40 if FOLDER else 0, worker=worker)
    return lease


async def all_leased(broker: Broker, worker: str = "worker-1", topic: str = TOPIC) -> list[Lease]:
    """Every task of the topic that there is now, in as many transactions as it takes."""
    leases: list[Lease] = []
    while found := await broker.lease([topic], 10_000, 3 if FOLDER else 0, worker=worker):
        leases += found
    return leases


def said(lease: Lease, kind: str, data: Any = None, **fields: Any) -> Draft:
    """A worker's entry under its lease."""
    return Draft(kind, {} if data is None else data, attempt=lease.attempt, token=lease.token, **fields)


def completed(lease: Lease, value: Any = "fine") -> Append:
    return Append(lease.message.log, [said(lease, "completed", {"result": value})])


CANCELLED = Draft("cancelled", {"by": "the caller"}, id="cancelled")


async def types(broker: Broker, log: str) -> list[str]:
    """But for the notes that a broker without transactions writes for itself."""
    return [entry.type for entry in await broker.read(log) if entry.type != "returned"]


async def state(backend: Backend, call: str) -> CallState:
    """The fold of the call's log now."""
    return fold(await backend.broker.read(call), backend.now())


async def ids(broker: Broker, topic: str = TOPIC, *, dead: bool = False) -> list[str]:
    return [stored.message.id for stored in await broker.browse(topic, dead=dead)]


async def counts(broker: Broker, topic: str = TOPIC) -> tuple[int, int, int]:
    """Waiting, running, dead."""
    (stats,) = await broker.stats([topic])
    return stats.waiting, stats.running, stats.dead


def note(text: Any, **fields: Any) -> Draft:
    return Draft("data", {"text": text}, **fields)


def texts(entries: Sequence[Any]) -> list[Any]:
    return [entry.data["text"] for entry in entries]
