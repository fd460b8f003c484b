"""What is removed, and when: in slices, invisible at once, after a crash too; and the write-ahead log stays bounded."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agentmesh.broker.embedded import checkpoints, retention
from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.store import Changes, Store
from agentmesh.clock import ManualClock, settle
from agentmesh.contracts import Append, Delivery
from agentmesh.message import Draft, Message

HOUR, DAY = 3600, 24 * 3600
TOPIC = "WorkTask"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def opened(folder: Path, clock: ManualClock, bound: int = 0) -> EmbeddedBroker:
    folder.mkdir(exist_ok=True)
    return EmbeddedBroker(Store(folder / "mesh.db"), clock, retention=bound)


@pytest.fixture
async def broker(tmp_path: Path, clock: ManualClock) -> AsyncIterator[EmbeddedBroker]:
    found = opened(tmp_path / "mesh", clock)
    yield found
    await found.close()


class Deleted:
    """How many rows each commit of a broker deletes."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.rows: list[int] = []
        self._store = broker._store
        self._commit = broker._store.commit
        broker._store.commit = self.commit  # type: ignore[method-assign]

    def commit(self, changes: Changes) -> None:
        deletes = [name for name in ("delete_entries", "delete_lite_topic", "delete_ended") if getattr(changes, name)]
        before = self._store._db.total_changes
        self._commit(changes)
        if deletes:
            self.rows.append(self._store._db.total_changes - before)


def count(folder: Path, table: str) -> int:
    """What another connection sees."""
    db = sqlite3.connect(folder / "mesh.db")
    try:
        return int(db.execute(f"select count(*) from {table}").fetchone()[0])
    finally:
        db.close()


