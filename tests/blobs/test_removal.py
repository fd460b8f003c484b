"""Blobs go an hour after their last reference, and never while somebody puts the same body again."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from blobs.kit import BODY, HOUR, digests, put, read

from agentmesh.broker.blobs import LocalBlobs
from agentmesh.broker.blobs.files import FileGuard
from agentmesh.broker.blobs.folder import FolderBlobs
from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.store import Store
from agentmesh.clock import ManualClock, settle
from agentmesh.contracts import Blobs, Delivery
from agentmesh.errors import PayloadCorrupt
from agentmesh.message import DAY, Claim, Draft, Message, read_claim
from agentmesh.runtime.bodies import Bodies

TOPIC = "WorkTask"
SECRET = bytes(32)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(tmp_path: Path, clock: ManualClock) -> AsyncIterator[EmbeddedBroker]:
    opened = EmbeddedBroker(Store(tmp_path / "mesh.db"), clock)
    await opened.declare(TOPIC, Delivery())
    yield opened
    await opened.close()


async def passes(broker: EmbeddedBroker, clock: ManualClock, seconds: float) -> None:
    """Let time pass, with everything that is removed in it."""
    for _ in range(round(seconds / 1800)):
        await clock.advance(1800)
        await broker.sweep.ended()
        await settle()


async def ends(broker: EmbeddedBroker, clock: ManualClock, log: str) -> None:
    """Let time pass until the LiteTopic is gone."""
    while log in [info.lite_topic for info in await broker.list()]:
        await passes(broker, clock, 1800)


def bodies(broker: EmbeddedBroker, clock: ManualClock) -> Bodies:
    return Bodies(broker.blobs, clock, 1000, 10_000_000)


async def published(broker: EmbeddedBroker, clock: ManualClock, call: str, body: bytes, **fields: Any) -> Message:
    message = Message(id=call, topic=TOPIC, body=body, deadline=clock.now() + 1000, **fields)
    sent = await bodies(broker, clock).sent(message)
    await broker.publish(sent)
    return sent


async def appended(broker: EmbeddedBroker, clock: ManualClock, log: str, data: Any) -> Claim:
    (draft,) = await bodies(broker, clock).written("default", [Draft("data", data)])
    await broker.append(log, [draft])
    assert isinstance(draft.data, Claim)
    return draft.data


async def test_a_blob_goes_an_hour_after_the_log_of_its_last_reference(
    broker: EmbeddedBroker, clock: ManualClock
) -> None:
    first = await published(broker, clock, "call-a", BODY)
    await passes(broker, clock, DAY / 2000)
    second = await published(broker, clock, "call-b", BODY)
    assert first.blob == second.blob
    digest = read_claim(first.blob).digest
    await ends(broker, clock, "call-a")
    await passes(broker, clock, 7200)
    assert digests(broker.blobs) == {digest}
    await ends(broker, clock, "call-b")
    assert digests(broker.blobs) == {digest}
    await passes(broker, clock, 5400)
    assert digests(broker.blobs) == set()
    assert broker.query("blobs") == broker.query("blob_references", 1, 10) == []


async def test_a_blob_is_kept_by_each_log_that_refers_to_it(broker: EmbeddedBroker, clock: ManualClock) -> None:
    claims = [await appended(broker, clock, f"call-{n}", "x" * (2000 + n)) for n in range(3)]
    await appended(broker, clock, "log-0", "x" * 2001)
    await ends(broker, clock, "call-0")
    await passes(broker, clock, 3 * 3600)
    assert [info.lite_topic for info in await broker.list()] == ["log-0"]
    assert digests(broker.blobs) == {claims[1].digest}


async def test_a_log_with_many_blobs_lets_go_of_them_in_slices(clock: ManualClock) -> None:
    broker = EmbeddedBroker(Store(None), clock)
    large = bodies(broker, clock)
    drafts = await large.written("default", [Draft("data", f"{n}" + "x" * 1000) for n in range(1500)])
    await broker.append("call-many", drafts)
    await broker.append("log-other", [drafts[700]])
    await ends(broker, clock, "call-many")
    assert 0 < len(broker.query("blob_references", 1, 2000)) < 1500
    await passes(broker, clock, 3 * 3600)
    assert [info.lite_topic for info in await broker.list()] == ["log-other"]
    assert digests(broker.blobs) == {drafts[700].data.digest}
    await broker.close()


async def test_a_body_that_is_referred_to_again_within_the_hour_stays(
    broker: EmbeddedBroker, clock: ManualClock
) -> None:
    first = await published(broker, clock, "call-a", BODY)
    await ends(broker, clock, "call-a")
    second = await published(broker, clock, "call-b", BODY)
    assert first.blob == second.blob
    await passes(broker, clock, 3 * 3600)
    assert read(broker.blobs, read_claim(first.blob).digest) == BODY


async def test_a_dead_letter_keeps_its_body_until_it_is_dropped(broker: EmbeddedBroker, clock: ManualClock) -> None:
    sent = await published(broker, clock, "call-a", BODY)
    (lease,) = await broker.lease([TOPIC], 1, 0, worker="w")
    await broker.nack(lease, dead="poison")
    await ends(broker, clock, "call-a")
    await passes(broker, clock, 3 * 3600)
    (dead,) = await broker.browse(TOPIC, dead=True)
    assert await bodies(broker, clock).body(dead.message) == BODY
    again = Message(id="call-b", topic=TOPIC, blob=dead.message.blob, deadline=clock.now() + 1000)
    assert await broker.discard(TOPIC, [dead.position], [again]) == 1
    await passes(broker, clock, 3 * 3600)
    assert digests(broker.blobs) == {read_claim(sent.blob).digest}
    await ends(broker, clock, "call-b")
    await passes(broker, clock, 2 * 3600)
    assert digests(broker.blobs) == set()


async def test_a_file_that_nobody_came_to_refer_to_goes_after_an_hour(
    broker: EmbeddedBroker, clock: ManualClock
) -> None:
    kept = await published(broker, clock, "call-a", b"kept" * 1000)
    lost = put(broker.blobs, BODY, clock.now())
    await passes(broker, clock, 1800)
    assert lost in digests(broker.blobs)
    await passes(broker, clock, 2 * 3600)
    assert digests(broker.blobs) == {read_claim(kept.blob).digest}


async def test_what_was_to_be_removed_when_the_host_died_is_removed_by_the_next(
    tmp_path: Path, clock: ManualClock
) -> None:
    broker = EmbeddedBroker(Store(tmp_path / "mesh.db"), clock)
    digest = put(broker.blobs, BODY, clock.now())
    await broker.close()
    with sqlite3.connect(tmp_path / "mesh.db") as db:  # its last reference went, and then its row
        db.execute("insert into blob values (?, ?, ?)", ("b" * 64, 7, 1))
    broker = EmbeddedBroker(Store(tmp_path / "mesh.db"), clock)
    await passes(broker, clock, 2 * 3600)
    assert digests(broker.blobs) == set()
    assert broker.query("blobs") == []
    assert digest not in digests(broker.blobs)
    await broker.close()


async def test_entries_and_messages_with_hostile_claims_are_refused(broker: EmbeddedBroker, clock: ManualClock) -> None:
    for blob in ("../../../etc/passwd:10", "a" * 64, f"{'a' * 64}:-1", f"{'A' * 64}:1", f"{'a' * 64}:1:2", "x:1"):
        with pytest.raises(PayloadCorrupt, match="no claim"):
            await broker.publish(Message(id="call-a", topic=TOPIC, blob=blob))
    for claim in (Claim("../x", 1), Claim("a" * 64, -1), Claim("é" * 64, 1)):
        with pytest.raises(PayloadCorrupt, match="no claim"):
            await broker.append("log-a", [Draft("data", claim)])
    assert await broker.list() == []


# Putting and removing the same body at once


class Stepping(FileGuard):
    """The guard of the files, which says when a step begins and when it is over."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.steps = 0
        self.between: Callable[[int], None] = lambda step: None

    def _step(self) -> None:
        self.steps += 1
        between, self.between = self.between, lambda step: None  # what goes on in between has no steps of its own
        between(self.steps)
        self.between = between

    @contextmanager
    def shared(self) -> Iterator[None]:
        self._step()
        with super().shared():
            self._step()
            yield
        self._step()

    @contextmanager
    def alone(self) -> Iterator[bool]:
        self._step()
        with super().alone() as alone:
            self._step()
            yield alone
            self._step()
        self._step()


