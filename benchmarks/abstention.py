"""Learns when to say that nothing fits: the numbers in agentmesh/catalog/abstention.py.

    python benchmarks/abstention.py CATALOG QUERIES [CATALOG QUERIES …]

takes pairs of files as `agentmesh eval discovery` does. Each query is asked of parts of its catalog of several sizes,
once with its answer among the cards and once without. Half of the queries (by a digest of the id) are learnt from; the
F1 of the other half is reported, for each data set, each size and several thresholds.
"""

import asyncio
import hashlib
import random
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agentmesh.catalog.embedders import choose
from agentmesh.catalog.evaluation import Query, Without, read_entries, read_queries, registrations
from agentmesh.catalog.index import Index
from agentmesh.contracts import Embedder, Registration

SIZES = (3, 12, 50, 200, 0)
MOST = 400
"""Queries of a data set that are asked."""
FIELDS = ("name", "all")


class Row(NamedTuple):
    """The best hit of one query in one part of a catalog."""

    data: str
    size: int
    learnt: bool
    fits: bool
    meaning: float
    margin: float


def main(paths: Sequence[str]) -> None:
    pairs = [(Path(cards), Path(queries)) for cards, queries in zip(paths[::2], paths[1::2], strict=False)]
    if not pairs or len(paths) % 2:
        sys.exit(__doc__)
    embedder = Remembering(choose())
    report("BOTH", asyncio.run(collected(pairs, embedder)), (4, 5))
    report("MEANING_ALONE", asyncio.run(collected(pairs, embedder, foreign=True)), (4, 5))
    report("WORDS_ALONE", asyncio.run(collected(pairs, None)), (5,))


class Remembering:
    """An embedder that embeds no text twice."""

    def __init__(self, embedder: Embedder | None) -> None:
        assert embedder
        self.name = embedder.name
        self._embedder = embedder
        self._known: dict[str, Any] = {}

    async def embed(self, texts: Sequence[str]) -> Any:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= zip(new, await self._embedder.embed(new), strict=True)
        return np.array([self._known[text] for text in texts])


async def collected(
    pairs: Sequence[tuple[Path, Path]], embedder: Embedder | None, *, foreign: bool = False
) -> list[Row]:
    """Each best hit; `foreign` takes every card as one in a script that no query is in."""
    rows: list[Row] = []
    for (cards, questions), fields in product(pairs, FIELDS):
        entries = read_entries(cards)
        every = registrations(entries, fields)  # type: ignore[arg-type]
        queries = read_queries(questions, entries)
        random.Random(0).shuffle(queries)
        for size in SIZES:
            for part in parts(every, size):
                here = {each.topic for each in part}
                index: Index | None = None
                for query in queries[:MOST]:
                    if not here.intersection(query.relevant):
                        continue
                    if index is None:
                        index = Index(embedder)
                        await index.put(part)
                        if foreign:
                            index._table.scripts[:] = bytes([4]) * len(index._table.scripts)
                    rows += [row async for row in asked_twice(index, f"{cards.stem} {fields}", size, query)]
    return rows


def parts(every: Sequence[Registration], size: int) -> Iterator[Sequence[Registration]]:
    shuffled = list(every)
    random.Random(size).shuffle(shuffled)
    step = size or len(shuffled)
    yield from (shuffled[at : at + step] for at in range(0, len(shuffled), step))


async def asked_twice(index: Index, data: str, size: int, query: Query) -> AsyncIterator[Row]:
    for filters in (None, Without(frozenset(query.relevant))):
        for hit in await index.search(query.text, 1, filters=filters):
            yield Row(data, size, learnt(query), filters is None, hit.why.meaning or 0.0, hit.why.margin)


def learnt(query: Query) -> bool:
    return hashlib.blake2b(query.id.encode()).digest()[0] % 2 == 0


def report(kind: str, rows: Sequence[Row], features: Sequence[int]) -> None:
    x = np.array([[row[at] for at in features] for row in rows])
    y = np.array([row.fits for row in rows])
    half = np.array([row.learnt for row in rows])
    groups = np.array([f"{row.data} {row.size}" for row in rows])
    each = sorted(set(groups))
    weights = np.array([1 / (groups == group).sum() for group in each])[np.searchsorted(each, groups)]
    factors, bias = fitted(x[half], y[half], weights[half] / weights[half].mean())
    likely = 1 / (1 + np.exp(-(x @ factors + bias)))

    def mean(threshold: float, which: Any) -> float:
        return float(np.mean([f1(likely[i] >= threshold, y[i]) for i in (which & (groups == g) for g in each)]))

    steps = np.arange(0.1, 0.75, 0.05)
    best = max(steps, key=lambda step: mean(step, half))
    names = [Row._fields[at] for at in features]
    print(f"\n{kind}: {dict(zip(names, np.round(factors, 2).tolist(), strict=True))}, bias {bias:.2f}, FITS {best:.2f}")
    print(f"F1 of the other half: {mean(best, ~half):.3f}, of the half learnt from: {mean(best, half):.3f}")
    print("threshold  " + "  ".join(f"{step:.2f}" for step in steps))
    for group in each:
        i = ~half & (groups == group)
        print(f"{group:32}" + "  ".join(f"{100 * f1(likely[i] >= step, y[i]):4.1f}" for step in steps))


def fitted(x: Any, y: Any, weights: Any) -> tuple[Any, float]:
    """A logistic regression, by Newton's method, with a little shrinkage."""
    mean, spread = x.mean(0), x.std(0) + 1e-9
    a = np.c_[(x - mean) / spread, np.ones(len(x))]
    b = np.zeros(a.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-a @ b))
        slope = a.T @ (weights * (p - y)) + 1e-3 * len(x) * b
        b -= np.linalg.solve((a * (weights * p * (1 - p))[:, None]).T @ a + 1e-3 * len(x) * np.eye(len(b)), slope)
    factors = b[:-1] / spread
    return factors, float(b[-1] - factors @ mean)


def f1(said: Any, true: Any) -> float:
    right = (said & true).sum()
    return float(2 * right / max(1, said.sum() + true.sum()))


if __name__ == "__main__":
    main(sys.argv[1:])