async def long_log(broker: EmbeddedBroker, name: str, entries: int) -> None:
    for _ in range(entries // 1000):
        await broker.append(name, [Draft("data", "old") for _ in range(1000)])
    await broker.append(name, [Draft("data", "old", id=f"k{n}") for n in range(entries % 1000)])


async def ended(clock: ManualClock) -> None:
    """Wait until just before the turn in which a call's log ends."""
    await clock.advance(26 * HOUR - clock.now() // 1000 % HOUR)


async def test_a_long_log_is_gone_at_once_and_removed_in_slices(
    broker: EmbeddedBroker, tmp_path: Path, clock: ManualClock
) -> None:
    await long_log(broker, "call-a", 7345)
    await broker.append("call-b", [Draft("data", "short")])
    await broker.append("log-c", [Draft("data", "stays")])
    deleted = Deleted(broker)
    while not deleted.rows:
        await clock.advance(60 - 0.005)
        await clock.advance(0.005)
    assert await broker.read("call-a") == []
    assert [info.lite_topic for info in await broker.list()] in (["log-c"], ["call-b", "log-c"])
    assert count(tmp_path / "mesh", "entry") > 6000
    assert await broker.append("call-a", [Draft("data", "new", id="k1")], expect=0) == 0
    await clock.advance(1)
    assert count(tmp_path / "mesh", "entry") == 2
    assert count(tmp_path / "mesh", "ended") == 0
    assert [entry.data for entry in await broker.read("call-a")] == ["new"]
    assert [info.lite_topic for info in await broker.list()] == ["call-a", "log-c"]
    assert len(deleted.rows) >= 8
    assert max(deleted.rows) <= retention.SLICE + 10


async def test_many_short_logs_are_removed_in_slices(
    broker: EmbeddedBroker, tmp_path: Path, clock: ManualClock
) -> None:
    for start in range(0, 3000, 500):
        names = [f"call-{n}" for n in range(start, start + 500)]
        await asyncio.gather(*(broker.append(name, [Draft("data", n) for n in range(3)]) for name in names))
    deleted = Deleted(broker)
    await ended(clock)
    await clock.advance(61)
    assert count(tmp_path / "mesh", "lite_topic") == count(tmp_path / "mesh", "entry") == 0
    assert sum(deleted.rows) >= 4 * 3000
    assert max(deleted.rows) <= retention.SLICE + 10


async def test_what_a_crash_left_of_a_removal_is_removed_when_the_mesh_is_opened_again(
    broker: EmbeddedBroker, tmp_path: Path, clock: ManualClock
) -> None:
    for name in ("call-a", "call-b"):
        await long_log(broker, name, 2500)
    snapshots = 0

    def snapshot() -> None:
        nonlocal snapshots
        folder = tmp_path / f"crash-{snapshots}"
        folder.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(tmp_path / "mesh" / f"mesh.db{suffix}", folder / f"mesh.db{suffix}")
        snapshots += 1

    commit = broker._store.commit

    def crash(changes: Changes) -> None:
        commit(changes)
        if changes.delete_entries:
            snapshot()

    broker._store.commit = crash  # type: ignore[method-assign]
    await ended(clock)
    await clock.advance(61)
    assert snapshots >= 5
    for n in range(snapshots):
        folder = tmp_path / f"crash-{n}"
        again = opened(folder, clock)
        left = {info.lite_topic: info.next for info in await again.list()}
        assert set(left.values()) <= {2500}  # there as a whole, or not at all
        for name in ("call-a", "call-b"):
            await again.append(name, [Draft("data", "new")])
            assert len(await again.read(name, limit=3000)) == left.get(name, 0) + 1
        await clock.advance(62)
        assert count(folder, "ended") == 0
        assert count(folder, "entry") == sum([info.next for info in await again.list()])
        await again.close()


async def test_a_removal_that_could_not_be_stored_happens_later(
    broker: EmbeddedBroker, tmp_path: Path, clock: ManualClock
) -> None:
    await long_log(broker, "call-a", 2500)
    commit = broker._store.commit
    failures = 3

    def fail(changes: Changes) -> None:
        nonlocal failures
        if changes.delete_entries and failures:
            failures -= 1
            raise sqlite3.OperationalError("the disk is full")
        commit(changes)

    broker._store.commit = fail  # type: ignore[method-assign]
    await ended(clock)
    await clock.advance(HOUR)
    assert failures == 0
    assert count(tmp_path / "mesh", "entry") == count(tmp_path / "mesh", "ended") == 0


async def finished(broker: EmbeddedBroker, call: str, size: int = 20_000) -> None:
    await broker.publish(Message(id=call, topic=TOPIC, body=b"{}"))
    (lease,) = await broker.lease([TOPIC], 1, 0, worker="w")
    done = Draft("completed", {"result": "x" * size}, attempt=1, token=lease.token)
    await broker.ack(lease, [Append(call, [done])])


async def logs_of(broker: EmbeddedBroker) -> set[str]:
    return {info.lite_topic for info in await broker.list(limit=10_000)}


async def test_at_its_bound_a_file_loses_what_ended_first_and_nothing_that_is_needed(
    tmp_path: Path, clock: ManualClock
) -> None:
    broker = opened(tmp_path / "mesh", clock, bound=4_000_000)
    await broker.declare(TOPIC, Delivery())
    await broker.append("log-own", [Draft("data", "x" * 20_000)])
    await broker.append("session-a", [Draft("data", "x" * 20_000)])
    for n in range(10):
        await finished(broker, f"call-early-{n:03}")
    inbox = broker.inbox("me")
    polling = asyncio.create_task(inbox.poll(1, 10 * DAY))
    await inbox.subscribe("call-early-007", 99)
    await broker.publish(Message(id="call-waits", topic=TOPIC, lane="nobody", deadline=clock.now() + 20 * DAY * 1000))
    await clock.advance(2 * HOUR)
    for n in range(120):
        await finished(broker, f"call-later-{n:03}")
    await clock.advance(2 * HOUR)
    await clock.advance(61)
    assert len(await logs_of(broker)) == 133
    with capture_logs() as said:
        for n in range(60):
            await finished(broker, f"call-now-{n:03}")
        await clock.advance(62)
    left = await logs_of(broker)
    assert {"log-own", "session-a", "call-early-007", "call-waits"} <= left
    assert {f"call-now-{n:03}" for n in range(60)} <= left
    assert [name for name in left if name.startswith("call-early")] == ["call-early-007"]
    later = sorted(name for name in left if name.startswith("call-later"))
    assert 0 < len(later) < 120
    assert [line["log_level"] for line in said] == ["warning"]
    size, free = broker.query("room")[0]
    assert size - free <= 4_000_000
    polling.cancel()
    await broker.close()


async def test_a_bounded_file_stays_as_large_as_it_is(tmp_path: Path, clock: ManualClock) -> None:
    broker = opened(tmp_path / "mesh", clock, bound=3_000_000)
    await broker.declare(TOPIC, Delivery())
    sizes = []
    for hour in range(30):
        for n in range(40):
            await finished(broker, f"call-{hour:03}-{n:03}")
        await clock.advance(HOUR)
        sizes.append(broker.query("room")[0][0])
    assert max(sizes) <= 5_000_000
    assert max(sizes[10:]) == max(sizes)
    assert sizes[-1] <= max(sizes[:10]) + 100_000
    await broker.close()


async def test_a_file_whose_bound_is_too_small_for_what_is_needed_says_so_now_and_then(
    tmp_path: Path, clock: ManualClock
) -> None:
    broker = opened(tmp_path / "mesh", clock, bound=300_000)
    for n in range(50):
        await broker.append(f"log-{n}", [Draft("data", "x" * 10_000)])
    with capture_logs() as said:
        await clock.advance(HOUR)
    assert len(await logs_of(broker)) == 50
    assert 2 <= len(said) <= 14
    assert "more room" in said[1]["event"]
    await broker.close()


async def write_without_a_pause(broker: EmbeddedBroker, megabytes: int, wal: Path) -> int:
    """The longest that the write-ahead log was."""
    longest = 0
    writes: set[asyncio.Task[Any]] = set()
    for n in range(megabytes * 50):
        writes.add(asyncio.create_task(broker.append(f"log-{n % 7}", [Draft("data", "x" * 20_000)])))
        while len(writes) > 5:  # so that every turn has something to write
            _, writes = await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
            longest = max(longest, wal.stat().st_size)
    await asyncio.gather(*writes)
    return longest


async def test_the_write_ahead_log_stays_bounded_under_a_load_that_never_pauses(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "STEP", 200_000)
    monkeypatch.setattr(checkpoints, "BOUND", 2_000_000)
    wal = tmp_path / "mesh" / "mesh.db-wal"
    assert await write_without_a_pause(broker, 40, wal) < 20_000_000
    assert count(tmp_path / "mesh", "entry") == 2000


async def test_reading_on_never_fails_while_the_writer_pauses(
    broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "STEP", 100_000)
    monkeypatch.setattr(checkpoints, "BOUND", 100_000)
    inbox = broker.inbox("me")
    await inbox.subscribe("log-a")
    got: list[int] = []

    async def read() -> None:
        while len(got) < 500:
            for batch in await inbox.poll(10, 60):
                got.extend(entry.offset for entry in batch.entries)
                await inbox.commit({batch.lite_topic: batch.entries[-1].offset})

    reading = asyncio.create_task(read())
    for n in range(0, 500, 5):
        await asyncio.gather(*(broker.append("log-a", [Draft("data", "x" * 20_000)]) for _ in range(5)))
        assert (await broker.read("log-a", n + 3))[0].offset == n + 4
    await reading
    assert got == list(range(500))
    await settle()
