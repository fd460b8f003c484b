"""What a search costs in catalogs of several sizes: time, memory, and how long an index takes to be ready.

Each size gets a folder of its own. One process begins cold and leaves the vectors there; another begins warm and is
measured, so that memory and time are those of a mesh that was just started.
"""

import asyncio
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final, TypeVar

from agentmesh.catalog.cache import VectorCache
from agentmesh.catalog.embedders import choose
from agentmesh.catalog.index import Index
from agentmesh.cli.bench.cards import made
from agentmesh.contracts import Embedder

SIZES: Final = (1000, 10_000, 100_000)
_QUERIES: Final = 200
_WARM_UP: Final = 20

Figures = dict[str, float]
T = TypeVar("T")


def rows(sizes: Sequence[int], embedder: str, tell: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """A row for each number of cards, beside what cannot be done without: to embed the query, and to multiply it with
    every vector. `tell` is called with what goes on.
    """
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            tell(f"{size:,} cards: a cold start, which embeds them")
            cold = _apart(_begin_cold, Path(folder), size, embedder)
            tell(f"{size:,} cards: a warm start, and {_QUERIES} searches")
            figures, floor = _apart(_measure, Path(folder), size, embedder)
        figures = {"cold_start_s": cold, **figures}
        ratio = {"p50": round(figures["p50_ms"] / floor["p50_ms"], 2)} if floor else {}
        yield {"name": f"discovery.{size}", "figures": figures, "floor": floor, "ratio": ratio}


def _apart(work: Callable[[Path, int, str], T], folder: Path, size: int, embedder: str) -> T:
    """Do it in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, folder, size, embedder).result()


def _begin_cold(folder: Path, size: int, embedder: str) -> float:
    return asyncio.run(_started(folder, size, embedder))[1]


async def _started(folder: Path, size: int, embedder: str) -> tuple[Index, float]:
    """An index of so many cards, and the seconds until it can be searched."""
    chosen = choose(embedder)
    agents = [agent for agent, _ in made(size)]
    if chosen:
        await chosen.embed(["the model is loaded"])
    began = time.perf_counter()
    index = Index(chosen, VectorCache(folder))
    await index.put(agents)
    return index, round(time.perf_counter() - began, 3)


def _measure(folder: Path, size: int, embedder: str) -> tuple[Figures, Figures]:
    return asyncio.run(_measured(folder, size, embedder))


async def _measured(folder: Path, size: int, embedder: str) -> tuple[Figures, Figures]:
    asked = [f"{query} {number}" for number, (_, query) in enumerate(islice(made(size), _QUERIES + _WARM_UP))]
    index, warm = await _started(folder, size, embedder)
    await index.search("what a first search makes ready", 5)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # before the floor takes its own
    times, floors = [], []
    chosen = choose(embedder)
    vectors = _random_vectors(size) if chosen else None
    for query in asked:
        began = time.perf_counter()
        await index.search(query, 5)
        times.append(1000 * (time.perf_counter() - began))
        if chosen:
            floors.append(await _floor(chosen, vectors, f"{query} again"))
    figures = {
        "warm_start_s": warm,
        "p50_ms": round(median(times[_WARM_UP:]), 2),
        "p99_ms": round(quantiles(times[_WARM_UP:], n=100)[98], 2),
        "memory_mb": round(memory),
    }
    return figures, {"p50_ms": round(median(floors[_WARM_UP:]), 2)} if floors else {}


def _random_vectors(size: int) -> Any:
    import numpy as np

    vectors = np.random.default_rng(7).standard_normal((size, 512), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


async def _floor(embedder: Embedder, vectors: Any, query: str) -> float:
    """Milliseconds to embed a query and to find the best five by a product with all vectors."""
    import numpy as np

    began = time.perf_counter()
    (vector,) = await embedder.embed([query])
    np.argpartition(vectors @ vector, len(vectors) - 5)
    return 1000 * (time.perf_counter() - began)
