"""Several registries behind one: agents register in one, and are found in all that answer."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from registry.card_server import our_card

from agentmesh import ConfigError, TopicNotFound
from agentmesh.broker.memory import open_memory
from agentmesh.card import read_card
from agentmesh.clock import ManualClock
from agentmesh.contracts import Change, Registration, Registry
from agentmesh.errors import RegistryUnavailable
from agentmesh.registry.direct import open_direct
from agentmesh.registry.embedded import EmbeddedRegistry
from agentmesh.registry.several import Several


class Reachable:
    """A registry behind a network that can be cut."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.cut = asyncio.Event()

    def _check(self) -> Registry:
        if self.cut.is_set():
            raise RegistryUnavailable("It cannot be reached.")
        return self.registry

    async def register(self, registration: Registration) -> None:
        await self._check().register(registration)

    async def renew(self, instance: str) -> None:
        await self._check().renew(instance)

    async def remove(self, topic: str, instance: str = "") -> None:
        await self._check().remove(topic, instance)

    async def get(self, topic: str, version: str = "") -> Registration:
        return await self._check().get(topic, version)

    async def list(self, *, alive: bool = True) -> Sequence[Registration]:
        return await self._check().list(alive=alive)

    async def route(self, topic: str, weights: Mapping[str, int] | None = None) -> Mapping[str, int]:
        return await self._check().route(topic, weights)

    async def watch(self) -> AsyncGenerator[Change, None]:
        self._check()
        inner = self.registry.watch()
        cut = asyncio.ensure_future(self.cut.wait())
        try:
            while True:
                following = asyncio.ensure_future(anext(inner))
                await asyncio.wait([following, cut], return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                    self._check()
                yield following.result()
        finally:
            cut.cancel()
            await inner.aclose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as found:
        yield found


async def own(clock: ManualClock, stack: AsyncExitStack) -> Reachable:
    """A registry of its own, with nobody in it."""
    broker = await open_memory("", clock)
    stack.push_async_callback(broker.close)
    return Reachable(EmbeddedRegistry(broker, clock))


async def told(clock: ManualClock, stack: AsyncExitStack, folder: Path, *cards: object) -> Registry:
    """A registry that only tells these cards."""
    registry = await open_direct(cards, clock, folder / "kept")  # type: ignore[arg-type]
    stack.push_async_callback(registry.close)
    return registry


def agent(topic: str, version: str = "1.0.0", instance: str = "me", text: str = "") -> Registration:
    return Registration(topic, version, read_card({**our_card(topic, version), "description": text}), instance)


async def keys(registry: Registry, *, alive: bool = True) -> list[tuple[str, str]]:
    return [(each.topic, each.version) for each in await registry.list(alive=alive)]


async def test_agents_register_in_the_first_that_takes_them_and_are_found_in_all(
    clock: ManualClock, stack: AsyncExitStack, tmp_path: Path
) -> None:
    listed, first, second = (
        await told(clock, stack, tmp_path, our_card("ToldTask")),
        *[await own(clock, stack) for _ in range(2)],
    )
    several = Several([("direct", listed), ("first", first), ("second", second)], clock)
    await second.register(agent("OtherTask"))
    await several.register(agent("MineTask"))
    assert await keys(first) == [("MineTask", "1.0.0")]
    assert await keys(several) == [("MineTask", "1.0.0"), ("OtherTask", "1.0.0"), ("ToldTask", "1.0.0")]
    assert [(await several.get(topic)).topic for topic in ("MineTask", "OtherTask", "ToldTask")] == [
        "MineTask",
        "OtherTask",
        "ToldTask",
    ]
    await clock.advance(14)
    await several.renew("me")
    await clock.advance(14)
    assert ("MineTask", "1.0.0") in await keys(several)
    await several.remove("MineTask", "me")
    assert ("MineTask", "1.0.0") not in await keys(several)


async def test_of_two_with_one_topic_and_version_the_first_counts_unless_only_the_other_is_alive(
    clock: ManualClock, stack: AsyncExitStack
) -> None:
    first, second = await own(clock, stack), await own(clock, stack)
    several = Several([("first", first), ("second", second)], clock)
    await first.register(agent("ATask", text="of the first"))
    await second.register(agent("ATask", text="of the second"))
    assert (await several.get("ATask")).card.description == "of the first"
    assert [each.card.description for each in await several.list()] == ["of the first"]
    await first.remove("ATask", "me")
    assert (await several.get("ATask", "1.0.0")).card.description == "of the second"
    assert [each.card.description for each in await several.list(alive=False)] == ["of the second"]


async def test_the_newest_version_that_is_alive_anywhere_is_meant_and_the_others_are_counted(
    clock: ManualClock, stack: AsyncExitStack
) -> None:
    first, second = await own(clock, stack), await own(clock, stack)
    several = Several([("first", first), ("second", second)], clock)
    await first.register(agent("ATask", "1.9.0"))
    await second.register(agent("ATask", "1.10.0"))
    found = await several.get("ATask")
    assert (found.version, found.siblings) == ("1.10.0", 1)


async def test_a_route_is_that_of_the_first_that_has_one(clock: ManualClock, stack: AsyncExitStack) -> None:
    first, second = await own(clock, stack), await own(clock, stack)
    several = Several([("first", first), ("second", second)], clock)
    for registry in (first, second):
        await registry.register(agent("ATask"))
    assert await several.route("ATask") == {}
    await second.route("ATask", {"1.0.0": 7})
    assert await several.route("ATask") == {"1.0.0": 7}
    await several.route("ATask", {"1.0.0": 3})
    assert await several.route("ATask") == {"1.0.0": 3}
    assert await first.route("ATask") == {"1.0.0": 3}
    with pytest.raises(TopicNotFound):
        await several.route("BTask")


async def test_one_that_is_away_does_not_take_the_others_with_it(
    clock: ManualClock, stack: AsyncExitStack, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = await own(clock, stack), await own(clock, stack)
    several = Several([("first", first), ("second", second)], clock)
    await first.register(agent("ATask"))
    await second.register(agent("BTask"))
    second.cut.set()
    assert await keys(several) == [("ATask", "1.0.0")]
    assert (await several.get("ATask")).alive
    with pytest.raises(RegistryUnavailable, match="BTask is in no registry that answers, and second"):
        await several.get("BTask")
    await several.register(agent("CTask"))
    assert capfd.readouterr().err.count("a registry is away") == 1
    second.cut.clear()
    assert (await several.get("BTask")).alive
    first.cut.set()
    second.cut.set()
    with pytest.raises(RegistryUnavailable, match=r"No registry answers\. first: .* second: "):
        await several.list()


async def test_what_is_nowhere_is_said_with_what_looks_like_it(clock: ManualClock, stack: AsyncExitStack) -> None:
    first, second = await own(clock, stack), await own(clock, stack)
    several = Several([("first", first), ("second", second)], clock)
    await second.register(agent("WeatherAgentTask"))
    with pytest.raises(TopicNotFound, match="WeatherAgentTask"):
        await several.get("WetherAgentTask")
    with pytest.raises(TopicNotFound, match=r"WeatherAgentTask 1\.0\.0"):
        await several.get("WeatherAgentTask", "3")


async def test_what_others_tell_cannot_be_changed_here(
    clock: ManualClock, stack: AsyncExitStack, tmp_path: Path
) -> None:
    listed = await told(clock, stack, tmp_path, our_card("ToldTask"))
    with pytest.raises(ConfigError, match="direct only tell"):
        await Several([("direct", listed)], clock).register(agent("ATask"))
    several = Several([("direct", listed), ("own", await own(clock, stack))], clock)
    with pytest.raises(ConfigError, match="ToldTask is told by direct"):
        await several.remove("ToldTask")
    with pytest.raises(TopicNotFound):
        await several.remove("NoTask")


async def test_a_watch_tells_what_all_of_them_amount_to(clock: ManualClock, stack: AsyncExitStack) -> None:
    first, second = await own(clock, stack), await own(clock, stack)
    several = Several([("first", first), ("second", second)], clock)
    await first.register(agent("ATask"))
    async with aclosing(several.watch()) as changes:

        async def following() -> tuple[str, str]:
            change = await anext(changes)
            return change.kind, change.registration.topic

        assert await following() == ("online", "ATask")
        await second.register(agent("BTask"))
        assert await following() == ("online", "BTask")
        await second.register(agent("ATask"))  # the first's counts: nothing is different
        await first.remove("ATask", "me")  # now the second's, of an equal card, does
        await second.remove("ATask", "me")
        assert await following() == ("offline", "ATask")
        await second.remove("BTask")
        assert await following() == ("removed", "BTask")


async def test_a_watch_survives_one_that_goes_away_and_tells_what_changed_meanwhile(
    clock: ManualClock, stack: AsyncExitStack
) -> None:
    first, second = await own(clock, stack), await own(clock, stack)
    several = Several([("first", first), ("second", second)], clock)
    await second.register(agent("GoneTask"))
    async with aclosing(several.watch()) as changes:
        assert (await anext(changes)).registration.topic == "GoneTask"
        second.cut.set()
        await first.register(agent("ATask"))
        assert (await anext(changes)).registration.topic == "ATask"
        await second.registry.remove("GoneTask")
        await second.registry.register(agent("NewTask"))
        second.cut.clear()
        await clock.advance(5)
        found = {(each.kind, each.registration.topic) for each in [await anext(changes), await anext(changes)]}
        assert found == {("removed", "GoneTask"), ("online", "NewTask")}
