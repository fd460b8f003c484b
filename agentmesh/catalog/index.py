"""Index: the skills of agents, searched by words and by meaning."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, TypeVar

from agentmesh.catalog.hit import Hit
from agentmesh.catalog.matrix import Matrix, units
from agentmesh.catalog.scoring import score_both, score_words
from agentmesh.catalog.table import Accepts, Table
from agentmesh.catalog.texts import meanings
from agentmesh.catalog.vectors import Vectors
from agentmesh.contracts import Embedder, Registration

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    from agentmesh.card import AgentSkill
    from agentmesh.catalog.cache import VectorCache

P = ParamSpec("P")
T = TypeVar("T")
LONGEST_QUERY: Final = 2000
"""Characters of a query that are read."""
_CHUNK: Final = 256
_FEW: Final = 1000
"""Rows that are out of use and do no harm."""
_thread: Final = ThreadPoolExecutor(1, "agentmesh-search")
"""One for all: what is heavy is done in it, off the loop, one thing after the other."""


class Accepting(Protocol):
    """Filters: `Filters`, or what else says which skills may be found."""

    def accepts(self, registration: Registration, skill: "AgentSkill", /) -> bool: ...


class Index:
    """Skills by what they can do. `put` and `remove` may be called while searches go on."""

    def __init__(self, embedder: Embedder | None = None, cache: "VectorCache | None" = None) -> None:
        self._vectors = Vectors(embedder, cache)
        self._table = Table()
        self._matrix = Matrix()
        self._putting = asyncio.Lock()
        self._pending: list[Registration] = []
        self._without: set[int] = set()

    @classmethod
    def sharing(cls, vectors: Vectors, registrations: Iterable[Registration] = ()) -> "Index":
        """An index over these registrations alone, filled by its first search."""
        index = cls()
        index._vectors = vectors
        index._pending = list(registrations)
        return index

    async def put(self, registrations: Iterable[Registration]) -> None:
        """Add agents, or change them; only a card that is new or has changed costs anything.

        They are found by their words at once, and by their meaning when this returns.
        """
        every = list(registrations)
        async with self._putting:
            rows: list[int] = []
            for at in range(0, len(every), _CHUNK):
                rows += await self._do(self._put, every[at : at + _CHUNK])
            if self._vectors.at_all:
                self._without.update(rows)
                await self._embed()
            if self._table.gone > max(_FEW, len(self._table.skills) // 2):
                await self._do(self._compact)

    def remove(self, topic: str, version: str = "") -> None:
        """Take out a version of an agent; without `version`, all of them."""
        _thread.submit(self._remove, topic, version)

    async def search(self, query: str, limit: int = 5, *, filters: Accepting | None = None) -> Sequence[Hit]:
        """The skills that are nearest to the query, best first, equals by topic and skill; see `Hit.fits`.

        Of several versions of an agent the one to call is found, among those that the filters let through.
        """
        if self._pending:
            pending, self._pending = self._pending, []
            await self.put(pending)
        vector = None
        if self._vectors.at_all and query.strip():
            (vector,) = await self._vectors.of([query[:LONGEST_QUERY]], keep=False)
            if vector is not None and self._without and not self._putting.locked():
                async with self._putting:
                    await self._embed()
        return await self._do(self._search, query, vector, limit, filters.accepts if filters else None)

    def _search(
        self, query: str, vector: "NDArray[float32] | None", limit: int, accepts: "Accepts | None"
    ) -> list[Hit]:
        if vector is None:
            return score_words(self._table, query, limit, accepts)
        return score_both(self._table, self._matrix, query, vector, limit, accepts)

    def _put(self, registrations: Sequence[Registration]) -> list[int]:
        return [row for each in registrations for row in self._table.put(each)]

    def _remove(self, topic: str, version: str) -> None:
        self._table.remove(topic, version)

    async def _embed(self) -> None:
        """Give those rows vectors that have none, as far as they can be had."""
        rows = sorted(self._without)
        for at in range(0, len(rows), _CHUNK):
            chunk = rows[at : at + _CHUNK]
            texts = [meanings(known[0].card, known[1]) if (known := self._table.skills[row]) else () for row in chunk]
            flat = [text for each in texts for text in each]
            made = dict(zip(flat, await self._vectors.of(flat), strict=True))
            await self._do(self._place, chunk, texts, made)
            if self._vectors.broken:
                return

    def _place(
        self,
        rows: Sequence[int],
        texts: Sequence[Sequence[str]],
        made: "dict[str, NDArray[float32] | None]",
    ) -> None:
        found = [[vector for text in each if (vector := made[text]) is not None] for each in texts]
        placed = [(row, vectors) for row, vectors in zip(rows, found, strict=True) if vectors]
        for (row, _), vector in zip(placed, units([vectors for _, vectors in placed]), strict=True):
            self._matrix.put(row, vector)
        for row, each, vectors in zip(rows, texts, found, strict=True):
            if len(vectors) == len(each):
                self._without.discard(row)

    def _compact(self) -> None:
        """Begin anew with the rows that are in use."""
        old, table, matrix, without = self._table, Table(), Matrix(), set[int]()
        before_of = {(each.topic, each.version, skill.id): row for row, each, skill in old.places()}
        for registration in old.registrations():
            table.put(registration)
        for row, each, skill in table.places():
            before = before_of[each.topic, each.version, skill.id]
            vector = self._matrix.vector(before)
            if vector is not None:
                matrix.put(row, vector)
            if before in self._without:
                without.add(row)
        self._table, self._matrix, self._without = table, matrix, without

    async def _do(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(_thread, lambda: function(*args, **kwargs))
