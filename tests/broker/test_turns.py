"""Durability order: nothing leaves before its COMMIT, an operation is whole, a transaction is bounded, memory too."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agentmesh.broker.embedded import logs, tasks
from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.state import MAX_BYTES, MAX_ROWS
from agentmesh.broker.embedded.store import _WRITES, Changes
from agentmesh.broker.local import open_local
from agentmesh.broker.memory import open_memory
from agentmesh.clock import ManualClock, settle
from agentmesh.contracts import Append, Delivery, Lease
from agentmesh.errors import BrokerUnavailable
from agentmesh.message import Draft, Message

TOPIC = "WorkTask"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(tmp_path: Path, clock: ManualClock) -> Any:
    opened = await open_local(tmp_path, clock)
    assert opened.hosted
    await opened.declare(TOPIC, Delivery())
    yield opened.hosted.broker
    await opened.close()


def task(number: int, **fields: Any) -> Message:
    return Message(**{"id": f"call-{number}", "topic": TOPIC, **fields})


async def leased(broker: EmbeddedBroker) -> Lease:
    (lease,) = await broker.lease([TOPIC], 1, 0, worker="w")
    return lease


def stored(folder: Path, query: str) -> list[Any]:
    """What another connection sees."""
    db = sqlite3.connect(folder / "mesh.db")
    try:
        return [row[0] for row in db.execute(query)]
    finally:
        db.close()


@pytest.mark.promise(1)
async def test_what_is_told_is_stored(broker: EmbeddedBroker, tmp_path: Path) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe("call-1")
    polling = asyncio.create_task(inbox.poll(1, 60))
    seen: dict[str, Any] = {}

    def look(name: str, query: str) -> Callable[[object], None]:
        return lambda _: seen.setdefault(name, stored(tmp_path, query))

    polling.add_done_callback(look("poll", "select count(*) from entry"))
    leasing = asyncio.create_task(broker.lease([TOPIC], 1, 60, worker="w"))
    leasing.add_done_callback(look("lease", "select token from task"))
    await settle()
    await broker.publish(task(1))
    assert stored(tmp_path, "select count(*) from task") == [1]
    (lease,) = await leasing
    await polling
    await settle()
    assert seen == {"poll": [2], "lease": [lease.token]}
    await broker.append("log-a", [Draft("data", 1)])
    assert stored(tmp_path, "select count(*) from entry") == [3]
    await broker.nack(lease, error="E")
    assert stored(tmp_path, "select raised from task") == [1]
    lease = await leased(broker)
    await broker.ack(lease, [Append("call-1", [Draft("completed", {}, "", 2, lease.token)])], [task(2)])
    assert stored(tmp_path, "select count(*) from task") == [1]
    assert stored(tmp_path, "select count(*) from entry") == [3 + 2 + 1 + 1]
    await broker.declare("OtherTask", Delivery())
    assert stored(tmp_path, "select count(*) from topic") == [2]


class Recorder:
    """The transactions of a broker, by their rows and bytes."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        self.rows: list[int] = []
        self.bytes: list[int] = []
        self._commit = broker._store.commit
        broker._store.commit = self.commit  # type: ignore[method-assign]

    def commit(self, changes: Changes) -> None:
        rows = [row for name in _WRITES for row in getattr(changes, name)]
        self.rows.append(len(rows))
        self.bytes.append(sum(len(value) for row in rows for value in row if isinstance(value, bytes)))
        self._commit(changes)


async def test_everything_of_one_turn_is_one_transaction(broker: EmbeddedBroker) -> None:
    recorder = Recorder(broker)
    await asyncio.gather(*(broker.publish(task(n)) for n in range(100)), broker.append("log-a", [Draft("data")]))
    assert recorder.rows == [302]


async def test_a_transaction_is_bounded_and_an_operation_is_never_split(broker: EmbeddedBroker) -> None:
    recorder = Recorder(broker)
    sizes = [1, 700, 3, 1500, 1900, 5, 4000, 2, 1999, 300, 1]
    await asyncio.gather(
        *(broker.append(f"log-{n}", [Draft("data", n) for _ in range(size)]) for n, size in enumerate(sizes)),
        *(broker.publish(task(n)) for n in range(2500)),
    )
    assert sum(recorder.rows) == sum(sizes) + len(sizes) + 3 * 2500
    alone = [size + 1 for size in sizes if size + 1 > MAX_ROWS]
    assert sorted(rows for rows in recorder.rows if rows > MAX_ROWS) == sorted(alone)
    for n, size in enumerate(sizes):
        assert len(await broker.read(f"log-{n}", limit=5000)) == size


