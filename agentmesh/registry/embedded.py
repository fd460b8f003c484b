"""The registry of an embedded mesh: cards in the broker's store, liveness in its memory."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Final, Literal
from weakref import WeakKeyDictionary

import msgspec

from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.card import AgentCard, card_digest, read_card, write_card
from agentmesh.clock import Clock
from agentmesh.contracts import Change, Registration
from agentmesh.errors import ConfigError, Conflict, TopicNotFound
from agentmesh.registry.versions import version_order as version_order

SILENCE: Final = 15_000
"""An instance that did not renew for so long (ms) is gone."""


class _Live:
    """What the registries of one broker share: cards by topic and version, and who serves them."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.cards: dict[str, dict[str, AgentCard]] = {}
        self.renewed: dict[str, int] = {}
        self.serving: dict[tuple[str, str], set[str]] = {}
        self.silent: dict[str, set[tuple[str, str]]] = {}
        self.watchers: list[asyncio.Queue[Change]] = []
        self.listeners: list[Callable[[str], None]] = []
        self.routes: dict[str, dict[str, int]] = {}
        self.digests: dict[tuple[str, str], str] = {}
        for topic, version, card, _ in broker.query("cards"):
            self.cards.setdefault(topic, {})[version] = read_card(card)
        for topic, version, weight in broker.query("routes"):
            self.routes.setdefault(topic, {})[version] = weight


_live: WeakKeyDictionary[EmbeddedBroker, _Live] = WeakKeyDictionary()


