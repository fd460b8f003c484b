"""durability=full: nothing is told before the disk has it, and a disk that does not confirm is told."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from local.kit import TOPIC, joined
from local.raw import Raw

from agentmesh.broker.embedded.store import Store
from agentmesh.broker.local import LocalBroker
from agentmesh.broker.local.hosting import Hosting
from agentmesh.clock import SystemClock, settle
from agentmesh.contracts import Delivery
from agentmesh.errors import BrokerUnavailable
from agentmesh.message import Draft, Message


class Disk:
    """Holds every sync back while its gate is closed, or fails it."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.syncs = 0

    def sync(self, store: Store) -> None:
        assert self.gate.wait(20)
        self.syncs += 1
        if self.broken:
            raise BrokerUnavailable(f"{store.path}: the disk does not confirm what was written (for a test).")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    found = Disk()
    sync = Store._sync_log

    def sync_late(store: Store) -> None:
        found.sync(store)
        sync(store)

    monkeypatch.setattr(Store, "_sync_log", sync_late)
    return found


@pytest.fixture(params=["in its own loop", "behind a socket"])
async def broker(request: pytest.FixtureRequest, folder: Path, disk: Disk) -> AsyncIterator[LocalBroker]:
    if request.param == "in its own loop":
        async with joined(folder, durability="full") as opened:
            yield opened
        return
    hosting = Hosting(folder, SystemClock(), full=True)  # here, so that the disk can be held back
    async with hosting, joined(folder, alone=False) as opened:
        yield opened


async def nothing_comes(tasks: Sequence["asyncio.Task[Any]"]) -> None:
    for _ in range(10):
        await settle(20)
        await asyncio.sleep(0.01)
    assert [task for task in tasks if task.done()] == []


@pytest.mark.promise(1)
async def test_nothing_is_told_before_the_disk_has_it(broker: LocalBroker, disk: Disk) -> None:
    await broker.declare(TOPIC, Delivery())
    inbox = broker.inbox("me")
    await inbox.subscribe("call-1", -1)
    early: list[asyncio.Task[Any]] = [
        asyncio.create_task(inbox.poll(10, 20)),
        asyncio.create_task(broker.lease([TOPIC], 1, 20, worker="w")),
    ]
    await nothing_comes(early)
    disk.gate.clear()
    told = [*early, asyncio.create_task(broker.publish(Message(id="call-1", topic=TOPIC)))]
    await nothing_comes(told)
    told += [
        asyncio.create_task(broker.read("call-1")),
        asyncio.create_task(broker.list()),
        asyncio.create_task(broker.browse(TOPIC)),
        asyncio.create_task(broker.stats()),
    ]
    await nothing_comes(told)
    disk.gate.set()
    await asyncio.gather(*told)
    assert disk.syncs >= 2


async def test_leases_that_are_granted_as_time_runs_out_are_not_lost(broker: LocalBroker, disk: Disk) -> None:
    """The disk takes longer than the worker would have waited."""
    await broker.declare(TOPIC, Delivery())
    leasing = asyncio.create_task(broker.lease([TOPIC], 1, 0.3, worker="w"))
    await asyncio.sleep(0.05)
    disk.gate.clear()
    publishing = asyncio.create_task(broker.publish(Message(id="call-1", topic=TOPIC)))
    await asyncio.sleep(0.6)
    disk.gate.set()
    await publishing
    leases = [*await leasing, *await broker.lease([TOPIC], 1, 0.2, worker="w")]
    assert [(lease.message.id, lease.attempt) for lease in leases] == [("call-1", 1)]
    await broker.ack(leases[0])
    await broker.append("log-a", [Draft("data", 1)])


async def test_leases_that_are_granted_to_one_who_leaves_are_given_back(broker: LocalBroker, disk: Disk) -> None:
    await broker.declare(TOPIC, Delivery())
    leasing = asyncio.create_task(broker.lease([TOPIC], 1, 20, worker="w"))
    await asyncio.sleep(0.05)
    disk.gate.clear()
    publishing = asyncio.create_task(broker.publish(Message(id="call-1", topic=TOPIC)))
    await asyncio.sleep(0.05)
    leasing.cancel()
    await asyncio.sleep(0.05)
    disk.gate.set()
    await publishing
    (lease,) = await broker.lease([TOPIC], 1, 5, worker="w")
    assert (lease.message.id, lease.attempt) == ("call-1", 2)


async def test_a_disk_that_does_not_confirm_is_told_and_it_goes_on_once_it_does(
    broker: LocalBroker, disk: Disk
) -> None:
    await broker.append("log-a", [Draft("data", 0)])
    disk.broken = True
    with pytest.raises(BrokerUnavailable, match="does not confirm"):
        await broker.append("log-a", [Draft("data", 1)])
    disk.broken = False
    offset = await _until_stored(broker)
    assert [entry.data for entry in await broker.read("log-a", offset - 1)] == [2]


async def _until_stored(broker: LocalBroker) -> int:
    while True:
        try:
            return await broker.append("log-a", [Draft("data", 2)])
        except BrokerUnavailable:
            await asyncio.sleep(0.1)


async def test_a_connection_cut_while_the_disk_is_waited_for_loses_nothing(folder: Path, disk: Disk) -> None:
    async with Hosting(folder, SystemClock(), full=True):
        raw = await Raw.hello(folder, "4711-1-me")
        append = ["log-a", [["", "data", b"\x01\x01"]], None, None, ""]
        disk.gate.clear()
        raw.send([1, [], "append", append])
        await asyncio.sleep(0.05)
        raw.close()
        again = await Raw.hello(folder, "4711-1-me")
        asked = asyncio.create_task(again.ask(1, "append", append))
        await nothing_comes([asked])
        disk.gate.set()
        assert await asked == [1, True, 0]
        assert await again.ask(2, "append", append) == [2, True, 1]
        again.close()
