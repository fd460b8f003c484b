"""What happens while Nacos is away, and once it is back."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cluster.nacos.conftest import Opener
from cluster.nacos.kit import Puppet, agent, alive, until, until_alive

from agentmesh.contracts import Change
from agentmesh.errors import RegistryUnavailable
from agentmesh.registry.nacos import NacosRegistry
from deploy.nacos import NacosServer

Puppets = Callable[..., Awaitable[Puppet]]


async def back(registry: NacosRegistry, connects: int = 2) -> float:
    """Wait until it is connected anew; `connects` is how many times it was in all."""
    links = (registry._configs.link, registry._naming.link)
    return await until(lambda: registry.online and all(link.connects >= connects for link in links), 30)


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_after_a_restart_everybody_is_back(
    server: NacosServer, opener: Opener, puppets: Puppets, end: str
) -> None:
    one, watcher = await opener(server.url), await opener(server.url)
    await one.register(agent())
    puppet = await puppets(server.url, 20)
    everybody = [("WeatherTask", "1.0.0"), *puppet.agents]
    await until_alive(watcher, *everybody)
    await asyncio.to_thread(getattr(server, end))
    await asyncio.sleep(0.5)
    await server.started()
    await back(watcher)
    await asyncio.sleep(6)  # longer than nobody goes offline after a reconnect
    assert await alive(watcher) == sorted(everybody)
    late = await opener(server.url)
    await until_alive(late, *everybody)
    await one.register(agent(version="2.0.0"))
    await until_alive(watcher, *everybody, ("WeatherTask", "2.0.0"))


async def test_a_restart_takes_nobody_offline_for_who_watches(
    server: NacosServer, opener: Opener, puppets: Puppets
) -> None:
    watcher = await opener(server.url)
    puppet = await puppets(server.url, 10)
    await until_alive(watcher, *puppet.agents)
    seen: list[Change] = []

    async def watch() -> None:
        async for change in watcher.watch():
            seen.append(change)

    watching = asyncio.create_task(watch())
    await until(lambda: len(seen) == 10)
    await asyncio.to_thread(server.kill)
    await server.started()
    await back(watcher)
    await asyncio.sleep(6)
    assert [change.kind for change in seen] == ["online"] * 10
    puppet.kill()
    await until(lambda: [change.kind for change in seen[10:]] == ["offline"] * 10)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_while_nacos_is_away_reads_go_on_and_writes_say_what_to_do(server: NacosServer, opener: Opener) -> None:
    one = await opener(server.url)
    await one.register(agent())
    await asyncio.to_thread(server.kill)
    await until(lambda: not one.online)
    assert await alive(one) == [("WeatherTask", "1.0.0")]
    assert (await one.get("WeatherTask")).alive
    assert await one.route("WeatherTask") == {}
    for write in (
        one.register(agent(version="2.0.0")),
        one.route("WeatherTask", {"1.0.0": 1}),
        one.point("WeatherTask", labels={"gray": "1.0.0"}),
        one.remove("WeatherTask"),
    ):
        with pytest.raises(
            RegistryUnavailable, match=f"{server.url} cannot be reached.*Start it, or correct the address"
        ):
            await write
    await server.started()
    await back(one)
    await one.register(agent(version="2.0.0"))


@pytest.mark.slow
async def test_a_server_that_was_frozen_for_ten_seconds_is_used_again(server: NacosServer, opener: Opener) -> None:
    one, watcher = await opener(server.url), await opener(server.url)
    await one.register(agent())
    await until_alive(watcher, ("WeatherTask", "1.0.0"))
    server.freeze()
    await asyncio.sleep(10)
    assert await alive(watcher) == [("WeatherTask", "1.0.0")]
    server.thaw()

    async def registered() -> bool:
        try:
            await one.register(agent(version="2.0.0"))
        except RegistryUnavailable:
            return False
        return True

    await until(registered, 20)
    await until_alive(watcher, ("WeatherTask", "1.0.0"), ("WeatherTask", "2.0.0"), seconds=20)


async def test_a_server_that_lost_everything_is_told_again(server: NacosServer, opener: Opener) -> None:
    one = await opener(server.url)
    await one.register(agent())
    await one.route("WeatherTask", {"1.0.0": 7})
    await asyncio.to_thread(server.kill)
    shutil.rmtree(server.folder / "data")
    await server.started()
    await back(one)
    late = await opener(server.url)
    await until_alive(late, ("WeatherTask", "1.0.0"))
    assert (await late.get("WeatherTask")).card.description == "Tells the weather."
    assert await late.route("WeatherTask") == {"1.0.0": 7}


async def test_with_a_snapshot_it_opens_while_nacos_is_away(
    server: NacosServer, opener: Opener, tmp_path: Path
) -> None:
    one, before = await opener(server.url), await opener(server.url, snapshot=tmp_path / "a" / "snapshot")
    await one.register(agent())
    await one.route("WeatherTask", {"1.0.0": 7})
    await until_alive(before, ("WeatherTask", "1.0.0"))
    await until(lambda: before._view.head("WeatherTask").route)
    await before.close()
    await asyncio.to_thread(server.kill)
    after = await opener(server.url, snapshot=tmp_path / "a" / "snapshot")
    assert not after.online
    assert await alive(after) == [("WeatherTask", "1.0.0")]
    assert (await after.get("WeatherTask")).card.skills[0].id == "tell"
    assert await after.route("WeatherTask") == {"1.0.0": 7}
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        await after.register(agent("OtherTask"))
    await server.started()
    await back(after, 1)
    await after.register(agent("OtherTask"))
    await until_alive(one, ("OtherTask", "1.0.0"), ("WeatherTask", "1.0.0"))
    await asyncio.sleep(6)
    assert await alive(after) == [("OtherTask", "1.0.0"), ("WeatherTask", "1.0.0")]


async def test_who_died_while_nobody_looked_is_offline_in_the_end(
    server: NacosServer, opener: Opener, tmp_path: Path
) -> None:
    one, before = await opener(server.url), await opener(server.url, snapshot=tmp_path / "snapshot")
    await one.register(agent())
    await until_alive(before, ("WeatherTask", "1.0.0"))
    await before.close()
    await asyncio.to_thread(server.kill)
    await one.close()
    after = await opener(server.url, snapshot=tmp_path / "snapshot")
    await until_alive(after, ("WeatherTask", "1.0.0"))
    await server.started()
    await until_alive(after, seconds=20)


@pytest.mark.parametrize(
    "content", [None, b"not JSON", b'{"format": 1, "address": "nacos://other:8848", "topics": []}']
)
async def test_without_a_snapshot_of_it_it_does_not_open_while_nacos_is_away(
    tmp_path: Path, opener: Opener, content: bytes | None
) -> None:
    path = tmp_path / "snapshot"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RegistryUnavailable, match=r"nacos://127\.0\.0\.1:9 cannot be reached.*snapshot"):
        await opener("nacos://127.0.0.1:9", snapshot=path)
    with pytest.raises(RegistryUnavailable, match=r"gRPC is at each port \+ 1000"):
        await opener("nacos://127.0.0.1:9")
