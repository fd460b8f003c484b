"""What LiteTopics cost when there are many: append, poll, sync, open, memory; beside a bare append by sqlite3.

Each number of LiteTopics gets a folder of its own, filled through the broker by one process and measured by another, so
that memory and the time to open are those of a mesh that was just started.
"""

import asyncio
import multiprocessing
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final, TypeVar

from agentmesh.broker.local import open_local
from agentmesh.clock import SystemClock
from agentmesh.contracts import Broker, Inbox
from agentmesh.ids import digest
from agentmesh.message import Draft

FEWEST: Final = 1000
CLIENTS: Final = 100
SUBSCRIBED: Final = 100_000
_BATCH: Final = 500
_ROUNDS: Final = 2000
_AT_ONCE: Final = 64
_READY: Final = 10
_COMPARED: Final = ("append_us", "append_64_us", "poll_us")
_ENTRY: Final = Draft("data", {"text": "y" * 180})

Figures = dict[str, float]
T = TypeVar("T")


def rows(logs: Sequence[int], fewest: int = FEWEST) -> Iterator[dict[str, Any]]:
    """A row for each number of LiteTopics, beside what the fewest cost in the same run."""
    base: Figures = {}
    for number in sorted({fewest, *logs}):
        with tempfile.TemporaryDirectory() as folder:
            figures, bare = run(Path(folder), number)
        base = base or figures
        ratio = {name: round(figures[name] / base[name], 2) for name in _COMPARED}
        ratio["bare_append"] = round(figures["append_us"] / bare["append_us"], 2)
        yield {
            "name": f"lite.{number}",
            "figures": figures,
            "floor": {"bare_append_us": bare["append_us"], **{name: base[name] for name in _COMPARED}},
            "ratio": ratio,
        }


def run(folder: Path, logs: int) -> tuple[Figures, Figures]:
    """Figures of `logs` LiteTopics, at least 1,000, in a mesh made in `folder`, and of a bare append to its file."""
    _apart(_fill, folder, logs)
    return _apart(_measure, folder, logs), _apart(_floor, folder, logs)


def name_of(number: int) -> str:
    """A name as hashes make them: neighbours in time are no neighbours in the file."""
    return f"log-{digest(str(number))}"