class EmbeddedRegistry:
    """A `Registry` in the store of an embedded broker. Cards survive the process; who is alive does not."""

    def __init__(self, broker: EmbeddedBroker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        self._live = _live.get(broker) or _live.setdefault(broker, _Live(broker))

    async def register(self, registration: Registration) -> None:
        live, topic, version = self._live, registration.topic, registration.version
        await self._broker.turns.submit(self._store_card, registration)
        live.cards.setdefault(topic, {})[version] = registration.card
        live.digests.pop((topic, version), None)
        live.renewed[registration.instance] = self._clock.now()
        live.serving.setdefault((topic, version), set()).add(registration.instance)
        live.silent.get(registration.instance, set()).discard((topic, version))
        self._tell("online", topic, version)

    async def renew(self, instance: str) -> None:
        live = self._live
        if instance in live.renewed or instance in live.silent:
            live.renewed[instance] = self._clock.now()
        for key in live.silent.pop(instance, ()):  # its process was stopped, or the machine slept
            if key[1] in live.cards.get(key[0], ()):
                live.serving.setdefault(key, set()).add(instance)
                self._tell("online", *key)
        self._sweep()

    async def remove(self, topic: str, instance: str = "") -> None:
        versions = self._versions(topic)
        if not instance:
            await self._broker.turns.submit(self._delete_cards, topic)
        for version in list(versions):
            serving = self._live.serving.get((topic, version), set())
            self._live.silent.get(instance, set()).discard((topic, version))
            if not instance:
                self._tell("removed", topic, version)
                serving.clear()
            elif instance in serving:
                serving.discard(instance)
                if not serving:
                    self._tell("offline", topic, version)
        if not instance:
            del self._live.cards[topic]
            self._live.routes.pop(topic, None)

    async def get(self, topic: str, version: str = "") -> Registration:
        versions = self._versions(topic)
        if version and version not in versions:
            raise TopicNotFound(f"{topic} {version}", (f"{topic} {each}" for each in versions))
        if version or len(versions) == 1:
            return self._registration(topic, version or next(iter(versions)))
        found = [self._registration(topic, each) for each in versions]
        best = max(found, key=lambda each: (each.alive, version_order(each.version)))
        siblings = sum(each.alive for each in found) - best.alive
        return msgspec.structs.replace(best, siblings=siblings)

    async def list(self, *, alive: bool = True) -> Sequence[Registration]:
        cards = self._live.cards
        found = [self._registration(topic, version) for topic in sorted(cards) for version in sorted(cards[topic])]
        return [registration for registration in found if registration.alive or not alive]

    async def route(self, topic: str, weights: Mapping[str, int] | None = None) -> Mapping[str, int]:
        versions = self._versions(topic)
        if weights is not None:
            for version, weight in weights.items():
                if version not in versions:
                    raise TopicNotFound(f"{topic} {version}", (f"{topic} {each}" for each in versions))
                if weight < 0:
                    raise ConfigError(f"{topic} {version} cannot get a share of {weight}.")
            await self._broker.turns.submit(self._store_route, topic, weights)
            self._live.routes[topic] = dict(weights)
            self._changed(topic)
        return dict(self._live.routes.get(topic, {}))

    async def watch(self) -> AsyncGenerator[Change, None]:
        changes: asyncio.Queue[Change] = asyncio.Queue()
        for registration in await self.list():
            changes.put_nowait(Change("online", registration))
        self._live.watchers.append(changes)
        try:
            while True:
                yield await changes.get()
        finally:
            self._live.watchers.remove(changes)

    def listen(self, on_change: Callable[[str], None]) -> None:
        """Call back with a topic whenever its registrations or its route changed."""
        self._live.listeners.append(on_change)

    def instances(self) -> Sequence[Registration]:
        """One registration per topic, version and instance."""
        return [
            msgspec.structs.replace(self._registration(topic, version), instance=instance)
            for (topic, version), serving in self._live.serving.items()
            for instance in serving
        ]

    def of(self, topic: str) -> Sequence[Registration]:
        """All registrations of a topic; none if it is not there."""
        return [self._registration(topic, version) for version in sorted(self._live.cards.get(topic, ()))]

    def digest(self, topic: str, version: str) -> str:
        """Names the card of that version."""
        found = self._live.digests.get((topic, version))
        if found is None:
            found = self._live.digests[topic, version] = card_digest(self._live.cards[topic][version])
        return found

    async def end(self, instance: str) -> None:
        """The process of that instance is gone: it is offline at once."""
        self._end(instance)
        self._live.silent.pop(instance, None)

    def _end(self, instance: str) -> None:
        self._live.renewed.pop(instance, None)
        for key, serving in self._live.serving.items():
            if instance in serving:
                serving.discard(instance)
                self._live.silent.setdefault(instance, set()).add(key)
                if not serving:
                    self._tell("offline", *key)

    def _changed(self, topic: str) -> None:
        for listener in self._live.listeners:
            listener(topic)

    def _versions(self, topic: str) -> dict[str, AgentCard]:
        versions = self._live.cards.get(topic)
        if not versions:
            raise TopicNotFound(topic, self._live.cards)
        return versions

    def _store_card(self, registration: Registration) -> None:
        """Within a turn."""
        changes = self._broker.state.changes
        new = card_digest(registration.card)
        topic, version = registration.topic, registration.version
        rows = [row[2:3] for row in changes.insert_card if row[:2] == (topic, version)]
        rows += self._broker.query("card_digest", topic, version)
        if not rows:
            changes.insert_card.append((topic, version, new, write_card(registration.card), self._clock.now()))
            changes.rows += 1
        elif rows[0][0] != new:
            raise Conflict(
                f"{topic} {version} is registered with another card. A card that changes needs a new version: "
                "give this agent one, or another topic."
            )

    def _store_route(self, topic: str, weights: Mapping[str, int]) -> None:
        """Within a turn."""
        changes = self._broker.state.changes
        changes.delete_route.append((topic,))
        changes.insert_route[:] = [row for row in changes.insert_route if row[0] != topic]
        changes.insert_route += [(topic, version, weight) for version, weight in weights.items()]
        changes.rows += 1 + len(weights)

    def _delete_cards(self, topic: str) -> None:
        """Within a turn."""
        self._broker.state.changes.delete_card.append((topic,))
        self._broker.state.changes.delete_route.append((topic,))
        self._broker.state.changes.rows += 1

    def _sweep(self) -> None:
        """Take the instances offline that have been silent for too long."""
        live, now = self._live, self._clock.now()
        for instance in [name for name, renewed in live.renewed.items() if now - renewed > SILENCE]:
            self._end(instance)

    def _registration(self, topic: str, version: str) -> Registration:
        live = self._live
        renewed = [live.renewed.get(instance, 0) for instance in live.serving.get((topic, version), ())]
        last = max(renewed, default=0)
        alive = bool(renewed) and self._clock.now() - last <= SILENCE
        return Registration(topic, version, live.cards[topic][version], alive=alive, renewed=last)

    def _tell(self, kind: Literal["online", "offline", "removed"], topic: str, version: str) -> None:
        change = Change(kind, self._registration(topic, version))
        for watcher in self._live.watchers:
            watcher.put_nowait(change)
        self._changed(topic)
