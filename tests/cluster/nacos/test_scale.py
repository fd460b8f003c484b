"""Two hundred agents, in two processes; the figures are `benchmarks/nacos.py`'s."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from cluster.nacos.conftest import Opener
from cluster.nacos.kit import Puppet, alive, until, until_alive

from deploy.nacos import NacosServer

Puppets = Callable[..., Awaitable[Puppet]]


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_two_hundred_agents_are_seen_and_one_process_of_two_dies(
    url: str, opener: Opener, puppets: Puppets
) -> None:
    watcher = await opener()
    one, other = await asyncio.gather(puppets(url, 100, "One"), puppets(url, 100, "Other"))
    await until_alive(watcher, *one.agents, *other.agents, seconds=60)
    late = await opener()
    await until_alive(late, *one.agents, *other.agents)
    await late.point("One7Task", labels={"gray": "1.0.0"})
    await until(lambda: watcher._view.head("One7Task").labels)
    one.kill()
    await until_alive(watcher, *other.agents)
    assert len(await watcher.list(alive=False)) == 200


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_two_hundred_agents_are_all_back_after_a_restart(
    server: NacosServer, opener: Opener, puppets: Puppets
) -> None:
    watcher = await opener(server.url)
    one, other = await asyncio.gather(puppets(server.url, 100, "One"), puppets(server.url, 100, "Other"))
    everybody = sorted([*one.agents, *other.agents])
    await until_alive(watcher, *everybody, seconds=60)
    await asyncio.to_thread(server.kill)
    await server.started()
    late = await opener(server.url)
    await until_alive(late, *everybody, seconds=30)
    await asyncio.sleep(6)
    assert await alive(watcher) == everybody