def _apart(work: Callable[[Path, int], T], folder: Path, logs: int) -> T:
    """Do it in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, folder, logs).result()


def _fill(folder: Path, logs: int) -> None:
    async def fill() -> None:
        broker = await open_local(folder, SystemClock())
        for start in range(0, logs, _BATCH):
            names = map(name_of, range(start, min(start + _BATCH, logs)))
            await asyncio.gather(*(broker.append(name, [_ENTRY]) for name in names))
        await broker.close()

    asyncio.run(fill())


def _measure(folder: Path, logs: int) -> Figures:
    return asyncio.run(_figures(folder, logs))


async def _figures(folder: Path, logs: int) -> Figures:
    chosen = random.Random(logs)  # noqa: S311 - the same logs every time
    began = time.perf_counter()
    broker = await open_local(folder, SystemClock())
    figures = {"open_s": time.perf_counter() - began}
    try:
        each = min(SUBSCRIBED, logs) // CLIENTS
        names = [name_of(number) for number in chosen.sample(range(logs), each * CLIENTS)]
        sets = [names[start : start + each] for start in range(0, each * CLIENTS, each)]
        began = time.perf_counter()
        inboxes = [await _online(broker, number, own) for number, own in enumerate(sets)]
        figures["subscribe_us"] = (time.perf_counter() - began) / len(names) * 1e6
        figures["append_us"] = await _append(broker, chosen, logs, 1)
        figures[f"append_{_AT_ONCE}_us"] = await _append(broker, chosen, logs, _AT_ONCE)
        figures["poll_us"] = await _poll(broker, chosen, inboxes, sets)
        figures["list_us"] = await _list(broker, chosen, logs)
        figures["rss_mb"] = rss()
        figures |= await _syncs(broker, names)
    finally:
        await broker.close()
    return {name: round(value, 4 if name.endswith("_s") else 1) for name, value in figures.items()}


async def _online(broker: Broker, number: int, names: Sequence[str]) -> Inbox:
    """A client that has read everything so far."""
    inbox = broker.inbox(f"client-{number}")
    await inbox.sync(dict.fromkeys(names))
    while batches := await inbox.poll(256, 0):
        await inbox.commit({batch.lite_topic: batch.entries[-1].offset for batch in batches})
    return inbox


async def _append(broker: Broker, chosen: random.Random, logs: int, at_once: int) -> float:
    """Microseconds of an append to any of the LiteTopics, `at_once` of them in flight: the median of ten parts."""
    times = []
    for _ in range(10):
        names = [name_of(chosen.randrange(logs)) for _ in range(_ROUNDS // 10 // at_once * at_once or at_once)]
        began = time.perf_counter()
        for start in range(0, len(names), at_once):
            if at_once == 1:
                await broker.append(names[start], [_ENTRY])
            else:
                await asyncio.gather(*(broker.append(name, [_ENTRY]) for name in names[start : start + at_once]))
        times.append((time.perf_counter() - began) / len(names))
    return median(times) * 1e6


async def _poll(
    broker: Broker, chosen: random.Random, inboxes: Sequence[Inbox], sets: Sequence[Sequence[str]]
) -> float:
    """Microseconds of a poll that brings a few of many, and its commit."""
    times = []
    for _ in range(_ROUNDS // 4):
        number = chosen.randrange(len(inboxes))
        inbox = inboxes[number]
        for batch in await inbox.poll(256, 0):
            await inbox.commit({batch.lite_topic: batch.entries[-1].offset})
        ready = chosen.sample(sets[number], _READY)
        await asyncio.gather(*(broker.append(name, [_ENTRY]) for name in ready))
        began = time.perf_counter()
        batches = await inbox.poll(256, 0)
        await inbox.commit({batch.lite_topic: batch.entries[-1].offset for batch in batches})
        times.append(time.perf_counter() - began)
    return median(times) * 1e6


async def _list(broker: Broker, chosen: random.Random, logs: int) -> float:
    """Microseconds of a page of a hundred from anywhere in the listing."""
    times = []
    for _ in range(50):
        after = name_of(chosen.randrange(logs))
        began = time.perf_counter()
        await broker.list("log-", after, 100)
        times.append(time.perf_counter() - began)
    return median(times) * 1e6


async def _syncs(broker: Broker, names: Sequence[str]) -> Figures:
    """One client of all that are subscribed: its first sync, one that changes nothing, its end; and the longest stall
    of the loop meanwhile.
    """
    inbox = broker.inbox("everything")
    interests = dict.fromkeys(names)
    _, idle_stall = await stalled(asyncio.sleep(0.5))
    first, first_stall = await stalled(inbox.sync(interests))
    again, again_stall = await stalled(inbox.sync(interests))
    end, end_stall = await stalled(_end(inbox))
    return {
        "idle_stall_ms": idle_stall,
        "sync_ms": first * 1000,
        "sync_stall_ms": first_stall,
        "resync_ms": again * 1000,
        "resync_stall_ms": again_stall,
        "end_ms": end * 1000,
        "end_stall_ms": end_stall,
    }


async def _end(inbox: Inbox) -> None:
    await inbox.close()
    for _ in range(500):
        await asyncio.sleep(0)


async def stalled(work: Awaitable[object]) -> tuple[float, float]:
    """How long it took (seconds), and the longest that the loop was held meanwhile (ms)."""
    turns = [time.perf_counter()]

    async def tick() -> None:
        while True:
            await asyncio.sleep(0)
            turns.append(time.perf_counter())

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    began = time.perf_counter()
    await work
    took = time.perf_counter() - began
    turns.append(time.perf_counter())
    ticker.cancel()
    return took, max(after - before for before, after in pairwise(turns)) * 1000


def _floor(folder: Path, logs: int) -> Figures:
    """A bare append to the same file: one row of an entry in a transaction of its own."""
    chosen = random.Random(logs)  # noqa: S311
    db = sqlite3.connect(folder / "mesh.db", isolation_level=None)
    try:
        for pragma in ("synchronous = normal", "wal_autocheckpoint = 0"):
            db.execute(f"pragma {pragma}")
        last = db.execute("select max(lite_topic) from entry").fetchone()[0]
        times = []
        for part in range(10):
            numbers = [chosen.randint(1, last) for _ in range(_ROUNDS // 10)]
            began = time.perf_counter()
            for row, number in enumerate(numbers):
                db.execute("begin immediate")
                db.execute(
                    "insert into entry values (?, ?, ?, ?, ?)",
                    (number, 10_000 + part * 1000 + row, 0, None, b"y" * 200),
                )
                db.execute("commit")
            times.append((time.perf_counter() - began) / len(numbers))
        return {"append_us": round(median(times) * 1e6, 1)}
    finally:
        db.close()


def rss() -> float:
    """The memory of this process that is not swapped out, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
