"""The registry of an embedded mesh: cards in the broker's store, liveness in its memory."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final
from weakref import WeakKeyDictionary

from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.card import AgentCard, card_digest, read_card, write_card
from agentmesh.clock import Clock
from agentmesh.contracts import Change, Registration
from agentmesh.errors import Conflict, TopicNotFound

SILENCE: Final = 15_000
"""An instance that did not renew for so long (ms) is gone."""


class _Live:
    """What the registries of one broker share: cards by (topic, version), instances by what they serve."""

    def __init__(self) -> None:
        self.cards: dict[tuple[str, str], AgentCard] = {}
        self.renewed: dict[str, int] = {}
        self.serving: dict[tuple[str, str], set[str]] = {}
        self.watchers: list[asyncio.Queue[Change]] = []


_live: WeakKeyDictionary[EmbeddedBroker, _Live] = WeakKeyDictionary()


class EmbeddedRegistry:
    """A `Registry` in the store of an embedded broker. Cards survive the process; who is alive does not."""

    def __init__(self, broker: EmbeddedBroker, clock: Clock) -> None:
        self._broker = broker
        self._clock = clock
        live = _live.get(broker)
        if live is None:
            live = _live[broker] = _Live()
            for topic, version, card, _ in broker.query("cards"):
                live.cards[topic, version] = read_card(card)
        self._live = live

    async def register(self, registration: Registration) -> None:
        live, key = self._live, (registration.topic, registration.version)
        await self._broker.turns.submit(self._store_card, registration)
        live.cards[key] = registration.card
        live.renewed[registration.instance] = self._clock.now()
        live.serving.setdefault(key, set()).add(registration.instance)
        self._tell("online", key)

    async def renew(self, instance: str) -> None:
        if instance in self._live.renewed:
            self._live.renewed[instance] = self._clock.now()
        self._sweep()

    async def remove(self, topic: str, instance: str = "") -> None:
        live = self._live
        keys = [key for key in live.cards if key[0] == topic]
        if not keys:
            raise TopicNotFound(topic, {name for name, _ in live.cards})
        if not instance:
            await self._broker.turns.submit(self._delete_cards, topic)
        for key in keys:
            serving = live.serving.get(key, set())
            was_alive = bool(serving)
            serving.discard(instance)
            if not instance:
                serving.clear()
                self._tell("removed", key)
                del live.cards[key]
            elif was_alive and not serving:
                self._tell("offline", key)

    async def get(self, topic: str, version: str = "") -> Registration:
        found = [self._registration(key) for key in self._live.cards if key[0] == topic and version in ("", key[1])]
        if not found:
            raise TopicNotFound(topic, {name for name, _ in self._live.cards})
        return max(found, key=lambda registration: (registration.alive, version_order(registration.version)))

    async def list(self, *, alive: bool = True) -> Sequence[Registration]:
        found = [self._registration(key) for key in sorted(self._live.cards)]
        return [registration for registration in found if registration.alive or not alive]

    async def watch(self) -> AsyncIterator[Change]:
        changes: asyncio.Queue[Change] = asyncio.Queue()
        for registration in await self.list():
            changes.put_nowait(Change("online", registration))
        self._live.watchers.append(changes)
        try:
            while True:
                yield await changes.get()
        finally:
            self._live.watchers.remove(changes)

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

    def _delete_cards(self, topic: str) -> None:
        """Within a turn."""
        self._broker.state.changes.delete_card.append((topic,))
        self._broker.state.changes.rows += 1

    def _sweep(self) -> None:
        """Take the instances offline that have been silent for too long."""
        live, now = self._live, self._clock.now()
        for instance in [name for name, renewed in live.renewed.items() if now - renewed > SILENCE]:
            del live.renewed[instance]
            for key, serving in live.serving.items():
                if instance in serving:
                    serving.discard(instance)
                    if not serving:
                        self._tell("offline", key)

    def _registration(self, key: tuple[str, str]) -> Registration:
        live = self._live
        renewed = [live.renewed.get(instance, 0) for instance in live.serving.get(key, ())]
        last = max(renewed, default=0)
        alive = bool(renewed) and self._clock.now() - last <= SILENCE
        return Registration(*key, live.cards[key], alive=alive, renewed=last)

    def _tell(self, kind: str, key: tuple[str, str]) -> None:
        change = Change(kind, self._registration(key))  # type: ignore[arg-type]
        for watcher in self._live.watchers:
            watcher.put_nowait(change)


def version_order(version: str) -> list[tuple[int, str]]:
    """Sorts versions as people read them: numbers by value, 1.10 after 1.9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in version.replace("-", ".").split(".")]
