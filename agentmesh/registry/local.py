"""The registry of a `local://` mesh, in whatever process its host is."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

from agentmesh.broker.local.broker import LocalBroker
from agentmesh.broker.local.remote import Remote
from agentmesh.contracts import Change, Registration
from agentmesh.registry.changes import Known, changes
from agentmesh.registry.embedded import EmbeddedRegistry


class LocalRegistry:
    """A `Registry` beside a `LocalBroker`. Cards survive every process; who is alive does not."""

    def __init__(self, broker: LocalBroker) -> None:
        self._broker = broker

    async def _at(self) -> EmbeddedRegistry | Remote:
        await self._broker.ready()
        hosted = self._broker.hosted
        at = hosted.registry if hosted else self._broker.remote
        assert at
        return at

    async def register(self, registration: Registration) -> None:
        while True:
            at = await self._at()
            await at.register(registration)
            if at is await self._at():
                return  # else the store moved meanwhile, and may not have taken this with it

    async def renew(self, instance: str) -> None:
        await (await self._at()).renew(instance)

    async def remove(self, topic: str, instance: str = "") -> None:
        await (await self._at()).remove(topic, instance)

    async def get(self, topic: str, version: str = "") -> Registration:
        hosted, remote = self._broker.hosted, self._broker.remote
        return await (hosted.registry if hosted else remote or await self._at()).get(topic, version)

    async def list(self, *, alive: bool = True) -> Sequence[Registration]:
        at = await self._at()
        return await (at.registrations(alive=alive) if isinstance(at, Remote) else at.list(alive=alive))

    async def route(self, topic: str, weights: Mapping[str, int] | None = None) -> Mapping[str, int]:
        hosted, remote = self._broker.hosted, self._broker.remote
        return await (hosted.registry if hosted else remote or await self._at()).route(topic, weights)

    async def watch(self) -> AsyncGenerator[Change, None]:
        changed: dict[str, None] = {}
        wake = asyncio.Event()

        def on_change(topic: str) -> None:
            changed[topic] = None
            wake.set()

        self._broker.listeners.append(on_change)
        try:
            known: Known = {}
            for change in changes(known, "", await self.list(alive=False)):
                yield change
            while True:
                await wake.wait()
                wake.clear()
                while changed:
                    topic = next(iter(changed))
                    del changed[topic]
                    for change in changes(known, topic, await self._of(topic)):
                        yield change
        finally:
            self._broker.listeners.remove(on_change)

    async def _of(self, topic: str) -> Sequence[Registration]:
        at = await self._at()
        return await at.registrations(topic) if isinstance(at, Remote) else at.of(topic)
