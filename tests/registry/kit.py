"""Words that the registry suite is written in."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from agentmesh.card import AgentCard, AgentSkill
from agentmesh.clock import Clock, ManualClock
from agentmesh.contracts import Change, Registration, Registry

TOPIC = "GreetAgentTask"
SECONDS = 15.0


async def nothing() -> None:
    """Nothing to close."""


@dataclass
class Process:
    """A process with a registry. It leaves as a mesh does: what it registered is offline."""

    registry: Registry
    name: str
    close: Callable[[], Awaitable[None]] = nothing
    registered: set[str] = field(default_factory=set)

    async def register(self, version: str = "1.9.0", topic: str = TOPIC, does: str = "greet") -> None:
        await self.registry.register(Registration(topic, version, card(version, does), self.name))
        self.registered.add(topic)

    async def leave(self) -> None:
        for topic in self.registered:
            await self.registry.remove(topic, self.name)
        self.registered.clear()
        await self.close()

    async def alive(self) -> list[tuple[str, str]]:
        return [(each.topic, each.version) for each in await self.registry.list()]

    async def sees(self, *expected: tuple[str, str]) -> None:
        """Wait until these and no others are alive for it."""

        async def equal() -> bool:
            return await self.alive() == list(expected)

        await until(equal)


@dataclass
class Place:
    """A registry under test, which several processes share. A flag that is off names what it cannot give."""

    clock: Clock
    opener: Callable[[str], Awaitable[Process]]
    heartbeats: bool = True
    """Who is silent for 15 s is gone; where it is off, the connection says who is alive."""
    _processes: list[Process] = field(default_factory=list)

    async def open(self) -> Process:
        process = await self.opener(f"process-{len(self._processes) + 1}")
        self._processes.append(process)
        return process

    async def passes(self, seconds: float) -> None:
        assert isinstance(self.clock, ManualClock)
        await self.clock.advance(seconds)

    async def close(self) -> None:
        for process in self._processes:
            await process.close()


def card(version: str = "1.9.0", does: str = "greet") -> AgentCard:
    return AgentCard(name="Greet", description="Greets.", version=version, skills=(AgentSkill(id=does),))


async def until(condition: Callable[[], Any], seconds: float = SECONDS) -> None:
    """Wait until it holds (it may be a coroutine function); others see a change a moment later."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return
        assert time.monotonic() < end, f"it does not come to hold within {seconds:g} s"
        await asyncio.sleep(0.01)


class Watching:
    """Collects what a watch brings, as (kind, version)."""

    def __init__(self, registry: Registry) -> None:
        self.seen: list[tuple[str, str]] = []
        self._changes: AsyncGenerator[Change, None] = registry.watch()
        self._task = asyncio.create_task(self._collect())

    async def _collect(self) -> None:
        async for change in self._changes:
            self.seen.append((change.kind, change.registration.version))

    async def brings(self, *expected: tuple[str, str]) -> None:
        """Wait until these changes, in whatever order, were the last ones."""
        await until(lambda: sorted(self.seen[-len(expected) :]) == sorted(expected))

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._changes.aclose()