def two(root: Path) -> tuple[FolderBlobs, Stepping, FolderBlobs]:
    """One process that goes in steps, and another."""
    guard = Stepping(root / "lock")
    return (
        FolderBlobs(root / "blobs", SECRET, guard),
        guard,
        FolderBlobs(root / "blobs", SECRET, FileGuard(root / "lock")),
    )


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("step", range(1, 7))
def test_a_body_that_is_put_stays_whenever_it_is_removed_meanwhile(tmp_path: Path, step: int, is_there: bool) -> None:
    now = 10 * HOUR
    putting, guard, removing = two(tmp_path)
    if is_there:
        put(removing, BODY, now - 2 * HOUR)
    digest = digest_of(removing)
    guard.between = lambda at: removing.delete(digest, now - HOUR) if at == step else None  # type: ignore[return-value]
    guard.steps = 0
    put(putting, BODY, now)
    assert guard.steps == (3 if is_there and step > 1 else 6)
    assert read(removing, digest) == BODY


@pytest.mark.parametrize("step", range(1, 5))
def test_a_body_that_is_removed_stays_whenever_it_is_put_meanwhile(tmp_path: Path, step: int) -> None:
    now = 10 * HOUR
    removing, guard, putting = two(tmp_path)
    digest = put(putting, BODY, now - 2 * HOUR)
    threads: list[threading.Thread] = []

    def put_again(at: int) -> None:
        if at == step:
            threads.append(threading.Thread(target=put, args=(putting, BODY, now)))
            threads[0].start()
            threads[0].join(0.2 if step in (2, 3) else None)  # while the other is alone it has to wait

    guard.between = put_again
    removing.delete(digest, now - HOUR)
    threads[0].join()
    assert guard.steps == 4
    assert read(putting, digest) == BODY


