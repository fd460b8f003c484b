"""What a large body costs: to send, to fetch, and through a whole call and back."""

import asyncio
import gc
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from agentmesh.mesh import Mesh
from agentmesh.runtime.agent import Agent, skill

MB: Final = 1_000_000
SIZES: Final = (1, 10, 100)
_TOPIC: Final = "BlobBenchTask"
_ROOM: Final = 1000
"""Bytes that the JSON around a text may take."""

Figures = dict[str, float]


class BlobBenchAgent(Agent):
    """Gives back what it is given."""

    topic = _TOPIC

    @skill
    async def echo(self, text: str) -> str:
        """Give the text back."""
        return text


def rows(sizes: tuple[int, ...], pairs: int) -> Iterator[dict[str, Any]]:
    """A row for each size in MB: the median of `pairs` interleaved measurements of floor and figure, in MB/s."""
    for size in sizes:
        floors: list[Figures] = []
        figures: list[Figures] = []
        for _ in range(pairs):
            floors.append(_in_folder(lambda folder, size=size: floor(folder, size * MB)))
            figures.append(_in_folder(lambda folder, size=size: asyncio.run(measure(folder, size * MB))))
        ratios = [
            {key: figure[key] / beside[key] for key in beside} for figure, beside in zip(figures, floors, strict=True)
        ]
        yield {
            "name": f"blob.{size}",
            "figures": {key: round(median(each[key] for each in figures)) for key in figures[0]},
            "floor": {key: round(median(each[key] for each in floors)) for key in floors[0]},
            "ratio": {key: round(median(each[key] for each in ratios), 3) for key in ratios[0]},
        }


def floor(folder: Path, size: int) -> Figures:
    """Write and sync a file of that size, and read it back."""
    body = os.urandom(size)
    path = folder / "floor"
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        file.write(body)
        os.fsync(file.fileno())
    written = time.perf_counter()
    path.read_bytes()
    read = time.perf_counter()
    return {"put_mb_s": size / MB / (written - began), "get_mb_s": size / MB / (read - written)}


async def measure(folder: Path, size: int) -> Figures:
    """Of a body of that size: `put`, until the call is stored; `get`, until its reader has the result; `call`, in and
    out, its bytes counted twice.
    """
    async with Mesh(f"local://{folder}", blob_threshold=MB // 2) as mesh:
        await mesh.serve(BlobBenchAgent())
        put = _text(size)
        began = time.perf_counter()
        await mesh.start(_TOPIC, {"text": put}, delay=3600)
        stored = time.perf_counter()
        text = _text(size)
        sent = time.perf_counter()
        call = await mesh.start(_TOPIC, {"text": text})
        await call.result()
        ended = time.perf_counter()
        await call.result()
        fetched = time.perf_counter()
    return {
        "put_mb_s": size / MB / (stored - began),
        "get_mb_s": size / MB / (fetched - ended),
        "call_mb_s": 2 * size / MB / (ended - sent),
    }


def _text(size: int) -> str:
    """A text like no other: equal ones would be stored once."""
    return os.urandom(16).hex() + "y" * (size - _ROOM)


def _in_folder(run: Any) -> Figures:
    gc.collect()
    with tempfile.TemporaryDirectory() as folder:
        found: Figures = run(Path(folder))
        return found
