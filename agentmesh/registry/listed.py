"""A registry that only tells: agents known by their cards, which are looked at again and again.

An agent is alive while its source answers: three looks in a row that fail take it offline, the next that succeeds
brings it back. What was found is kept in a file, so that a start without the network knows the cards all the same; they
are offline then until their source answers.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from agentmesh.card import AgentCard, card_digest, read_card
from agentmesh.clock import Clock, sleep
from agentmesh.contracts import Change, Registration
from agentmesh.errors import ConfigError, PayloadCorrupt, TopicNotFound
from agentmesh.log import get_logger
from agentmesh.registry.embedded import version_order
from agentmesh.registry.naming import topic_of
from agentmesh.registry.snapshot import Snapshot
from agentmesh.registry.source import Kept, Source

EVERY: Final = 60
"""Seconds between two looks at a source that does not say how long its answer holds."""

SOONEST: Final = 10
LATEST: Final = 3600
"""What it says is taken within these bounds (s)."""

AGAIN: Final = 5
FAILURES: Final = 3
"""A look that failed is repeated after so many seconds, and so many in a row make a source away."""

_START: Final = 20.0


class _Place:
    """A source, what is known of it, and what its card was registered as. `failures` counts the last looks."""

    __slots__ = ("alive", "card", "failures", "kept", "said", "source", "topic")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.kept: Kept | None = None
        self.card: AgentCard | None = None
        self.topic = ""
        self.alive = False
        self.failures = 0
        self.said = ""

    def registration(self) -> Registration:
        """Of a place that has a card."""
        assert self.card
        assert self.kept
        return Registration(
            self.topic, self.card.version, self.card, self.source.name, alive=self.alive, renewed=self.kept.fetched
        )


class Listed:
    """A `Registry` of what `sources` say; of two with one topic and version, the first counts.

    `name` is the registry's address. To register, remove or route here is a `ConfigError`.
    """

    read_only: Final = True

    def __init__(self, name: str, sources: Sequence[Source], clock: Clock, snapshot: Path) -> None:
        self._name = name
        self._clock = clock
        self._places = [_Place(source) for source in sources]
        self._snapshot = Snapshot(snapshot)
        self._watchers: list[asyncio.Queue[Change]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = contextlib.AsyncExitStack()

    async def open(self, closing: contextlib.AsyncExitStack) -> None:
        """Look at all sources once, at most for `_START` seconds, and go on in the background until `close`, which
        closes `closing` too.
        """
        self._closing = closing
        for name, kept in (await self._snapshot.read()).items():
            for place in self._places:
                if place.source.name == name:
                    self._know(place, kept)
        firsts = [asyncio.create_task(self._look(place)) for place in self._places]
        self._tasks = [
            asyncio.create_task(self._follow(place, first)) for place, first in zip(self._places, firsts, strict=True)
        ]
        await asyncio.wait(firsts, timeout=_START)

    async def close(self) -> None:
        """Stop looking."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._closing.aclose()

    async def register(self, registration: Registration) -> None:
        raise self._refusal(f"{registration.topic} cannot be registered")

    async def renew(self, instance: str) -> None:  # noqa: ARG002 - as in the contract
        return

    async def remove(self, topic: str, instance: str = "") -> None:  # noqa: ARG002
        raise self._refusal(f"{topic} cannot be removed")

    async def get(self, topic: str, version: str = "") -> Registration:
        found = [each for each in self._registrations() if each.topic == topic]
        wanted = [each for each in found if version in ("", each.version)]
        if not wanted:
            names = [f"{topic} {each.version}" for each in found] or [each.topic for each in self._registrations()]
            raise TopicNotFound(f"{topic} {version}" if found else topic, names)
        best = max(wanted, key=lambda each: (each.alive, version_order(each.version)))
        siblings = 0 if version else sum(each.alive for each in found) - best.alive
        return msgspec.structs.replace(best, siblings=siblings)

    async def list(self, *, alive: bool = True) -> Sequence[Registration]:
        found = sorted(self._registrations(), key=lambda each: (each.topic, each.version))
        return [each for each in found if each.alive or not alive]

    async def route(self, topic: str, weights: Mapping[str, int] | None = None) -> Mapping[str, int]:
        await self.get(topic)
        if weights is not None:
            raise self._refusal(f"{topic} cannot be given a route")
        return {}

    async def watch(self) -> AsyncGenerator[Change, None]:
        changes: asyncio.Queue[Change] = asyncio.Queue()
        for registration in await self.list():
            changes.put_nowait(Change("online", registration))
        self._watchers.append(changes)
        try:
            while True:
                yield await changes.get()
        finally:
            self._watchers.remove(changes)

    def check(self) -> None:
        """Raise `ConfigError` for sources that cannot be right, whatever comes: a file that is not there or holds no
        card, two cards with one topic and version. Those that are on the web may be.
        """
        for place in self._places:
            if place.said and not place.card and place.source.name.partition("://")[0] not in ("http", "https"):
                raise ConfigError(place.said)
        seen: dict[tuple[str, str], str] = {}
        for place in self._places:
            if place.card:
                key = place.topic, place.card.version
                if key in seen:
                    raise ConfigError(
                        f"{seen[key]} and {place.source.name} are both {key[0]} {key[1]}: list one of them."
                    )
                seen[key] = place.source.name

    def failing(self) -> Sequence[str]:
        """What is wrong with the sources whose last look failed, a sentence of each."""
        return [place.said for place in self._places if place.said]

    def _registrations(self) -> Sequence[Registration]:
        found: dict[tuple[str, str], Registration] = {}
        for place in self._places:
            if place.card:
                found.setdefault((place.topic, place.card.version), place.registration())
        return [*found.values()]

    async def _follow(self, place: _Place, first: asyncio.Task[None]) -> None:
        """Look again whenever it is time."""
        try:
            await first
        finally:
            first.cancel()
        while True:
            age = (place.kept.age if place.kept else 0) or EVERY
            wait = min(AGAIN * 2 ** (place.failures - 1), EVERY) if place.failures else min(max(age, SOONEST), LATEST)
            await sleep(self._clock, wait)
            await self._look(place)

    async def _look(self, place: _Place) -> None:
        """One look at a source, and what follows from it."""
        before = {(each.topic, each.version): each for each in self._registrations()}
        try:
            kept = await place.source.look(place.kept, self._clock.now())
            self._know(place, kept)
        except Exception as error:  # whatever a stranger's answer led to: the others, and the next look, go on
            self._failed(place, error)
        else:
            place.failures, place.alive, place.said = 0, True, ""
            await self._snapshot.write({each.source.name: each.kept for each in self._places if each.kept})
        self._tell(before)

    def _know(self, place: _Place, kept: Kept) -> None:
        """Take in what a source gave. Raises `PayloadCorrupt` for what is no card."""
        if place.kept is None or place.kept.raw != kept.raw:
            try:
                card = read_card(kept.raw)
            except PayloadCorrupt as error:
                raise PayloadCorrupt(f"{place.source.name}: {error}") from error
            place.card, place.topic = card, topic_of(card, place.source.place)
        place.kept = kept

    def _failed(self, place: _Place, error: Exception) -> None:
        """Say what is wrong, once; take the agent offline when it stays so."""
        place.failures += 1
        if place.failures >= FAILURES:
            place.alive = False
        if place.said != str(error):
            place.said = str(error)
            held = "its card is the one that was kept" if place.kept else "its card is not known"
            get_logger(registry=self._name, source=place.source.name).warning(
                "a card could not be looked at", error=str(error), now=held
            )

    def _tell(self, before: Mapping[tuple[str, str], Registration]) -> None:
        """Tell the watchers what is different."""
        now = {(each.topic, each.version): each for each in self._registrations()}
        for key, was in before.items():
            if key not in now:
                self._say("removed", msgspec.structs.replace(was, alive=False))
        for key, each in now.items():
            was_alive = key in before and before[key].alive
            changed = key in before and card_digest(before[key].card) != card_digest(each.card)
            if each.alive and (not was_alive or changed):
                self._say("online", each)
            elif was_alive and not each.alive:
                self._say("offline", each)

    def _say(self, kind: Literal["online", "offline", "removed"], registration: Registration) -> None:
        for watcher in self._watchers:
            watcher.put_nowait(Change(kind, registration))

    def _refusal(self, what: str) -> ConfigError:
        return ConfigError(
            f"{what} in {self._name}, which only tells which agents there are. "
            "Name another registry beside it, such as mesh or nacos://HOST:PORT, for agents to register in."
        )