def digest_of(blobs: Blobs) -> str:
    state = blobs.hash("acme")
    state.update(BODY)
    return state.hexdigest()


class Interrupted(LocalBlobs):
    """Blobs with something that happens before each removal of a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.before: Callable[[], None] = lambda: None

    def delete(self, digest: str, before: int) -> bool:
        self.before()
        return super().delete(digest, before)


async def test_a_body_that_is_sent_again_between_the_row_and_the_file_stays(tmp_path: Path, clock: ManualClock) -> None:
    blobs = Interrupted(tmp_path)
    broker = EmbeddedBroker(Store(tmp_path / "mesh.db"), clock, blobs=blobs)
    await broker.declare(TOPIC, Delivery())
    first = await published(broker, clock, "call-a", BODY)
    loop = asyncio.get_running_loop()
    seen = []

    def send_again() -> None:
        blobs.before = lambda: None
        seen.append(asyncio.run_coroutine_threadsafe(published(broker, clock, "call-b", BODY), loop).result())

    blobs.before = send_again
    await ends(broker, clock, "call-a")
    await passes(broker, clock, 3 * 3600)
    assert [each.blob for each in seen] == [first.blob]
    assert await bodies(broker, clock).body(seen[0]) == BODY
    assert [row[0] for row in broker.query("blobs")] == [read_claim(first.blob).digest]
    await broker.close()


def test_many_threads_that_put_and_remove_leave_what_was_put_last(tmp_path: Path) -> None:
    now = 10 * HOUR
    stores = [FolderBlobs(tmp_path / "blobs", SECRET, FileGuard(tmp_path / "lock")) for _ in range(4)]
    stop = threading.Event()

    def remove() -> None:
        while not stop.is_set():
            stores[3].delete(digest_of(stores[3]), now - HOUR)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        for _ in range(100):
            digest = put(stores[0], BODY[:5000], now)
            put(stores[1], BODY[:5000], now - 2 * HOUR)  # fair game
            put(stores[2], BODY[:5000], now)
            assert read(stores[0], digest) == BODY[:5000]
            os.utime(tmp_path / "blobs" / digest[:2] / digest[2:4] / digest, (0, 0))
    finally:
        stop.set()
        remover.join()
