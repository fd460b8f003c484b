"""What this process serves: it says so to Nacos, keeps what it published there, and gives way where it must."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

import msgspec

from agentmesh.card import card_digest
from agentmesh.clock import Clock
from agentmesh.contracts import Registration
from agentmesh.errors import Conflict, MeshError, RegistryUnavailable
from agentmesh.log import get_logger
from agentmesh.registry.nacos import heads
from agentmesh.registry.nacos.documents import Documents
from agentmesh.registry.nacos.heads import Head, Published
from agentmesh.registry.nacos.liveness import instance_of
from agentmesh.registry.nacos.mirror import Mirror
from agentmesh.registry.nacos.names import encode
from agentmesh.registry.nacos.naming import Naming
from agentmesh.registry.nacos.view import View

_SOON: Final = 1_000
Served = Mapping[tuple[str, str], Registration]
"""By version and instance."""


class Ours:
    """The agents of this process, the `node`. `spawn` runs what is to be done beside."""

    def __init__(
        self,
        node: str,
        view: View,
        documents: Documents,
        naming: Naming,
        mirror: Mirror,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._node = node
        self._view = view
        self._documents = documents
        self._naming = naming
        self._mirror = mirror
        self._clock = clock
        self._spawn = spawn
        self._served: dict[str, Served] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._conflicts: dict[str, Conflict] = {}
        self._suspected: set[str] = set()

    async def add(self, registration: Registration) -> None:
        """Publish the agent's card, and be alive for it. Raises `Conflict`, `ConfigError`, `PayloadTooLarge`,
        `RegistryUnavailable`.
        """
        topic, version, card = registration.topic, registration.version, registration.card
        sha = card_digest(card)
        async with self._lock(topic):
            served = {**self._served.get(topic, {}), (version, registration.instance): registration}
            instance = self._instance(topic, served, {**self._view.topic(topic).ours, version: sha})
            await self._documents.put_card(topic, version, card)
            head = await self._documents.edit(
                topic, lambda head: heads.published(head, version, sha, self._clock.now()), self._view.known(topic)
            )
            await self._naming.announce(encode(topic), instance)
            self._served[topic] = served
            self._view.topic(topic).ours = {**self._view.topic(topic).ours, version: sha}
            self._mirror.put(topic, head, {version: card})
            await self._mirror.subscribe(topic)
            if not await self._documents.probe():
                self._check_soon(topic)

    async def withdraw(self, topic: str, instance: str) -> None:
        """Be alive no more for what this instance serves. That is so here even if it raises `RegistryUnavailable`."""
        async with self._lock(topic):
            served = self._served.get(topic, {})
            await self._serve(topic, {key: each for key, each in served.items() if key[1] != instance})

    async def remove(self, topic: str) -> None:
        """Remove the topic, for everybody."""
        async with self._lock(topic):
            versions = self._view.head(topic).versions
            head = await self._documents.edit(topic, heads.removed, self._view.known(topic))
            await self._documents.delete_cards(topic, versions)
            self._mirror.put(topic, head, {})
            await self._serve(topic, {})

    def conflict(self, instance: str) -> Conflict | None:
        """Why an agent of this instance was taken offline, told once."""
        return self._conflicts.pop(instance, None)

    async def check(self) -> None:
        """See to it that what we published is there, and that what others did is known."""
        try:
            revs = await self._mirror.refresh()
            topics = [topic for topic, served in self._served.items() if served]
            compares = not topics or await self._documents.probe()
            lost = [topic for topic in topics if revs.get(topic, 0) < self._view.topic(topic).head.rev]
            await asyncio.gather(*(self._restore(topic) for topic in (lost if compares else topics)))
        except MeshError as error:
            get_logger().warning("what Nacos has of our agents could not be checked", error=str(error))

    async def _check_suspected(self) -> None:
        """What had to be put back may be lost once more: it stays suspected."""
        topics, self._suspected = self._suspected, set()
        try:
            await asyncio.gather(*(self._restore(topic, with_cards=True) for topic in topics))
            revs = await self._documents.index()
            lost = [topic for topic in topics if revs.get(topic, 0) < self._view.topic(topic).head.rev]
            for topic in lost:
                self._check_soon(topic)
            await asyncio.gather(
                *(self._documents.list_topic(topic, self._view.topic(topic).head.rev) for topic in lost)
            )
        except MeshError as error:
            get_logger().warning("what Nacos has of our agents could not be checked", error=str(error))

    def look(self, topic: str) -> None:
        """The topic changed: is what we serve still what there is?"""
        ours, versions = self._view.topic(topic).ours, self._view.topic(topic).head.versions
        if versions and ours.keys() - versions.keys():
            self._check_soon(topic)  # the edit of another process went over ours
        if self._contested(topic):
            self._spawn(self._give_way(topic))

    async def _restore(self, topic: str, *, with_cards: bool = False) -> None:
        """Put back what of this topic the server has lost. What the head says counts, also of cards."""
        known = self._view.topic(topic)
        if not known.head.versions:
            return
        served = {version: Published(sha, self._clock.now()) for version, sha in known.ours.items()}
        wanted = msgspec.structs.replace(known.head, versions={**served, **known.head.versions})
        found = await self._documents.head(topic) or Head(topic)
        after = heads.restored(found, wanted)
        ours = {each.version: each.card for each in self._served.get(topic, {}).values()}
        for version, card in ({**known.cards, **ours} if after else ours if with_cards else {}).items():
            published = (after or found).versions.get(version)
            if published and published.sha == card_digest(card):
                await self._documents.keep_card(topic, version, card)
        if after:
            found = await self._documents.edit(topic, lambda head: heads.restored(head, wanted))
        elif not with_cards:
            await self._documents.list_topic(topic, found.rev)
        self._mirror.put(topic, found, ours)

    async def _serve(self, topic: str, served: Served) -> None:
        """Be alive for these and no others."""
        known, before = self._view.topic(topic), self._served.pop(topic, {})
        left = {version for version, _ in served}
        known.ours = {version: sha for version, sha in known.ours.items() if version in left}
        if served:
            self._served[topic] = served
        self._mirror.put(topic, known.head, {})
        if served:
            await self._naming.announce(encode(topic), self._instance(topic, served, known.ours))
        elif before:
            await self._naming.withdraw(encode(topic))

    def _instance(self, topic: str, served: Served, digests: Mapping[str, str]) -> Any:
        return instance_of(topic, self._node, served.values(), digests)

    def _check_soon(self, topic: str) -> None:
        """Another process may be writing the same documents at this moment, without compare-and-set."""
        if not self._suspected:
            self._clock.call_at(self._clock.now() + _SOON, lambda: self._spawn(self._check_suspected()))
        self._suspected.add(topic)

    def _contested(self, topic: str) -> set[str]:
        """The versions of ours that others published with another card, or all if the topic was removed."""
        known = self._view.topic(topic)
        published = {version: each.sha for version, each in known.head.versions.items()}
        return {version for version, sha in known.ours.items() if not published or published.get(version, sha) != sha}

    async def _give_way(self, topic: str) -> None:
        """Without compare-and-set two processes can publish one version at once: whose card is not there, goes."""
        async with self._lock(topic):
            contested = self._contested(topic)
            served = self._served.get(topic, {})
            if self._view.topic(topic).head.versions:
                self._note_conflicts(topic, [key for key in served if key[0] in contested])
            if contested:
                with contextlib.suppress(RegistryUnavailable):
                    await self._serve(topic, {key: each for key, each in served.items() if key[0] not in contested})

    def _note_conflicts(self, topic: str, lost: Iterable[tuple[str, str]]) -> None:
        for version, instance in lost:
            self._conflicts[instance] = Conflict(
                f"{topic} {version} was published by another process with another card, so this one's agent is offline"
                ". Give one of the two another version, or another topic, and start it again."
            )
            get_logger(topic=topic, version=version).error(str(self._conflicts[instance]))

    def _lock(self, topic: str) -> asyncio.Lock:
        return self._locks.setdefault(topic, asyncio.Lock())
