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
_PARTS: Final = 10
_ROUNDS: Final = 200
_AT_ONCE: Final = 64
_READY: Final = 10
_COMPARED: Final = ("append_us", "append_64_us", "poll_us", "list_us")
_ENTRY: Final = Draft("data", {"text": "y" * 180})

Figures = dict[str, float]
T = TypeVar("T")


def rows(logs: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A row for each number of LiteTopics, at least 1,000, beside what the fewest cost in the same minute."""
    for number in logs:
        with tempfile.TemporaryDirectory() as folder:
            yield _row(Path(folder), number)


def _row(folder: Path, logs: int) -> dict[str, Any]:
    few, many = folder / "few", folder / "many"
    _apart(_fill, few, FEWEST)
    _apart(_fill, many, logs)
    figures, floor = _apart(_measure, folder, logs)
    floor["bare_append_us"] = _apart(_floor, many, logs)
    ratio = {name: round(figures[name] / floor[name], 2) for name in _COMPARED}
    ratio["bare_append"] = round(figures["append_us"] / floor["bare_append_us"], 2)
    return {"name": f"lite.{logs}", "figures": figures, "floor": floor, "ratio": ratio}


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


def _measure(folder: Path, logs: int) -> tuple[Figures, Figures]:
    return asyncio.run(_figures(folder, logs))


async def _figures(folder: Path, logs: int) -> tuple[Figures, Figures]:
    """Figures of many LiteTopics, and what the same costs among few: measured in turn, part by part."""
    began = time.perf_counter()
    broker = await open_local(folder / "many", SystemClock())
    figures = {"open_s": time.perf_counter() - began}
    many, few = Side(broker, logs), Side(await open_local(folder / "few", SystemClock()), FEWEST)
    try:
        began = time.perf_counter()
        await many.online()
        figures["subscribe_us"] = (time.perf_counter() - began) / len(many.names) * 1e6
        await few.online()
        floor: Figures = {}
        for name, work in _WORK.items():
            taken = [(await work(few), await work(many)) for _ in range(_PARTS)]
            floor[name] = median(before for before, _ in taken) * 1e6
            figures[name] = median(after for _, after in taken) * 1e6
        figures["rss_mb"] = rss()
        figures |= await _syncs(broker, many.names)
    finally:
        await few.broker.close()
        await broker.close()
    return _rounded(figures), _rounded(floor)


def _rounded(figures: Figures) -> Figures:
    return {name: round(value, 4 if name.endswith("_s") else 1) for name, value in figures.items()}


class Side:
    """A mesh of so many LiteTopics, of which up to 100,000 are read by 100 clients."""

    def __init__(self, broker: Broker, logs: int) -> None:
        self.broker = broker
        self.logs = logs
        self.random = random.Random(logs)  # noqa: S311 - the same logs every time
        each = min(SUBSCRIBED, logs) // CLIENTS
        self.names = [name_of(number) for number in self.random.sample(range(logs), each * CLIENTS)]
        self.sets = [self.names[start : start + each] for start in range(0, len(self.names), each)]
        self.inboxes: list[Inbox] = []

    async def online(self) -> None:
        """Subscribe, and read everything so far."""
        self.inboxes = [await _online(self.broker, number, own) for number, own in enumerate(self.sets)]

    def any(self) -> str:
        """The name of any of its LiteTopics."""
        return name_of(self.random.randrange(self.logs))


async def _online(broker: Broker, number: int, names: Sequence[str]) -> Inbox:
    """A client that has read everything so far."""
    inbox = broker.inbox(f"client-{number}")
    await inbox.sync(dict.fromkeys(names))
    while batches := await inbox.poll(256, 0):
        await inbox.commit({batch.lite_topic: batch.entries[-1].offset for batch in batches})
    return inbox


async def _append(side: Side) -> float:
    """Seconds of an append to any LiteTopic, one after the other."""
    names = [side.any() for _ in range(_ROUNDS)]
    began = time.perf_counter()
    for name in names:
        await side.broker.append(name, [_ENTRY])
    return (time.perf_counter() - began) / len(names)


async def _append_many(side: Side) -> float:
    """The same with 64 in flight."""
    parts = [[side.any() for _ in range(_AT_ONCE)] for _ in range(_ROUNDS // _AT_ONCE)]
    began = time.perf_counter()
    for names in parts:
        await asyncio.gather(*(side.broker.append(name, [_ENTRY]) for name in names))
    return (time.perf_counter() - began) / len(parts) / _AT_ONCE


async def _poll(side: Side) -> float:
    """Seconds of a poll that brings a few of many, and its commit."""
    times = []
    for _ in range(_ROUNDS // 4):
        number = side.random.randrange(CLIENTS)
        inbox = side.inboxes[number]
        while batches := await inbox.poll(256, 0):
            await inbox.commit({batch.lite_topic: batch.entries[-1].offset for batch in batches})
        ready = side.random.sample(side.sets[number], _READY)
        await asyncio.gather(*(side.broker.append(name, [_ENTRY]) for name in ready))
        began = time.perf_counter()
        batches = await inbox.poll(256, 0)
        await inbox.commit({batch.lite_topic: batch.entries[-1].offset for batch in batches})
        times.append(time.perf_counter() - began)
    return median(times)


async def _list(side: Side) -> float:
    """Seconds of a page of a hundred from anywhere in the listing."""
    after = side.any()
    began = time.perf_counter()
    await side.broker.list("log-", after, 100)
    return time.perf_counter() - began


_WORK: Final = {"append_us": _append, f"append_{_AT_ONCE}_us": _append_many, "poll_us": _poll, "list_us": _list}


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


def _floor(folder: Path, logs: int) -> float:
    """Microseconds of a bare append to the same file: one row of an entry in a transaction of its own."""
    chosen = random.Random(logs)  # noqa: S311
    db = sqlite3.connect(folder / "mesh.db", isolation_level=None)
    try:
        for pragma in ("synchronous = normal", "wal_autocheckpoint = 0"):
            db.execute(f"pragma {pragma}")
        last = db.execute("select max(lite_topic) from entry").fetchone()[0]
        times = []
        for part in range(_PARTS):
            rows = [
                (chosen.randint(1, last), 10_000 + part * _ROUNDS + row, 0, None, b"y" * 200) for row in range(_ROUNDS)
            ]
            began = time.perf_counter()
            for row in rows:
                db.execute("begin immediate")
                db.execute("insert into entry values (?, ?, ?, ?, ?)", row)
                db.execute("commit")
            times.append((time.perf_counter() - began) / _ROUNDS)
        return round(median(times) * 1e6, 1)
    finally:
        db.close()


def rss() -> float:
    """The memory of this process that is not swapped out, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