async def test_a_transaction_is_bounded_in_bytes(broker: EmbeddedBroker) -> None:
    recorder = Recorder(broker)
    await asyncio.gather(
        *(broker.publish(task(n, body=b"x" * 150_000)) for n in range(20)),
        *(broker.append(f"log-{n}", [Draft("data", "x" * 90_000)]) for n in range(20)),
        broker.append("log-big", [Draft("data", "x" * 2_000_000)]),
    )
    assert len([size for size in recorder.bytes if size > MAX_BYTES + 10_000]) == 1
    assert len(recorder.bytes) >= 6


async def test_handing_out_and_losing_many_tasks_is_bounded_too(broker: EmbeddedBroker, clock: ManualClock) -> None:
    await asyncio.gather(*(broker.publish(task(n, deadline=clock.now() + 60_000)) for n in range(3000)))
    recorder = Recorder(broker)
    for _ in range(3):
        await broker.lease([TOPIC], 3000, 0, worker="w")
    await clock.advance(31)
    await clock.advance(31)
    assert (await broker.stats([TOPIC]))[0].waiting == 0
    assert max(recorder.rows) <= MAX_ROWS + 1


def add_row(row: tuple[Any, ...]) -> Callable[[EmbeddedBroker], None]:
    return lambda broker: broker.state.changes.insert_lite_topic.append(row)


BREAKS: dict[str, Callable[[EmbeddedBroker], object]] = {
    "itself": lambda broker: [].pop(),
    "a constraint of the store": add_row(("log-a", 99, "", 0, 0, 0)),
    "a value that the store cannot hold": add_row(("log-c", 99, object(), 0, 0, 0)),
    "a text that the store cannot hold": add_row(("log-c", 99, "\ud800", 0, 0, 0)),
    "a number that the store cannot hold": add_row(("log-c", 2**63, "", 0, 0, 0)),
}


@pytest.mark.parametrize("how", BREAKS)
async def test_an_operation_that_breaks_fails_its_turn_and_leaves_nothing(
    broker: EmbeddedBroker, tmp_path: Path, how: str
) -> None:
    await broker.append("log-a", [Draft("data", 0)])

    async def breaks() -> None:
        await broker.turns.submit(BREAKS[how], broker)

    for _ in range(2):
        results = await asyncio.gather(
            broker.append("log-a", [Draft("data", 1)]),
            broker.append("log-b", [Draft("data", 1)]),
            broker.publish(task(1)),
            breaks(),
            return_exceptions=True,
        )
        assert {type(result) for result in results[:3]} == {BrokerUnavailable}
        assert isinstance(results[3], BrokerUnavailable | IndexError)
        assert await broker.browse(TOPIC) == []
        assert [info.lite_topic for info in await broker.list()] == ["log-a"]
        assert stored(tmp_path, "select count(*) from entry") == [1]
    assert await broker.append("log-a", [Draft("data", 1)], expect=1) == 1
    assert await broker.publish(task(1))


async def test_what_was_asked_by_somebody_who_left_before_the_turn_does_not_happen(broker: EmbeddedBroker) -> None:
    asked = [
        asyncio.create_task(broker.publish(task(1))),
        asyncio.create_task(broker.append("log-a", [Draft("data", 1)])),
        asyncio.create_task(broker.publish(task(2))),
    ]
    await asyncio.sleep(0)
    for each in asked[:2]:
        each.cancel()
    assert await asked[2] is True
    assert [found.message.id for found in await broker.browse(TOPIC)] == ["call-2"]
    assert await broker.read("log-a") == []


async def test_while_the_store_cannot_even_be_read_everybody_is_told_and_then_it_goes_on(
    broker: EmbeddedBroker, clock: ManualClock
) -> None:
    await broker.append("log-a", [Draft("data", 0)])
    await broker.publish(task(1))
    lease = await leased(broker)
    store = broker._store
    store._db.close()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: broker.append("log-a", [Draft("data", 1)]),
        lambda: broker.read("log-a"),
        lambda: broker.extend("w", [lease.token], 0),
        lambda: broker.inbox("me").poll(1, 0),
        lambda: broker.publish(task(2)),
    ]
    for call in calls:
        with pytest.raises(BrokerUnavailable, match="closed"):
            await call()
    store._db = store._open()
    await clock.advance(2)
    assert await broker.append("log-a", [Draft("data", 1)]) == 1
    assert await broker.extend("w", [lease.token], 0) == {}
    await broker.ack(lease)


