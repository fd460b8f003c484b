"""The connection is cut between a request and its answer: it is sent again, and is done once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from local.kit import TOPIC, Programs, joined, until
from local.raw import Raw

from agentmesh.broker.local import LocalBroker
from agentmesh.broker.local import link as link_module
from agentmesh.broker.local.finder import Wire
from agentmesh.contracts import Append, Delivery, Lease, Retry
from agentmesh.message import Draft, Message

WHENS = ["before it leaves", "after it left", "when the answer is there"]


class Scissors:
    """Cuts the connection once, at a chosen point of the next request `operation`."""

    def __init__(self) -> None:
        self.operation = b""
        self.when = ""
        self.cuts = 0
        self.meanwhile: Callable[[], object] = lambda: None

    def arm(self, operation: str, when: str) -> None:
        self.operation = bytes([0xA0 + len(operation)]) + operation.encode()
        self.when = when

    def cut(self, wire: Wire) -> None:
        self.when = ""
        self.cuts += 1
        wire.abort()
        self.meanwhile()


@pytest.fixture
def scissors(monkeypatch: pytest.MonkeyPatch) -> Scissors:
    found = Scissors()

    class Cuttable(Wire):
        def write(self, data: bytes) -> None:
            concerned = found.when and found.operation in data
            if not (concerned and found.when == WHENS[0]):
                super().write(data)
            if concerned and found.when != WHENS[2]:
                found.cut(self)
            elif concerned:
                found.when = "now"

        def data_received(self, data: bytes) -> None:
            if found.when == "now":
                found.cut(self)
            else:
                super().data_received(data)

    monkeypatch.setattr(link_module, "Wire", Cuttable)
    return found


@pytest.fixture
async def broker(programs: Programs, scissors: Scissors, folder: Path) -> AsyncIterator[LocalBroker]:
    async with joined(folder, alone=False) as opened:
        await opened.declare(TOPIC, Delivery(lease=30, retry=Retry(lost=0)))
        yield opened


async def leased(broker: LocalBroker) -> Lease:
    (lease,) = await broker.lease([TOPIC], 1, 20, worker="w")
    return lease


def completed(lease: Lease) -> Append:
    return Append(lease.message.id, [Draft("completed", {}, attempt=lease.attempt, token=lease.token)])


async def publish(broker: LocalBroker, number: int) -> None:
    assert await broker.publish(Message(id=f"call-{number}", topic=TOPIC)) is True


async def append(broker: LocalBroker, number: int) -> None:
    assert await broker.append("log-a", [Draft("data", number), Draft("data", number)]) == 2 * number


async def append_expecting(broker: LocalBroker, number: int) -> None:
    assert await broker.append("log-b", [Draft("data", number)], expect=number) == number


async def lease(broker: LocalBroker, number: int) -> None:
    await broker.publish(Message(id=f"call-lease-{number}", topic=TOPIC))
    found = await leased(broker)
    assert (found.message.id, found.attempt) == (f"call-lease-{number}", 1)
    await broker.ack(found, [completed(found)])


async def ack(broker: LocalBroker, number: int) -> None:
    await broker.publish(Message(id=f"call-ack-{number}", topic=TOPIC))
    found = await leased(broker)
    note, child = Append("log-done", [Draft("data", number)]), Message(id=f"call-child-{number}", topic="ChildTask")
    await broker.ack(found, [completed(found), note], [child])
    assert [entry.data for entry in await broker.read("log-done")] == list(range(number + 1))


async def nack(broker: LocalBroker, number: int) -> None:
    await broker.publish(Message(id=f"call-nack-{number}", topic=TOPIC))
    await broker.nack(await leased(broker), error="E")
    found = await leased(broker)
    assert (found.attempt, found.raised) == (2, 1)
    await broker.nack(found, dead="poison")


async def discard(broker: LocalBroker, number: int) -> None:
    await broker.publish(Message(id=f"call-dead-{number}", topic=TOPIC))
    await broker.nack(await leased(broker), dead="poison")
    dead = (await broker.browse(TOPIC, dead=True))[-1].position
    assert await broker.discard(TOPIC, [dead], [Message(id=f"call-again-{number}", topic="ChildTask")]) == 1


DOINGS: dict[str, Callable[[LocalBroker, int], Any]] = {
    "publish": publish,
    "append": append,
    "append expecting": append_expecting,
    "lease": lease,
    "ack": ack,
    "nack": nack,
    "discard": discard,
}


@pytest.mark.promise(1)
@pytest.mark.promise(3)
@pytest.mark.parametrize("when", WHENS)
async def test_a_cut_connection_loses_and_doubles_nothing(broker: LocalBroker, scissors: Scissors, when: str) -> None:
    await broker.declare("ChildTask", Delivery())
    for number in range(3):
        for name, do in DOINGS.items():
            if name == "publish":
                await broker.declare(TOPIC, Delivery(lease=30, retry=Retry(lost=0)))
            cuts = scissors.cuts
            scissors.arm(name.partition(" ")[0], when)
            await do(broker, number)
            assert scissors.cuts == cuts + 1, name
            if name == "publish":
                found = await leased(broker)
                await broker.ack(found, [completed(found)])
    assert [(stats.topic, stats.waiting, stats.running) for stats in await broker.stats()] == [
        ("ChildTask", 6, 0),
        (TOPIC, 0, 0),
    ]


@pytest.mark.promise(1)
@pytest.mark.promise(3)
@pytest.mark.parametrize("when", WHENS[1:])
async def test_nor_does_a_host_that_dies_with_the_answer(
    programs: Programs, broker: LocalBroker, scissors: Scissors, when: str
) -> None:
    """The next host finds the answer beside what was written."""
    await broker.declare("ChildTask", Delivery())
    scissors.meanwhile = lambda: os.kill(programs.host(), signal.SIGKILL)
    for name in ("append", "lease", "ack", "discard"):
        scissors.arm(name, when)
        await DOINGS[name](broker, 0)
    assert scissors.cuts == 4


@pytest.mark.parametrize("when", WHENS)
async def test_a_poll_whose_answer_was_lost_gets_it_again_at_once(
    broker: LocalBroker, scissors: Scissors, when: str
) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe("log-a", -1)
    await broker.append("log-a", [Draft("data", 1)])
    scissors.arm("poll", when)
    (batch,) = await asyncio.wait_for(inbox.poll(10, 20), 5)
    assert [entry.data for entry in batch.entries] == [1]
    assert scissors.cuts == 1


async def test_leases_that_were_granted_to_nobody_are_given_back(
    programs: Programs, broker: LocalBroker, scissors: Scissors
) -> None:
    """The worker left while its answer was on the way."""
    scissors.arm("lease", WHENS[2])
    worker = asyncio.create_task(leased(broker))
    scissors.meanwhile = worker.cancel
    await until(lambda: not scissors.when or scissors.when == "now")
    await publish(broker, 1)
    await until(lambda: worker.done())
    found = await leased(broker)
    assert (found.message.id, found.attempt, found.raised) == ("call-1", 2, 0)


async def test_a_late_request_of_an_older_connection_is_not_done_again(broker: LocalBroker, folder: Path) -> None:
    """It may lie in some buffer while the new connection has its answer already."""
    older = await Raw.hello(folder, "4711-1-me")
    newer = await Raw.hello(folder, "4711-1-me")
    append = ["log-raw", [["", "data", b"\x01\x01"]], None, None, ""]
    assert await newer.ask(1, "append", append) == [1, True, 0]
    assert await newer.ask(2, "ping", [], seen=[1]) == [2, True, None]
    older.send([1, [], "append", append])
    assert await older.read() is None
    assert len(await broker.list("log-raw")) == 1
    (info,) = await broker.list("log-raw")
    assert info.next == 1
    newer.close()


async def test_answers_are_kept_no_longer_than_they_are_needed(broker: LocalBroker, folder: Path) -> None:
    import sqlite3

    for number in range(300):
        await append_expecting(broker, number)
    assert broker.remote
    with sqlite3.connect(folder / "mesh.db") as db:
        (size,) = db.execute("select max(length(replies)) from client").fetchone()
    db.close()
    assert size < 100
    assert not broker.remote.link._open
