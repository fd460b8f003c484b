"""Vectors on disk survive restarts, kills, strangers and full folders; what is damaged is made anew."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import structlog
from catalog.kit import OAKS, ROSES, TULIPS, Letters, agent

from agentmesh.catalog import Index
from agentmesh.catalog.cache import VectorCache

WRITER = """
import asyncio, sys
from pathlib import Path
import numpy as np
from agentmesh.catalog.cache import VectorCache

async def main(folder, first, count):
    cache = VectorCache(Path(folder))
    print("begun", flush=True)
    for n in range(int(first), int(first) + int(count)):
        texts = [f"text {n}.{k}" for k in range(20)]
        await cache.put("e", texts, np.full((20, 512), 1 + n % 7, np.float32))

asyncio.run(main(*sys.argv[1:]))
"""


def writer(folder: Path, first: int, count: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(folder), str(first), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def the_file(folder: Path) -> Path:
    (file,) = folder.iterdir()
    return file


async def embedded_anew(folder: Path, name: str = "letters/64") -> int:
    """How many texts a process that starts now embeds."""
    embedder = Letters(name)
    index = Index(embedder, VectorCache(folder))
    await index.put([TULIPS, OAKS, ROSES])
    count = len(embedder.embedded)
    assert [hit.topic for hit in await index.search("sells tulips", 1)] == ["TulipTask"]
    return count


async def test_a_restart_embeds_nothing_again(tmp_path: Path) -> None:
    assert [await embedded_anew(tmp_path) for _ in range(3)] == [3, 0, 0]


async def test_scores_are_the_same_from_the_cache(tmp_path: Path) -> None:
    scores = []
    for _ in range(2):
        index = Index(Letters(), VectorCache(tmp_path))
        await index.put([TULIPS, OAKS, ROSES])
        scores.append([hit.score for hit in await index.search("who plants tulips and oaks")])
    assert scores[0] == scores[1]


async def test_vectors_of_another_embedder_are_not_used(tmp_path: Path) -> None:
    assert await embedded_anew(tmp_path) == 3
    assert await embedded_anew(tmp_path, "other/64") == 3
    assert await embedded_anew(tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 2


async def test_an_embedder_whose_vectors_have_another_length_begins_anew(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    await cache.put("e", ["a"], np.ones((1, 8), np.float32))
    await cache.put("e", ["b"], np.ones((1, 4), np.float32))
    found = await VectorCache(tmp_path).get("e", ["a", "b"])
    assert [vector is None or len(vector) for vector in found] == [True, 4]


@pytest.mark.parametrize("cut", [1, 100, 140])
async def test_a_torn_tail_is_cut_off(cut: int, tmp_path: Path) -> None:
    assert await embedded_anew(tmp_path) == 3
    file = the_file(tmp_path)
    os.truncate(file, file.stat().st_size - cut)
    assert await embedded_anew(tmp_path) == 1
    assert await embedded_anew(tmp_path) == 0


async def test_a_damaged_record_is_made_anew(tmp_path: Path) -> None:
    assert await embedded_anew(tmp_path) == 3
    file = the_file(tmp_path)
    raw = bytearray(file.read_bytes())
    raw[120] ^= 0xFF
    file.write_bytes(raw)
    assert await embedded_anew(tmp_path) == 1
    assert await embedded_anew(tmp_path) == 0


@pytest.mark.parametrize("rubbish", [b"", b"x", b"not a file of vectors at all" * 100])
async def test_a_file_that_is_something_else_is_written_over(rubbish: bytes, tmp_path: Path) -> None:
    assert await embedded_anew(tmp_path) == 3
    the_file(tmp_path).write_bytes(rubbish)
    assert [await embedded_anew(tmp_path) for _ in range(2)] == [3, 0]


async def test_two_processes_write_at_once(tmp_path: Path) -> None:
    both = [writer(tmp_path, first, 60) for first in (0, 40)]  # a third of it is the same
    assert [each.wait(50) for each in both] == [0, 0]
    texts = [f"text {n}.{k}" for n in range(100) for k in range(20)]
    found = await VectorCache(tmp_path).get("e", texts)
    assert [vector is not None and vector[0] for vector in found] == [1 + n // 20 % 7 for n in range(2000)]
    assert (the_file(tmp_path).stat().st_size - 64) % (16 + 1024 + 4) == 0
    for each in both:
        assert each.stdout
        each.stdout.close()


async def test_a_process_that_is_killed_leaves_whole_vectors(tmp_path: Path) -> None:
    for _ in range(3):
        process = writer(tmp_path, 0, 1_000_000)
        assert process.stdout
        process.stdout.readline()
        while not list(tmp_path.glob("vectors-*")) or the_file(tmp_path).stat().st_size < 200_000:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stdout.close()
    cache = VectorCache(tmp_path)
    await cache.put("e", ["mine"], np.full((1, 512), 9, np.float32))
    found = await VectorCache(tmp_path).get("e", ["text 0.0", "text 3.7", "mine", "yours"])
    assert [vector is not None and vector[5] for vector in found] == [1, 4, 9, False]


async def test_the_file_is_bounded_and_keeps_what_is_newer(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, limit=100_000)
    for n in range(40):
        texts = [f"{n}.{k}" for k in range(10)]
        await cache.put("e", texts, np.full((10, 512), n + 1, np.float32))
        assert the_file(tmp_path).stat().st_size <= 100_000
        assert all(vector is not None and vector[0] == n + 1 for vector in await cache.get("e", texts))
    assert await cache.get("e", ["0.0"]) == [None]


async def test_a_folder_that_cannot_be_written_costs_one_warning(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("in the way")
    embedder, cache = Letters(), VectorCache(place / "vectors")
    with structlog.testing.capture_logs() as logs:
        structlog.configure()
        for _ in range(3):
            index = Index(embedder, cache)
            await index.put([TULIPS, OAKS, ROSES])
            assert [hit.topic for hit in await index.search("sells tulips", 1)] == ["TulipTask"]
    assert len(embedder.embedded) == 3 + 3  # the cards once, the queries each time
    assert [log["log_level"] for log in logs] == ["warning"]
    assert "memory" in logs[0]["event"]


async def test_many_indexes_of_one_process_share_a_file(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    indexes = [Index(Letters(), cache) for _ in range(8)]
    await asyncio.gather(*(index.put([agent(f"T{n % 3}", "Sells.") for n in range(3)]) for index in indexes))
    assert (the_file(tmp_path).stat().st_size - 64) // (16 + 128 + 4) == 3
