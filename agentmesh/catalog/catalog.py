"""Catalog: every agent of a registry, followed as they come, change and go, beside what they have to do."""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import msgspec

from agentmesh.catalog.filters import Filters, read_query
from agentmesh.catalog.hit import Hit
from agentmesh.catalog.index import Index
from agentmesh.catalog.seen import Seen
from agentmesh.catalog.vectors import Vectors
from agentmesh.clock import Clock, SystemClock, sleep
from agentmesh.contracts import Change, Embedder, Queue, Registration, Registry, TopicStats
from agentmesh.errors import MeshError, TopicNotFound
from agentmesh.log import get_logger

if TYPE_CHECKING:
    from agentmesh.catalog.cache import VectorCache

NEAR: Final = 0.02
"""Scores that differ by no more are a tie, which liveness and load settle."""
_MORE: Final = 5
_LOOK: Final = 0.5
_AGAIN: Final = 5.0


class Catalog:
    """The agents of `registry`, ready to be searched: `async with Catalog(registry, queue, embedder) as catalog`.

    Entering it reads what is registered; its vectors come from `cache` where they are known. `queue` tells how much
    each agent has to do. A registry that is away leaves what was known.
    """

    def __init__(
        self,
        registry: Registry,
        queue: Queue | None = None,
        embedder: Embedder | None = None,
        cache: "VectorCache | None" = None,
        clock: Clock | None = None,
    ) -> None:
        self._registry = registry
        self._queue = queue
        self._clock = clock or SystemClock()
        self._vectors = Vectors(embedder, cache)
        self._index = Index.sharing(self._vectors)
        self._known: set[tuple[str, str]] = set()
        self._changes: list[Change] = []
        self._changed = asyncio.Event()
        self._applying = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self.seen = Seen()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._follow())]
        try:
            await self._list()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def search(self, query: str, limit: int = 5, *, filters: Filters | None = None) -> Sequence[Hit]:
        """The skills that are nearest to the query, best first; of those that are about as near, the ones that are
        alive and have less to do. `Hit.fits` says which are near enough.

        The query may hold filters (`filters.read_query`), which count beside `filters`; without any, only agents that
        are alive are found. Raises `ConfigError` for a filter that is none.
        """
        words, wanted = read_query(query, filters)
        await asyncio.sleep(0)  # what the registry has told already is heard first
        await self._apply()
        hits = await self._index.search(words, limit + _MORE if limit > 0 else 0, filters=wanted)
        return settled(await self._looked_at(hits, wanted))[: max(0, limit)]

    def over(self, registrations: Iterable[Registration]) -> Index:
        """An index over just these agents, whose vectors are those of the catalog."""
        return Index.sharing(self._vectors, registrations)

    async def _watch(self) -> None:
        """Hear of changes for ever. After a registry was away, everything is read anew."""
        away = False
        while True:
            try:
                if away:
                    await self._list()
                    away = False
                async with contextlib.aclosing(self._registry.watch()) as changes:
                    async for change in changes:
                        self._changes.append(change)
                        self._changed.set()
            except MeshError as error:
                if not away:
                    get_logger().warning("the catalog goes on with the agents it knows", error=str(error))
                away = True
            await sleep(self._clock, _AGAIN)

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            await self._apply()

    async def _apply(self) -> None:
        """Bring the index up to what was heard."""
        async with self._applying:
            while self._changes:
                changes, self._changes = self._changes, []
                last = {(each.registration.topic, each.registration.version): each for each in changes}
                for key, change in last.items():
                    if change.kind == "removed":
                        self._known.discard(key)
                        self._index.remove(*key)
                there = [_as_told(each) for each in last.values() if each.kind != "removed"]
                self._known.update((each.topic, each.version) for each in there)
                await self._index.put(there)
            self._changed.clear()

    async def _list(self) -> None:
        """Take over everything that is registered now."""
        async with self._applying:
            listed = await self._registry.list(alive=False)
            now = {(each.topic, each.version) for each in listed}
            for key in self._known - now:
                self._index.remove(*key)
            self._known = now
            await self._index.put(listed)

    async def _looked_at(self, hits: Sequence[Hit], wanted: Filters) -> list[Hit]:
        """The hits with what is true of their agents now, without those that are not what was wanted any more."""
        topics = list(dict.fromkeys(hit.topic for hit in hits))
        stats, live = await asyncio.gather(
            self._stats(topics), asyncio.gather(*(self._registered(hit) for hit in hits))
        )
        found = []
        for hit, registration in zip(hits, live, strict=True):
            if registration is None:
                continue
            if wanted.alive in (None, registration.alive):
                found.append(self._described(hit, registration, stats.get(hit.topic)))
        return found

    def _described(self, hit: Hit, registration: Registration, stats: TopicStats | None) -> Hit:
        record = self.seen.of(hit.topic)
        why = msgspec.structs.replace(
            hit.why,
            waiting=stats and stats.waiting,
            running=stats and stats.running,
            succeeded=record and record.succeeded,
            seconds=record and record.seconds,
            silent=max(0, self._clock.now() - registration.renewed) if registration.renewed else None,
        )
        load = stats.waiting + stats.running if stats else 0
        return msgspec.structs.replace(hit, alive=registration.alive, load=load, why=why)

    async def _stats(self, topics: Sequence[str]) -> dict[str, TopicStats]:
        """Of those topics that the queue has; agents that live elsewhere have none there."""
        left = set(topics)
        try:
            async with asyncio.timeout(_LOOK):
                while left and self._queue:
                    try:
                        return {each.topic: each for each in await self._queue.stats(sorted(left))}
                    except TopicNotFound as error:
                        left = left - {error.topic} if error.topic in left else set()
        except (MeshError, TimeoutError):
            pass
        return {}

    async def _registered(self, hit: Hit) -> Registration | None:
        """What the registry says of the hit's agent now; None if it is gone."""
        try:
            async with asyncio.timeout(_LOOK):
                return await self._registry.get(hit.topic, hit.version)
        except TopicNotFound:
            return None
        except (MeshError, TimeoutError):
            return Registration(hit.topic, hit.version, hit.card, alive=hit.alive)


def settled(hits: Sequence[Hit]) -> list[Hit]:
    """The hits in their order, except that of those about as near as the first of them the ones that are alive, then
    those with less to do, then those that succeed more often come first.
    """
    order: list[Hit] = []
    at = 0
    while at < len(hits):
        end = next((n for n in range(at, len(hits)) if hits[n].score < hits[at].score - NEAR), len(hits))
        order += sorted(hits[at:end], key=_readiness)
        at = end
    return order


def _readiness(hit: Hit) -> tuple[bool, bool, int, float, float, str, str]:
    succeeded = 1.0 if hit.why.succeeded is None else hit.why.succeeded
    return not hit.fits, not hit.alive, hit.load, -round(succeeded, 1), -hit.score, hit.topic, hit.skill


def _as_told(change: Change) -> Registration:
    return msgspec.structs.replace(change.registration, alive=change.kind == "online")
