"""A tenant with very many tasks, and another one's first."""

import asyncio
from pathlib import Path

import pytest

from agentmesh.broker.local import open_local
from agentmesh.clock import ManualClock
from agentmesh.contracts import Delivery
from agentmesh.ids import new_id
from agentmesh.message import DAY, Message

TOPIC, FLOOD, IN_FLIGHT = "FloodAgentTask", 100_000, 8


@pytest.mark.timeout(180)
@pytest.mark.promise(5)
async def test_a_hundred_thousand_tasks_delay_the_first_of_another_tenant_by_no_more_than_what_is_in_flight(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    broker = await open_local(tmp_path, clock)
    await broker.declare(TOPIC, Delivery(lease=DAY))

    def task(tenant: str) -> Message:
        return Message(id=new_id("call"), topic=TOPIC, tenant=tenant, created=clock.now(), deadline=clock.now() + DAY)

    for _ in range(0, FLOOD, 2000):
        await asyncio.gather(*(broker.publish(task("flood")) for _ in range(2000)))
    leases = list(await broker.lease([TOPIC], IN_FLIGHT, 0, worker="w"))
    for waited in (0, 30, 3600):
        await clock.advance(waited)
        first = task(f"acme-{waited}")
        await broker.publish(first)
        begun: list[str] = []
        while first.id not in begun:  # the workers end what they have, and take as many again
            await asyncio.gather(*(broker.ack(lease) for lease in leases))
            await clock.advance(1)
            leases = list(await broker.lease([TOPIC], IN_FLIGHT, 0, worker="w"))
            begun += [lease.message.id for lease in leases]
        assert begun.index(first.id) <= IN_FLIGHT
    await broker.close()
