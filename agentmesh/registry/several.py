"""Several registries at once, behind one."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Literal, TypeVar

import msgspec

from agentmesh.clock import Clock, sleep
from agentmesh.contracts import Change, Registration, Registry
from agentmesh.errors import ConfigError, MeshError, RegistryUnavailable, TopicNotFound
from agentmesh.log import get_logger
from agentmesh.registry.embedded import version_order

Member = tuple[str, Registry]
"""A registry and what it is called."""

Key = tuple[str, str]
T = TypeVar("T")

_AGAIN: Final = 5.0


class Several:
    """A `Registry` of several: agents register in the first that takes them, and are found in all.

    Where two have the same topic and version, the one that is alive counts, and of two alive the one named first. One
    that is away is left out, with a warning, until it is back; only what needs it raises `RegistryUnavailable`.
    """

    def __init__(self, members: Sequence[Member], clock: Clock) -> None:
        self._members = list(members)
        self._clock = clock
        self._away: set[str] = set()
        self._writable = next((each for each in members if not getattr(each[1], "read_only", False)), None)

    @property
    def online(self) -> bool:
        """Whether the registry that agents are registered in is there, as far as is known."""
        return self._writable is None or getattr(self._writable[1], "online", True)

    async def register(self, registration: Registration) -> None:
        await self._writer(f"{registration.topic} cannot be registered").register(registration)

    async def renew(self, instance: str) -> None:
        if self._writable:
            await self._writable[1].renew(instance)

    async def remove(self, topic: str, instance: str = "") -> None:
        writer = self._writer(f"{topic} cannot be removed")
        try:
            await writer.remove(topic, instance)
        except TopicNotFound:
            holders = [name for name, found in await self._ask(lambda each: _get(each, topic)) if found]
            if not holders:
                raise
            raise ConfigError(f"{topic} is told by {', '.join(holders)}, and cannot be removed there.") from None

    async def get(self, topic: str, version: str = "") -> Registration:
        answers = await self._ask(lambda each: _get(each, topic, version))
        found = [registration for _, registration in answers if registration]
        if not found:
            raise await self._nowhere(topic, version)
        if len(found) == 1:
            return found[0]
        best = max(found, key=lambda each: (each.alive, version_order(each.version)))  # of equals, the first
        if version:
            return best
        alive = {each.version for each in await self.list() if each.topic == topic}
        return msgspec.structs.replace(best, siblings=len(alive - {best.version}))

    async def list(self, *, alive: bool = True) -> Sequence[Registration]:
        answers = await self._ask(lambda each: each.list(alive=alive))
        merged = _merged(found for _, found in answers)
        return [merged[key] for key in sorted(merged)]

    async def route(self, topic: str, weights: Mapping[str, int] | None = None) -> Mapping[str, int]:
        if weights is not None:
            return await self._writer(f"{topic} cannot be given a route").route(topic, weights)
        answers = await self._ask(lambda each: _route(each, topic))
        told = [found for _, found in answers if found is not None]
        if not told:
            raise await self._nowhere(topic, "")
        return next((each for each in told if each), told[0])

    async def watch(self) -> AsyncGenerator[Change, None]:
        view = _View(len(self._members))
        tasks = [asyncio.create_task(self._pump(place, view)) for place in range(len(self._members))]
        try:
            while True:
                yield await view.changes.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, place: int, view: "_View") -> None:
        """What one registry tells, into the view of all; one that went away is begun anew when it is back."""
        name, registry = self._members[place]
        while True:
            try:
                view.reset(place, await registry.list(alive=False))
                async with aclosing(registry.watch()) as changes:
                    async for change in changes:
                        self._is_back(name)
                        view.take(place, change)
            except MeshError as error:
                self._is_away(name, error)
            await sleep(self._clock, _AGAIN)

    async def _ask(self, question: Callable[[Registry], Awaitable[T]]) -> Sequence[tuple[str, T]]:
        """Every registry that answers, with its answer. Raises `RegistryUnavailable` if none does."""
        names = [name for name, _ in self._members]
        answers = await asyncio.gather(*(question(each) for _, each in self._members), return_exceptions=True)
        found: list[tuple[str, T]] = []
        failed: list[str] = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, RegistryUnavailable):
                self._is_away(name, answer)
                failed.append(f"{name}: {answer}")
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._is_back(name)
                found.append((name, answer))
        if not found:
            raise RegistryUnavailable("No registry answers. " + " ".join(failed))
        return found

    async def _nowhere(self, topic: str, version: str) -> MeshError:
        """The error for a topic that no registry has that answers."""
        known = await self.list(alive=False)
        if self._away:
            away = " and ".join(sorted(self._away))
            return RegistryUnavailable(
                f"{topic} is in no registry that answers, and {away} cannot be reached: ask again."
            )
        versions = [f"{topic} {each.version}" for each in known if each.topic == topic]
        return TopicNotFound(f"{topic} {version}" if versions else topic, versions or {each.topic for each in known})

    def _writer(self, what: str) -> Registry:
        if self._writable is None:
            names = ", ".join(name for name, _ in self._members)
            raise ConfigError(
                f"{what}: {names} only tell which agents there are. "
                "Name another registry beside them, such as mesh or nacos://HOST:PORT."
            )
        return self._writable[1]

    def _is_away(self, name: str, error: MeshError) -> None:
        if name not in self._away:
            self._away.add(name)
            get_logger(registry=name).warning("a registry is away, and the others go on", error=str(error))

    def _is_back(self, name: str) -> None:
        if name in self._away:
            self._away.discard(name)
            get_logger(registry=name).info("a registry is back")


class _View:
    """What each registry has, and what all of them amount to: `changes` tells where that becomes different."""

    def __init__(self, count: int) -> None:
        self.changes: asyncio.Queue[Change] = asyncio.Queue()
        self._of: list[dict[Key, Registration]] = [{} for _ in range(count)]

    def reset(self, place: int, found: Sequence[Registration]) -> None:
        """A registry that is watched from now on has these, and nothing else."""
        now = {(each.topic, each.version): each for each in found}
        for key in [*self._of[place].keys() | now.keys()]:
            self._set(place, key, now.get(key))

    def take(self, place: int, change: Change) -> None:
        """A registry told something."""
        each = change.registration
        is_there = change.kind != "removed"
        kept = msgspec.structs.replace(each, alive=change.kind == "online") if is_there else None
        self._set(place, (each.topic, each.version), kept)

    def _set(self, place: int, key: Key, registration: Registration | None) -> None:
        before = self._whole(key)
        if registration is None:
            self._of[place].pop(key, None)
        else:
            self._of[place][key] = registration
        after = self._whole(key)
        kind: Literal["online", "offline", "removed"] | None = None
        if after is None:
            kind = "removed" if before else None
        elif after.alive and not (before and before.alive and before.card == after.card):
            kind = "online"
        elif before and before.alive and not after.alive:
            kind = "offline"
        if kind:
            told = after or before
            assert told
            self.changes.put_nowait(Change(kind, told if after else msgspec.structs.replace(told, alive=False)))

    def _whole(self, key: Key) -> Registration | None:
        return _merged([of[key]] for of in self._of if key in of).get(key)


def _merged(found: Iterable[Iterable[Registration]]) -> dict[Key, Registration]:
    """By topic and version: the first that is alive, else the first."""
    merged: dict[Key, Registration] = {}
    for registrations in found:
        for each in registrations:
            key = each.topic, each.version
            if key not in merged or (each.alive and not merged[key].alive):
                merged[key] = each
    return merged


async def _get(registry: Registry, topic: str, version: str = "") -> Registration | None:
    try:
        return await registry.get(topic, version)
    except TopicNotFound:
        return None


async def _route(registry: Registry, topic: str) -> Mapping[str, int] | None:
    try:
        return await registry.route(topic)
    except TopicNotFound:
        return None