async def test_a_log_that_ends_in_the_turn_of_an_append_begins_anew(tmp_path: Path, clock: ManualClock) -> None:
    broker = await open_local(tmp_path, clock)
    await broker.append("call-a", [Draft("data", "old", id="k") for _ in range(3)])
    await broker.close()
    await clock.advance(27 * 3600)
    writing: list[asyncio.Task[int]] = []

    def write() -> None:  # set before the broker's own timer of that moment, so the first to fire
        entries = [Draft("data", "new", id="k"), Draft("data", "more")]
        writing.append(asyncio.create_task(broker.append("call-a", entries)))

    clock.call_at(clock.now() + 60_000, write)
    broker = await open_local(tmp_path, clock)
    await clock.advance(61)
    assert await writing[0] == 0
    assert [entry.data for entry in await broker.read("call-a")] == ["new", "more"]
    await broker.close()
    broker = await open_local(tmp_path, clock)
    assert [entry.data for entry in await broker.read("call-a")] == ["new", "more"]
    await broker.close()


async def test_a_loop_that_was_held_past_the_end_of_a_lease_does_not_lose_it(
    broker: EmbeddedBroker, clock: ManualClock
) -> None:
    await broker.publish(task(1))
    lease = await leased(broker)
    clock._now += 45_000  # nobody of this process could renew it meanwhile
    await clock.advance(0)
    assert await broker.extend("w", [lease.token], 0) == {}
    await clock.advance(29)
    await broker.ack(lease)


async def test_workers_that_went_away_leave_nothing_behind(broker: EmbeddedBroker, clock: ManualClock) -> None:
    await broker.declare("BusyTask", Delivery())
    for n in range(50):
        await broker.publish(task(n, topic="BusyTask"))
        assert len(await broker.lease([TOPIC, "BusyTask"], 1, 0, worker="w")) == 1
        assert list(await broker.lease([TOPIC], 1, 0, worker="w")) == []
    waiting = [asyncio.create_task(broker.lease([TOPIC], 1, 5, worker="w")) for _ in range(50)]
    await settle()
    for each in waiting[:25]:
        each.cancel()
    await clock.advance(6)
    assert all(each.done() for each in waiting)
    assert not broker.state.tasks.topics[TOPIC].requests


async def test_bodies_beyond_what_memory_holds_come_from_the_store(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_BODIES_IN_MEMORY", 10_000)
    broker = await open_local(tmp_path, clock)
    for topic in (TOPIC, "OtherTask"):
        await broker.declare(topic, Delivery())
    bodies = [bytes([n]) * 3000 for n in range(20)]
    await asyncio.gather(*(broker.publish(task(n, body=body)) for n, body in enumerate(bodies)))
    waiting = asyncio.create_task(broker.lease(["OtherTask"], 1, 60, worker="w"))
    await settle()
    await broker.publish(task(99, topic="OtherTask", body=b"new" * 1000))
    assert [lease.message.body for lease in await waiting] == [b"new" * 1000]
    assert broker.hosted
    assert broker.hosted.broker.state.tasks._bodies <= 10_000
    await broker.close()
    broker = await open_local(tmp_path, clock)
    leases = await broker.lease([TOPIC], 20, 0, worker="w")
    assert [lease.message.body for lease in leases] == bodies
    await broker.nack(leases[19], dead="poison")
    assert [dead.message.body for dead in await broker.browse(TOPIC, dead=True)] == [bodies[19]]
    for lease in leases[:19]:
        await broker.ack(lease)
    await broker.declare("OtherTask", None)
    assert broker.hosted
    assert broker.hosted.broker.state.tasks._bodies == 0
    await broker.close()


async def test_logs_beyond_what_memory_holds_are_read_from_the_store(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_LOGS_IN_MEMORY", 4)
    monkeypatch.setattr(logs, "_TAILS_IN_MEMORY", 2000)
    monkeypatch.setattr(logs, "_TAIL_ENTRIES", 3)
    broker = await open_memory("", clock)
    expected: dict[str, list[int]] = {f"log-{n}": [] for n in range(13)}
    inbox = broker.inbox("me")
    await inbox.sync(dict.fromkeys(expected))
    got: dict[str, list[int]] = {name: [] for name in expected}
    for turn in range(300):
        names = [f"log-{(turn * step) % 13}" for step in (1, 5, 7)]
        await asyncio.gather(*(broker.append(name, [Draft("data", turn), Draft("data", -turn)]) for name in names))
        for name in names:
            expected[name] += [turn, -turn]
        name = names[turn % 3]
        after = (turn * 11) % len(expected[name])
        assert [entry.data for entry in await broker.read(name, after - 1)] == expected[name][after:]
        for batch in await inbox.poll(5, 0):
            got[batch.lite_topic] += [entry.data for entry in batch.entries]
            await inbox.commit({batch.lite_topic: batch.entries[-1].offset})
        assert len(broker.state.logs._logs) <= 4 + 13
    for batch in await inbox.poll(100, 0):
        got[batch.lite_topic] += [entry.data for entry in batch.entries]
    assert got == expected
    await broker.close()
