"""A catalog follows its registry: cards that come, change and go, who lives, and how much each has to do."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from catalog.kit import OAKS, ROSES, TULIPS, Letters, agent

from agentmesh import Agent, CallFailed, ConfigError, skill
from agentmesh.broker.memory import open_memory
from agentmesh.catalog import Catalog, Filters, Hit
from agentmesh.catalog.catalog import settled
from agentmesh.clock import ManualClock
from agentmesh.contracts import Delivery, Registration
from agentmesh.errors import RegistryUnavailable
from agentmesh.ids import new_token
from agentmesh.message import Message
from agentmesh.registry.embedded import EmbeddedRegistry
from agentmesh.testing import open_mesh


class World:
    """A registry, a broker and a catalog of them, with a clock that stands still."""

    def __init__(self, registry: EmbeddedRegistry, broker: Any, clock: ManualClock, catalog: Catalog) -> None:
        self.registry, self.broker, self.clock, self.catalog = registry, broker, clock, catalog

    async def register(self, *registrations: Registration, instance: str = "one") -> None:
        for each in registrations:
            await self.registry.register(Registration(each.topic, each.version, each.card, instance))

    async def found(self, query: str, **filters: Any) -> list[str]:
        """Those that have a word of the query, the best first."""
        hits = await self.catalog.search(query, filters=Filters(**filters) if filters else None)
        return [hit.topic for hit in hits if hit.why.matched]


@asynccontextmanager
async def world(*there: Registration, embedder: Letters | None = None) -> AsyncIterator[World]:
    clock = ManualClock()
    broker = await open_memory(new_token(), clock)
    registry = EmbeddedRegistry(broker, clock)
    for each in there:
        await registry.register(Registration(each.topic, each.version, each.card, "one"))
    async with Catalog(registry, broker, embedder or Letters(), clock=clock) as catalog:
        yield World(registry, broker, clock, catalog)
    await broker.close()


async def test_agents_that_come_and_go_are_found_as_long_as_they_are_there() -> None:
    async with world(TULIPS) as at:
        assert await at.found("plants oaks") == []
        await at.register(OAKS, ROSES)
        assert await at.found("plants oaks") == ["OakTask"]
        await at.registry.remove("OakTask")
        assert await at.found("plants oaks") == []


async def test_an_agent_that_dies_is_found_only_by_those_who_ask_for_the_dead() -> None:
    async with world(TULIPS, OAKS) as at:
        await at.register(ROSES, instance="two")
        for _ in range(4):
            await at.clock.advance(5)
            await at.registry.renew("two")
        assert await at.found("sells tulips") == []
        assert await at.found("sells tulips", alive=None) == ["TulipTask"]
        assert await at.found("prunes roses") == ["RoseTask"]
        await at.register(TULIPS)
        assert await at.found("sells tulips") == ["TulipTask"]


async def test_a_hit_tells_who_was_last_heard_of_when() -> None:
    async with world(TULIPS) as at:
        await at.clock.advance(7)
        (hit,) = await at.catalog.search("tulips")
        assert (hit.alive, hit.why.silent) == (True, 7000)


async def test_a_new_version_is_what_is_found() -> None:
    async with world(agent("ShopTask", "Sells tulips.")) as at:
        await at.register(agent("ShopTask", "Sells tulips.", version="1.1.0"))
        assert [hit.version for hit in await at.catalog.search("tulips")] == ["1.1.0"]
        assert [hit.version for hit in await at.catalog.search("tulips version:1.0")] == ["1.0.0"]


async def test_of_equals_the_one_with_less_to_do_comes_first() -> None:
    twins = [agent(topic, "Sells tulips.", name="Shop") for topic in ("ATask", "BTask")]
    async with world(*twins, OAKS) as at:
        assert await at.found("sells tulips") == ["ATask", "BTask"]
        for topic in ("ATask", "BTask"):
            await at.broker.declare(topic, Delivery())
        for n in range(3):
            await at.broker.publish(Message(id=f"call-{n:032x}", topic="ATask", skill="do", body=b"{}"))
        hits = await at.catalog.search("sells tulips", 2)
        assert [(hit.topic, hit.load, hit.why.waiting, hit.why.running) for hit in hits] == [
            ("BTask", 0, 0, 0),
            ("ATask", 3, 3, 0),
        ]


def hit(topic: str, score: float, *, alive: bool = True, load: int = 0) -> Hit:
    return Hit(topic, "do", score, TULIPS.card, alive, load)


@pytest.mark.parametrize(
    ("hits", "order"),
    [
        ([hit("A", 0.9, load=9), hit("B", 0.5)], "AB"),
        ([hit("A", 0.51, load=9), hit("B", 0.5)], "BA"),
        ([hit("A", 0.51, alive=False), hit("B", 0.5, load=9)], "BA"),
        ([hit("A", 0.52, load=3), hit("B", 0.51, load=2), hit("C", 0.49)], "BAC"),
        ([], ""),
    ],
)
def test_load_and_life_settle_near_ties_alone(hits: Sequence[Hit], order: str) -> None:
    assert "".join(each.topic for each in settled(hits)) == order


async def test_an_index_over_some_agents_shares_the_catalog_s_vectors() -> None:
    embedder = Letters()
    async with world(TULIPS, OAKS, ROSES, embedder=embedder) as at:
        await at.catalog.search("oaks")
        before = len(embedder.embedded)
        part = at.catalog.over([TULIPS, ROSES])
        assert [hit.topic for hit in await part.search("prunes roses", 1)] == ["RoseTask"]
        assert embedder.embedded[before:] == ["prunes roses"]


class Away(EmbeddedRegistry):
    """A registry that can be out of reach."""

    away = False

    async def list(self, *, alive: bool = True) -> Sequence[Registration]:
        if self.away:
            raise RegistryUnavailable("The registry is away.")
        return await super().list(alive=alive)

    async def get(self, topic: str, version: str = "") -> Registration:
        if self.away:
            raise RegistryUnavailable("The registry is away.")
        return await super().get(topic, version)


async def test_a_registry_that_is_away_leaves_what_was_known() -> None:
    clock = ManualClock()
    broker = await open_memory(new_token(), clock)
    registry = Away(broker, clock)
    await registry.register(Registration("TulipTask", "1.0.0", TULIPS.card, "one"))
    async with Catalog(registry, broker, Letters(), clock=clock) as catalog:
        registry.away = True
        assert [hit.topic for hit in await catalog.search("tulips")] == ["TulipTask"]
    await broker.close()


class ShopAgent(Agent):
    """Sells tulips from Holland."""

    @skill
    async def sell(self, flower: str) -> str:
        """Sell flowers."""
        if flower == "oak":
            raise ValueError("an oak is no flower")
        return flower


async def test_a_mesh_searches_what_it_serves_and_tells_how_its_calls_went() -> None:
    async with open_mesh(ShopAgent(), embedder="none") as mesh:
        (first,) = await mesh.search("sells tulips")
        assert (first.fits, first.why.succeeded) == (True, None)
        assert await mesh.call("ShopAgentTask", {"flower": "tulip"}) == "tulip"
        with pytest.raises(CallFailed):
            await (await mesh.start("ShopAgentTask", {"flower": "oak"})).result()
        (last,) = await mesh.search("sells tulips")
        assert last.why.succeeded == pytest.approx(0.9)
        assert last.why.seconds is not None


async def test_a_mesh_takes_filters_as_an_argument_and_in_the_query() -> None:
    async with open_mesh(ShopAgent(), embedder="none") as mesh:
        assert await mesh.search("tulips", filters={"can": ["push"]}) == []
        assert await mesh.search("tulips supports push") == []
        assert len(await mesh.search("tulips", filters=Filters(alive=None))) == 1
        with pytest.raises(ConfigError, match="There are tag, provider"):
            await mesh.search("tulips", filters={"colour": "red"})
        with pytest.raises(ConfigError, match="Did you mean tag"):
            await mesh.search("tga:x tulips")


async def test_a_mesh_of_a_tenant_finds_what_that_tenant_may_see() -> None:
    secret = agent("SecretTask", "Sells tulips.", told={"tenants": ["blue"]})
    for tenant, seen in (("blue", 1), ("red", 0), (None, 1)):
        async with open_mesh(embedder="none", tenant=tenant) as mesh:
            await mesh.registry.register(Registration("SecretTask", "1.0.0", secret.card, "one"))
            assert len(await mesh.search("tenant:blue sells tulips")) == seen


@pytest.mark.parametrize("embedder", [Letters(), Letters().embed, "none"])
async def test_a_mesh_takes_an_embedder_a_function_or_a_name(embedder: Any) -> None:
    async with open_mesh(ShopAgent(), embedder=embedder) as mesh:
        (hit,) = await mesh.search("sells tulips")
        assert (hit.why.meaning is None) == (embedder == "none")
