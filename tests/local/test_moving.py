"""The store moves from a program's own loop to a child when somebody arrives, and takes everything with it."""

import asyncio
import gc
import os
import time
from pathlib import Path

import pytest
from local.kit import TOPIC, Programs, joined
from local.puppet import card

from agentmesh.broker.local import LocalBroker, open_local
from agentmesh.broker.local.folder import Folder
from agentmesh.clock import SystemClock
from agentmesh.contracts import Delivery, Registration
from agentmesh.errors import BrokerUnavailable
from agentmesh.message import Draft, Message
from agentmesh.registry.local import LocalRegistry


@pytest.mark.promise(1)
@pytest.mark.promise(3)
async def test_traffic_goes_on_while_the_store_moves(programs: Programs, folder: Path) -> None:
    first = await programs.start()
    assert await first.do("hosts")
    await first.do("declare", TOPIC)
    await first.do("begin", "work", TOPIC, "log-effects")
    calls = [f"call-{number}" for number in range(600)]
    publishing = [first.ask("publish", TOPIC, *calls[at : at + 10]) for at in range(0, 600, 10)]
    second = await programs.start()
    assert not await first.do("hosts")
    assert not await second.do("hosts")
    assert [each for told in await asyncio.gather(*publishing) for each in told] == [True] * 600
    effects = await second.do("read", "log-effects", wait_for=600)
    assert sorted(effects) == sorted(calls)
    assert programs.host_kind() == "child"


async def test_a_program_keeps_its_leases_subscriptions_and_registrations(programs: Programs) -> None:
    first = await programs.start()
    await first.do("declare", TOPIC)
    await first.do("publish", TOPIC, "call-1", "call-2")
    assert await first.do("lease", TOPIC) == [["call-1", 1]]
    await first.do("register", TOPIC)
    await first.do("append", "log-a", 0)
    await first.do("subscribe", "log-a")
    assert await first.do("poll") == [["log-a", [0]]]
    await first.do("subscribe", "log-alone", exclusive=True)
    polling, extending = first.ask("poll"), first.ask("extend", "call-1", wait=2)
    second = await programs.start()
    assert await second.do("alive") == [TOPIC]
    assert await second.do("lease", TOPIC, 5) == [["call-2", 1]]
    await second.do("append", "log-a", 1)
    assert await polling == [["log-a", [1]]]
    await second.do("append", "log-alone", "mine")
    assert await first.do("poll") == [["log-alone", ["mine"]]]
    assert await extending == {}
    assert await first.do("extend", "call-1") == {}
    await first.do("ack", "call-1", effects="log-effects")
    assert await second.do("read", "log-effects") == ["call-1"]


@pytest.mark.slow
async def test_a_program_that_blocks_is_named_and_never_killed(programs: Programs, folder: Path) -> None:
    first = await programs.start()
    await first.do("append", "log-a", 0)
    blocked = first.ask("block", 8)
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=rf"held by the program with pid {first.pid}, which does not answer"):
        await open_local(folder, SystemClock())
    assert 4 < time.monotonic() - began < 7
    await blocked
    assert await first.do("append", "log-a", 1) == 1
    async with joined(folder) as broker:
        assert len(await broker.read("log-a")) == 2


async def test_a_program_that_ends_while_the_store_moves_leaves_the_folder_free(programs: Programs) -> None:
    for _ in range(3):
        first = await programs.start()
        await first.do("declare", TOPIC)
        opening = asyncio.create_task(programs.start())
        await asyncio.sleep(0.02)  # about when the store moves; whichever comes first is fine
        await first.do("close")
        second = await opening
        assert await second.do("append", "log-a", 0) >= 0
        await second.do("close")


async def test_a_doorbell_that_rings_while_the_mesh_closes_keeps_nothing_locked(folder: Path) -> None:
    broker = await open_local(folder, SystemClock())
    await broker.append("log-a", [Draft("data", 1)])
    broker._rung()
    await broker.close()  # before the move has begun
    assert Folder(folder).is_free()
    broker = await open_local(folder, SystemClock())
    closing = asyncio.create_task(broker.close())
    await asyncio.sleep(0)
    broker._rung()
    await closing
    assert Folder(folder).is_free()
    await (await open_local(folder, SystemClock())).close()


@pytest.fixture
def no_hosts(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No program can be started, as without memory."""

    def fails(*_: object, **__: object) -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("agentmesh.broker.local.spawn.os.posix_spawn", fails)
    return monkeypatch


async def test_a_program_goes_on_alone_if_no_host_can_be_started(folder: Path, no_hosts: pytest.MonkeyPatch) -> None:
    broker = await open_local(folder, SystemClock())
    registry = LocalRegistry(broker)
    await broker.declare(TOPIC, Delivery())
    await broker.publish(Message(id="call-1", topic=TOPIC))
    (lease,) = await broker.lease([TOPIC], 1, 5, worker="w")
    await registry.register(Registration(TOPIC, "1", card(TOPIC), "me"))
    inbox = broker.inbox("me")
    await inbox.subscribe("log-a", -1)
    polling = asyncio.create_task(inbox.poll(1, 20))
    assert broker._rung() == ""
    await broker.append("log-a", [Draft("data", 1)])
    assert broker.hosted
    assert "Cannot allocate memory" in broker._rung()  # the next one is told why
    assert [entry.data for entry in (await polling)[0].entries] == [1]
    assert [each.topic for each in await registry.list()] == [TOPIC]
    assert await broker.extend("w", [lease.token], 0) == {}
    await broker.ack(lease)
    no_hosts.undo()
    broker._alone_until = 0
    assert broker._rung() == ""
    assert await broker.append("log-a", [Draft("data", 2)]) == 1
    assert broker.remote
    await broker.close()


async def test_a_newcomer_is_told_why_it_cannot_be_let_in(programs: Programs, folder: Path) -> None:
    first = await programs.start(opened=False)
    await first.do("without_hosts")
    await first.do("open", str(folder))
    await first.do("append", "log-a", 0)
    second = await programs.start(opened=False)
    await second.do("without_hosts")
    with pytest.raises(BrokerUnavailable, match="cannot be started: No such file or directory"):
        await second.do("open", str(folder))
    assert await first.do("append", "log-a", 1) == 1
    with pytest.raises(BrokerUnavailable, match=f"pid {first.pid} has .* for itself: .*cannot be started"):
        await open_local(folder, SystemClock())
    assert await first.do("append", "log-a", 2) == 2


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_two_loops_one_after_the_other_share_a_folder(folder: Path) -> None:
    """The first one ended without closing: what it had open is let go."""

    async def use(alone: bool) -> LocalBroker:
        broker = await open_local(folder, SystemClock(), alone=alone)
        await broker.append("log-a", [Draft("data", os.getpid())])
        return broker

    async def use_and_close() -> None:
        await (await use(True)).close()

    for alone in (True, False):
        asyncio.run(use(alone))
        asyncio.run(use_and_close())
    gc.collect()  # here, where it is expected that something was not closed
