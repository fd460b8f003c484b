"""How long LiteTopics live, on a cluster of its own: its clock jumps far, and it looks every few seconds what is over.

RocketMQ 5.5.0 reckons a life of more than 35,791 minutes in 32 bits, and lets such a LiteTopic end after fifteen.
"""

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.run import start
from contract.cluster import ServersClock
from contract.kit import DAY, HOUR, TOPIC, task

from agentmesh.broker.rocketmq import open_rocketmq
from agentmesh.contracts import Broker, Delivery
from agentmesh.message import Draft
from deploy.rocketmq import free_ports

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(180)]
LONG = ("run-a", "session-a", "task-a", "log-a", "memory-a", "anything")
BODY = b"x" * 3_000_000
LOOKED = 8.0
"""Seconds in which the broker has looked twice what is over."""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    servers = start(tmp_path, free_ports(10), "liteTtlCheckInterval=3000")
    yield servers.url
    servers.kill()


async def alive(broker: Broker) -> set[str]:
    return {name for name in (*LONG, "call-a") if await broker.read(name)}


async def test_logs_and_bodies_live_as_long_as_is_said(url: str, tmp_path: Path) -> None:
    clock = ServersClock(tmp_path / "clock")
    broker = await open_rocketmq(url, clock)
    await broker.declare(TOPIC, Delivery())
    for name in (*LONG, "call-a"):
        await broker.append(name, [Draft("note", {"n": 1})])
    digest = broker.blobs.hash("")
    digest.update(BODY)
    name = digest.hexdigest()
    await asyncio.to_thread(broker.blobs.put, name, BODY, 0)
    waiting = task(not_before=clock.now() + 30 * DAY * 1000, deadline=clock.now() + 31 * DAY * 1000)
    await broker.publish(waiting)

    await clock.advance(HOUR)
    await asyncio.sleep(LOOKED)
    assert await alive(broker) == {*LONG, "call-a"}
    assert [each.message.id for each in await broker.browse(TOPIC)] == [waiting.id]

    await clock.advance(24 * DAY)
    await asyncio.sleep(LOOKED)
    assert await alive(broker) == set(LONG)
    kept = b"".join(await asyncio.to_thread(lambda: list(broker.blobs.open(name))))
    assert hashlib.sha256(kept).digest() == hashlib.sha256(BODY).digest()

    await clock.advance(DAY)
    await asyncio.sleep(LOOKED)
    assert await alive(broker) == set()
    await broker.close()
