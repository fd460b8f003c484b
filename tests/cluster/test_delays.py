"""A task whose time comes after more than a day, on a cluster of its own: its clock jumps far."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.run import start
from contract.cluster import ServersClock
from contract.kit import DAY, HOUR, TOPIC, task

from agentmesh.broker.rocketmq import open_rocketmq
from agentmesh.contracts import Delivery
from deploy.rocketmq import free_ports

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    servers = start(tmp_path, free_ports(10))
    yield servers.url
    servers.kill()


async def test_a_task_may_wait_longer_than_the_servers_delay_anything(url: str, tmp_path: Path) -> None:
    clock = ServersClock(tmp_path / "clock")
    broker = await open_rocketmq(url, clock)
    await broker.declare(TOPIC, Delivery())
    message = task(not_before=clock.now() + 45 * HOUR * 1000, deadline=clock.now() + 9 * DAY * 1000)
    await broker.publish(message)
    for _ in range(2):
        assert await broker.lease([TOPIC], 1, 1, worker="w") == []
        await clock.advance(21 * HOUR)
    assert await broker.lease([TOPIC], 1, 6, worker="w") == []
    assert [each.message.id for each in await broker.browse(TOPIC)] == [message.id]
    await clock.advance(4 * HOUR)
    (lease,) = await broker.lease([TOPIC], 1, 30, worker="w")
    assert (lease.message.id, lease.attempt) == (message.id, 1)
    await broker.close()
