"""Who is alive, when processes die and sleep."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from cluster.nacos.conftest import Opener
from cluster.nacos.kit import Puppet, agent, alive, until, until_alive

from agentmesh.registry.nacos.mirror import GRACE

Puppets = Callable[..., Awaitable[Puppet]]


async def test_a_killed_process_is_offline_within_three_seconds(url: str, opener: Opener, puppets: Puppets) -> None:
    watcher = await opener()
    one, other = await puppets(url, 3, "One"), await puppets(url, 2, "Other")
    await until_alive(watcher, *one.agents, *other.agents)
    one.kill()
    assert await until_alive(watcher, *other.agents) < 3
    assert len(await watcher.list(alive=False)) == 5


async def test_of_two_processes_with_one_agent_the_killed_one_is_not_missed(
    url: str, opener: Opener, puppets: Puppets
) -> None:
    watcher = await opener()
    one, other = await puppets(url), await puppets(url)
    await until_alive(watcher, *one.agents)
    await asyncio.sleep(1)
    one.kill()
    await asyncio.sleep(2)
    assert await alive(watcher) == other.agents
    other.kill()
    await until_alive(watcher)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_process_that_slept_comes_back(url: str, opener: Opener, puppets: Puppets) -> None:
    """The server drops a frozen process after 17 to 28 s, without it knowing."""
    watcher = await opener()
    puppet = await puppets(url, 5)
    await until_alive(watcher, *puppet.agents)
    puppet.freeze()
    await until_alive(watcher, seconds=60)
    puppet.thaw()
    assert await until_alive(watcher, *puppet.agents, seconds=60) < 20


async def test_the_last_one_to_leave_is_reported(opener: Opener) -> None:
    one, watcher = await opener(), await opener()
    await one.register(agent())
    await until_alive(watcher, ("WeatherTask", "1.0.0"))
    await one.remove("WeatherTask", "instance-1")
    assert await until_alive(watcher) < GRACE / 1000
    await until(lambda: not watcher._view.topic("WeatherTask").others)
