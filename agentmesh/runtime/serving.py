"""What a process serves: its agents are known to others, and work on their tasks."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from agentmesh.clock import sleep
from agentmesh.contracts import Registration
from agentmesh.errors import MeshError, RegistryUnavailable
from agentmesh.log import get_logger
from agentmesh.runtime.client import Client
from agentmesh.runtime.worker import Worker

if TYPE_CHECKING:
    from agentmesh.runtime.declaration import Declaration

_HEARTBEAT: Final = 5.0
_AT_ONCE: Final = 16

Welcome = Callable[["Declaration", Client], Awaitable[None]]
"""Is told of every agent before it works."""


class Serving:
    """The agents of this process, the `instance`. One whose registry is away works nevertheless, since its topic is
    known to who called it before; it is registered when the registry is back.
    """

    def __init__(self, client: Client, instance: str, welcome: Welcome | None = None) -> None:
        self._client = client
        self._instance = instance
        self._welcome = welcome
        self._workers: list[Worker] = []
        self._unknown: list[Declaration] = []

    async def add(self, declarations: "Sequence[Declaration]") -> None:
        """Register these, and let them work once all are. Raises the first error of those that are refused; the others
        work.
        """
        topics: dict[str, list[Declaration]] = {}
        for declaration in declarations:
            topics.setdefault(declaration.topic, []).append(declaration)
        few = asyncio.Semaphore(_AT_ONCE)
        ready: list[Declaration] = []

        async def prepare(versions: "list[Declaration]") -> None:
            async with few:
                for each in versions:
                    await self._prepare(each)
                    ready.append(each)

        told = await asyncio.gather(*map(prepare, topics.values()), return_exceptions=True)
        for declaration in ready:
            worker = Worker(declaration, self._client, f"{self._instance}-{len(self._workers)}")
            self._workers.append(worker)
            worker.start()
        for error in filter(None, told):
            raise error

    async def keep_known(self) -> None:
        """Tell the registry for ever that this process lives."""
        while True:
            await sleep(self._client.clock, _HEARTBEAT)
            with contextlib.suppress(MeshError):
                await self._client.registry.renew(self._instance)
            for declaration in tuple(self._unknown):
                await self._make_known(declaration)

    async def stop(self, drain: float) -> None:
        """End, with `drain` seconds for what runs; be known no more."""
        self._unknown.clear()
        await asyncio.gather(*(worker.stop(drain) for worker in self._workers))
        for worker in self._workers:
            with contextlib.suppress(MeshError):
                await self._client.registry.remove(worker.declaration.topic, self._instance)

    async def _prepare(self, declaration: "Declaration") -> None:
        try:
            await self._register(declaration)
        except RegistryUnavailable as error:
            if getattr(self._client.registry, "online", True):  # it is there, and takes nothing
                raise
            get_logger(topic=declaration.topic).warning(
                "the registry is away: the agent works, and is registered when that is back", error=str(error)
            )
            self._unknown.append(declaration)
        await self._client.broker.declare(declaration.topic, declaration.delivery)
        if self._welcome:
            await self._welcome(declaration, self._client)

    async def _make_known(self, declaration: "Declaration") -> None:
        try:
            await self._register(declaration)
        except RegistryUnavailable:
            return
        except MeshError as error:
            get_logger(topic=declaration.topic).error("the agent cannot be registered", error=str(error))
        with contextlib.suppress(ValueError):  # it was stopped meanwhile
            self._unknown.remove(declaration)

    async def _register(self, declaration: "Declaration") -> None:
        now = self._client.clock.now()
        await self._client.registry.register(
            Registration(declaration.topic, declaration.version, declaration.card(), self._instance, renewed=now)
        )
