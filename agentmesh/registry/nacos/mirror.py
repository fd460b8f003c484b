"""Keeps the view equal to what Nacos says: loads what changed by the index, and subscribes to who serves it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from agentmesh.card import AgentCard
from agentmesh.clock import Clock
from agentmesh.errors import MeshError, RegistryUnavailable
from agentmesh.log import get_logger
from agentmesh.registry.nacos.documents import INDEX, Documents
from agentmesh.registry.nacos.heads import Head
from agentmesh.registry.nacos.liveness import Serving, serving
from agentmesh.registry.nacos.names import SHARDS, decode, encode
from agentmesh.registry.nacos.naming import Instance, Naming
from agentmesh.registry.nacos.view import View

GRACE: Final = 5_000
"""After a connection was made anew others may be still about to do so: nobody goes offline for so long (ms)."""

_AGAIN: Final = 1.0


class Mirror:
    """`on_change` is called with a topic whenever its registrations changed. `node` is this process."""

    def __init__(
        self,
        view: View,
        documents: Documents,
        naming: Naming,
        node: str,
        clock: Clock,
        on_change: Callable[[str], None],
    ) -> None:
        self._view = view
        self._documents = documents
        self._naming = naming
        self._node = node
        self._clock = clock
        self._on_change = on_change
        self._seen: dict[str, int] = {}
        self._told: dict[str, tuple[Serving, ...]] = {}
        self._subscribed: set[str] = set()
        self._dirty: set[str] = set()
        self._refreshing: dict[str, asyncio.Task[None]] = {}
        self._grace = 0

    async def refresh(self) -> Mapping[str, int]:
        """Read everything that is new; returns the index. Raises `RegistryUnavailable`."""
        revs = await self._documents.index()
        await self._load_all(revs)
        return revs

    async def look(self, topic: str) -> None:
        """Read one topic, which others may have published this very moment. Without a server nothing happens."""
        try:
            await self._load(topic, 0)
        except RegistryUnavailable:
            return

    def begin_grace(self) -> None:
        """The connection was made anew."""
        self._grace = self._clock.now() + GRACE
        self._clock.call_at(self._grace, self._end_grace)

    def document_changed(self, group: str, name: str) -> None:
        """Nacos says so."""
        if group == INDEX and name in SHARDS:
            self._dirty.add(name)
            if name not in self._refreshing:
                self._refreshing[name] = asyncio.create_task(self._refresh(name))

    def service_changed(self, service: str, instances: tuple[Instance, ...]) -> None:
        """Nacos tells all healthy instances of a service."""
        topic = decode(service)
        found = tuple(each for each in map(serving, instances) if each and each.node != self._node)
        self._told[topic] = found
        if self._clock.now() < self._grace:
            nodes = {each.node for each in found}
            found += tuple(each for each in self._view.topic(topic).others if each.node not in nodes)
        self._set_others(topic, found)

    def put(self, topic: str, head: Head, cards: Mapping[str, AgentCard]) -> None:
        """Know this of a topic, unless what is known is later."""
        known = self._view.topic(topic)
        self._seen[topic] = max(head.rev, self._seen.get(topic, 0))
        if head.rev >= known.head.rev:
            known.head = head
            known.cards = {
                version: card for version, card in {**known.cards, **cards}.items() if version in head.versions
            }
            self._on_change(topic)

    async def subscribe(self, topic: str) -> None:
        """Be told who serves the topic."""
        if topic not in self._subscribed:
            self._subscribed.add(topic)
            try:
                await self._naming.subscribe(encode(topic))
            except BaseException:
                self._subscribed.discard(topic)
                raise

    async def close(self) -> None:
        tasks = list(self._refreshing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh(self, name: str) -> None:
        """Read one index document, for as long as it changes meanwhile."""
        try:
            while name in self._dirty:
                self._dirty.discard(name)
                try:
                    await self._load_all(await self._documents.shard(name))
                except RegistryUnavailable:
                    self._dirty.add(name)
                    await asyncio.sleep(_AGAIN)
                except MeshError as error:
                    get_logger().error("the index in Nacos cannot be read", error=str(error))
        finally:
            del self._refreshing[name]  # at once: a change that comes now needs another task

    async def _load_all(self, revs: Mapping[str, int]) -> None:
        changed = [(topic, rev) for topic, rev in revs.items() if self._seen.get(topic, 0) < rev]
        results = await asyncio.gather(*(self._load(topic, rev) for topic, rev in changed), return_exceptions=True)
        for (topic, rev), result in zip(changed, results, strict=True):
            if isinstance(result, RegistryUnavailable):
                raise result
            if isinstance(result, MeshError):
                get_logger(topic=topic).error("what Nacos has of this topic cannot be read", error=str(result))
            elif isinstance(result, BaseException):
                raise result
            self._seen[topic] = max(rev, self._seen.get(topic, 0))

    async def _load(self, topic: str, rev: int) -> None:
        head = await self._documents.head(topic, rev)
        if head is None:
            return
        known = self._view.topics.get(topic)
        missing = [
            version
            for version, published in head.versions.items()
            if not known or version not in known.cards or known.head.versions.get(version) != published
        ]
        cards = await asyncio.gather(
            *(self._documents.card(topic, version, head.versions[version].sha) for version in missing)
        )
        if head.versions:
            await self.subscribe(topic)
        self.put(topic, head, {version: card for version, card in zip(missing, cards, strict=True) if card})

    def _set_others(self, topic: str, found: tuple[Serving, ...]) -> None:
        known = self._view.topic(topic)
        if known.others != found:
            known.others = found
            self._on_change(topic)

    def _end_grace(self) -> None:
        if self._clock.now() >= self._grace:
            for topic, found in self._told.items():
                self._set_others(topic, found)
