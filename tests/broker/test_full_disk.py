"""A disk that is full in mid-commit: the turn fails as a whole and says so, nothing is lost, and then it goes on."""

import asyncio
import os
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from agentmesh.broker.local import LocalBroker, open_local
from agentmesh.clock import ManualClock, settle
from agentmesh.contracts import Append, Broker, Delivery, Lease
from agentmesh.errors import BrokerUnavailable, Conflict, LeaseLost
from agentmesh.message import Draft, Message

TOPIC = "WorkTask"
BIG = "x" * 300_000
Full = Callable[[LocalBroker], Callable[[], None]]


@contextmanager
def by_pages(folder: Path) -> Iterator[Full]:
    """SQLite's own bound."""

    def fill(broker: LocalBroker) -> Callable[[], None]:
        assert broker.hosted
        db = broker.hosted.broker._store._db
        pages = db.execute("pragma page_count").fetchone()[0]
        db.execute(f"pragma max_page_count = {pages + 1}").fetchall()

        def make_room() -> None:
            with suppress(sqlite3.ProgrammingError):  # it is closed: the bound was the connection's
                db.execute("pragma max_page_count = 1000000").fetchall()

        return make_room

    yield fill


@contextmanager
def by_file_size(folder: Path) -> Iterator[Full]:
    """The limit that the system sets to the files of a process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(broker: LocalBroker) -> Callable[[], None]:
        size = (folder / "mesh.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, before[1]))
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def by_a_small_disk(folder: Path) -> Iterator[Full]:
    """A file system of its own, with something else on it."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")

    def fill(broker: LocalBroker) -> Callable[[], None]:
        with (folder / "something").open("wb", buffering=0) as something:
            try:
                while something.write(b"x" * 4096):
                    pass
            except OSError:
                something.truncate(max(0, something.tell() - 16384))
        return (folder / "something").unlink

    try:
        yield fill
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


WAYS = {"pages": by_pages, "file size": by_file_size, "a small disk": by_a_small_disk}


@pytest.fixture(params=WAYS)
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Full]:
    with WAYS[request.param](tmp_path / "mesh") as fill:
        yield fill


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def rows(folder: Path) -> dict[str, int]:
    """What another connection sees."""
    db = sqlite3.connect(folder / "mesh.db")
    try:
        return {
            table: db.execute(f"select count(*) from {table}").fetchone()[0]
            for table in ("task", "dead", "entry", "lite_topic", "topic")
        }
    finally:
        db.close()


async def prepared(broker: Broker) -> Lease:
    """A log, a task that a worker holds and one that waits for another lane."""
    await broker.declare(TOPIC, Delivery())
    await broker.append("log-a", [Draft("data", n, id=f"k{n}") for n in range(3)])
    await broker.publish(Message(id="call-a", topic=TOPIC))
    await broker.publish(Message(id="call-w", topic=TOPIC, lane="w"))
    (lease,) = await broker.lease([TOPIC], 1, 0, worker="w")
    return lease


def a_turn(broker: Broker, lease: Lease) -> list[Any]:
    completed = Draft("completed", {"result": BIG}, attempt=1, token=lease.token)
    return [
        broker.append("log-a", [Draft("data", 3, id="k3"), Draft("data", BIG)]),
        broker.publish(Message(id="call-b", topic=TOPIC, body=BIG.encode())),
        broker.ack(lease, [Append("call-a", [completed])], [Message(id="call-c", topic=TOPIC)]),
        broker.append("call-w", [Draft("cancelled", {"by": "me"}, id="cancelled")]),
        broker.lease([TOPIC], 1, 0, worker="now"),
    ]


@pytest.mark.promise(1)
@pytest.mark.promise(4)
async def test_a_full_disk_fails_the_turn_loses_nothing_and_is_over_once_there_is_room(
    full: Full, tmp_path: Path, clock: ManualClock
) -> None:
    folder = tmp_path / "mesh"
    broker = await open_local(folder, clock)
    lease = await prepared(broker)
    inbox = broker.inbox("me")
    await inbox.sync({"log-a": 2, "call-a": 1, "call-b": -1})
    polling = asyncio.create_task(inbox.poll(10, 600))
    idle = asyncio.create_task(broker.lease([TOPIC], 1, 600, worker="idle"))
    await settle()
    before, stats = await rows(folder), await broker.stats()

    make_room = full(broker)
    for _ in range(3):
        *failed, refused = await asyncio.gather(
            *a_turn(broker, lease), broker.append("log-a", [Draft("data", 0)], expect=7), return_exceptions=True
        )
        for error in failed:
            assert isinstance(error, BrokerUnavailable)
            assert "Nothing of this turn was stored; " in str(error)
            assert str(folder) in str(error)
        assert isinstance(refused, Conflict | BrokerUnavailable)
        await settle()
        assert not polling.done()
        assert not idle.done()
        assert [entry.data for entry in await broker.read("log-a")] == [0, 1, 2]
        assert await broker.read("call-b") == await broker.read("call-c") == []
        assert [entry.type for entry in await broker.read("call-a")] == ["submitted", "accepted"]
        assert await broker.stats() == stats
        assert await rows(folder) == before
        assert await broker.extend("w", [lease.token], 0) == {}
        await clock.advance(5)

    make_room()
    results = await asyncio.gather(*a_turn(broker, lease))
    assert results[:4] == [3, True, None, 1]
    await settle()
    assert [found.message.id for found in [*await idle, *results[4]]] == ["call-b", "call-c"]
    assert sorted(batch.lite_topic for batch in await polling) == ["call-a", "call-b", "log-a"]
    assert [entry.data for entry in await broker.read("log-a")][:4] == [0, 1, 2, 3]
    assert (await broker.read("call-a"))[-1].type == "completed"
    with pytest.raises(LeaseLost):
        await broker.ack(lease)
    assert [stored.message.id for stored in await broker.browse(TOPIC)] == ["call-b", "call-c"]
    await broker.close()


async def test_a_lease_that_ran_out_while_the_disk_was_full_is_lost_afterwards(
    full: Full, tmp_path: Path, clock: ManualClock
) -> None:
    broker = await open_local(tmp_path / "mesh", clock)
    lease = await prepared(broker)
    make_room = full(broker)
    failed = await asyncio.gather(*a_turn(broker, lease), return_exceptions=True)
    assert {type(error) for error in failed} == {BrokerUnavailable}
    await clock.advance(31)
    assert await broker.extend("w", [lease.token], 0) == {lease.token: "lost"}
    make_room()
    (again,) = await broker.lease([TOPIC], 1, 5, worker="w")
    assert (again.message.id, again.attempt) == ("call-a", 2)
    await broker.close()


async def test_the_broker_tries_again_by_itself(full: Full, tmp_path: Path, clock: ManualClock) -> None:
    broker = await open_local(tmp_path / "mesh", clock)
    lease = await prepared(broker)
    await broker.publish(Message(id="call-d", topic=TOPIC, not_before=clock.now() + 2000, lane="d"))
    waiting = asyncio.create_task(broker.lease([TOPIC], 1, 600, worker="d", lanes=["d"]))
    await settle()
    make_room = full(broker)
    await asyncio.gather(*a_turn(broker, lease), return_exceptions=True)
    make_room()
    await clock.advance(3)
    assert waiting.done()
    assert [found.message.id for found in await waiting] == ["call-d"]
    await broker.close()


async def test_a_broker_can_be_closed_while_the_disk_is_full(full: Full, tmp_path: Path, clock: ManualClock) -> None:
    broker = await open_local(tmp_path / "mesh", clock)
    lease = await prepared(broker)
    make_room = full(broker)
    turn = [asyncio.ensure_future(each) for each in a_turn(broker, lease)]
    await asyncio.sleep(0)
    await broker.close()
    assert {type(error) for error in await asyncio.gather(*turn, return_exceptions=True)} == {BrokerUnavailable}
    make_room()
    broker = await open_local(tmp_path / "mesh", clock)
    assert [entry.data for entry in await broker.read("log-a")] == [0, 1, 2]
    (again,) = await broker.lease([TOPIC], 1, 5, worker="w")
    assert (again.message.id, again.attempt) == ("call-a", 2)
    await broker.close()


async def test_a_cancellation_that_was_not_stored_has_not_happened(
    full: Full, tmp_path: Path, clock: ManualClock
) -> None:
    broker = await open_local(tmp_path / "mesh", clock)
    lease = await prepared(broker)
    make_room = full(broker)
    cancelled = Draft("cancelled", {"by": "me"}, id="cancelled")
    news = asyncio.create_task(broker.extend("w", [lease.token], 10))
    await settle()
    failed = await asyncio.gather(
        broker.append("call-a", [cancelled]), broker.append("log-a", [Draft("data", BIG)]), return_exceptions=True
    )
    assert {type(error) for error in failed} == {BrokerUnavailable}
    await settle()
    assert not news.done()
    await clock.advance(10)
    assert await news == {}
    make_room()
    await broker.nack(lease)
    (again,) = await broker.lease([TOPIC], 1, 0, worker="w")
    assert again.message.id == "call-a"
    await broker.append("call-a", [cancelled])
    assert await broker.extend("w", [again.token], 0) == {again.token: "cancelled"}
    await broker.close()


async def test_a_lease_that_is_renewed_while_the_disk_is_full_stays_renewed(
    full: Full, tmp_path: Path, clock: ManualClock
) -> None:
    broker = await open_local(tmp_path / "mesh", clock)
    lease = await prepared(broker)
    make_room = full(broker)
    for _ in range(3):
        await asyncio.gather(*a_turn(broker, lease), return_exceptions=True)
        await clock.advance(20)
        assert await broker.extend("w", [lease.token], 0) == {}
    make_room()
    await broker.ack(lease)
    await broker.close()
