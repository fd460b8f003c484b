"""The index: what is put is found, what is removed is not, and nothing is embedded twice."""

import asyncio
from typing import Any

import pytest
from catalog.kit import OAKS, ROSES, TULIPS, Letters, agent
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmesh.card import AgentSkill
from agentmesh.catalog import Filters, Index
from agentmesh.catalog.cache import VectorCache
from agentmesh.contracts import Registration

TEAM = (TULIPS, OAKS, ROSES)


async def found(index: Index, query: str, **filters: Any) -> list[str]:
    return [hit.topic for hit in await index.search(query, filters=Filters(**filters) if filters else None)]


async def test_what_is_put_is_found_and_what_is_removed_is_not() -> None:
    index = Index(Letters())
    await index.put(TEAM)
    assert (await found(index, "plants oaks"))[0] == "OakTask"
    index.remove("OakTask")
    index.remove("NobodyTask")
    assert "OakTask" not in await found(index, "plants oaks")
    await index.put([OAKS])
    assert (await found(index, "plants oaks"))[0] == "OakTask"


async def test_a_card_that_changes_is_embedded_alone() -> None:
    embedder = Letters()
    index = Index(embedder)
    await index.put(TEAM)
    assert len(embedder.embedded) == 3
    await index.put([*TEAM, agent("OakTask", "Fells birches.")])
    assert embedder.embedded[3:] == ["OakTask. Fells birches"]
    assert (await found(index, "fells birches"))[0] == "OakTask"
    assert (await found(index, "plants oaks along roads"))[0] == "OakTask"  # by its name, not by what it did before
    assert (await index.search("plants oaks along roads"))[0].why.matched == ("oaks",)


async def test_cards_that_change_for_ever_take_no_more_room_and_are_embedded_no_more_often() -> None:
    embedder = Letters()
    index = Index(embedder)
    await index.put([TULIPS, OAKS, ROSES])
    for number in range(2500):
        await index.put([agent("TulipTask", f"Sells tulips from field {number % 7}.")])
    assert len(index._table.skills) < 1100
    assert len(embedder.embedded) < 2600
    assert [hit.topic for hit in await index.search("roses in gardens", 1)] == ["RoseTask"]
    (hit,) = await index.search("tulips from field 0", 1)
    assert hit.card.description == f"Sells tulips from field {2499 % 7}."
    assert hit.why.meaning
    assert hit.why.meaning > 0.5


async def test_who_lives_and_who_does_not_costs_no_embedding() -> None:
    embedder = Letters()
    index = Index(embedder)
    await index.put(TEAM)
    await index.put([agent("OakTask", OAKS.card.description, alive=False)])
    assert len(embedder.embedded) == 3
    assert "OakTask" not in await found(index, "oaks", alive=True)
    assert "OakTask" in await found(index, "oaks", alive=None)


async def test_of_several_versions_the_one_to_call_is_found_among_those_wanted() -> None:
    index = Index()
    await index.put(
        agent("ShopTask", f"Sells {what}.", version=version, alive=alive)
        for what, version, alive in (("tulips", "1.9.0", True), ("roses", "1.10.0", True), ("oaks", "2.0.0", False))
    )
    assert [(hit.version, hit.fits) for hit in await index.search("sells roses")] == [("1.10.0", True)]
    assert await found(index, "tulips") == []
    assert [hit.version for hit in await index.search("tulips", filters=Filters(version="<1.10"))] == ["1.9.0"]
    assert [hit.version for hit in await index.search("oaks", filters=Filters(version=">=2", alive=None))] == ["2.0.0"]


async def test_each_skill_is_found_by_itself_and_with_the_agent_s_words() -> None:
    skills = [AgentSkill(id=id_, description=text) for id_, text in (("rain", "Rain and showers"), ("snow", "Frost"))]
    index = Index(Letters())
    await index.put([agent("SkyTask", "Looks at the sky.", *skills), *TEAM])
    assert [hit.skill for hit in await index.search("frost", 1)] == ["snow"]
    assert {hit.skill for hit in await index.search("looks at the sky", 2)} == {"rain", "snow"}


async def test_a_skill_that_is_told_twice_is_found_once() -> None:
    index = Index(Letters())
    await index.put([agent("SkyTask", "", AgentSkill(id="rain"), AgentSkill(id="rain", description="Showers"))])
    assert [hit.skill for hit in await index.search("rain showers")] == ["rain"]


async def test_equals_come_in_the_order_of_topics_whatever_the_order_they_came_in() -> None:
    for order in ("CAB", "BCA"):
        index = Index(Letters())
        await index.put([agent(f"{letter}Task", "Sells tulips.", name="Shop") for letter in order])
        assert await found(index, "tulips") == ["ATask", "BTask", "CTask"]


async def test_a_search_that_comes_while_cards_are_put_finds_what_is_there() -> None:
    index = Index(Letters())
    many = [agent(f"T{n}", f"Counts number{n}.") for n in range(600)]
    results = await asyncio.gather(index.put(many), *(index.search("tulips") for _ in range(5)))
    assert all(not any(hit.fits for hit in hits) for hits in results[1:] if hits)
    assert (await found(index, "counts number599"))[0] == "T599"


async def test_an_index_that_shares_vectors_embeds_only_what_is_new() -> None:
    embedder, cache = Letters(), VectorCache()
    whole = Index(embedder, cache)
    await whole.put(TEAM)
    part = Index(embedder, cache)
    await part.put([TULIPS, OAKS])
    assert len(embedder.embedded) == 3
    assert "RoseTask" not in await found(part, "prunes roses")


async def test_nothing_is_found_for_nothing_and_in_nothing() -> None:
    index = Index(Letters())
    assert list(await index.search("tulips")) == []
    await index.put(TEAM)
    assert list(await index.search("  ")) == []
    assert list(await index.search("tulips", 0)) == []


async def test_a_search_tells_why() -> None:
    index = Index(Letters())
    await index.put(TEAM)
    best, other = (await index.search("who sells tulips", 2))[:2]
    assert best.why.matched == ("sells", "tulips")
    assert best.why.words is not None
    assert best.why.meaning is not None
    assert best.score == pytest.approx((best.why.meaning + 1.5 * best.why.words) / 2.5, abs=1e-5)
    assert (best.fits, other.fits) == (True, False)
    assert best.why.probability > other.why.probability


step = st.tuples(st.sampled_from("ABC"), st.sampled_from(["1", "2"]), st.sampled_from(["tulips", "oaks", "", None]))


@given(steps=st.lists(step, max_size=12))
@settings(max_examples=60)
def test_what_is_found_depends_on_what_is_there_and_not_on_what_was(steps: list[tuple[str, str, str | None]]) -> None:
    there: dict[tuple[str, str], Registration] = {}

    async def compare() -> None:
        index, fresh = Index(Letters()), Index(Letters())
        for topic, version, sells in steps:
            if sells is None:
                index.remove(topic, version)
                there.pop((topic, version), None)
            else:
                there[topic, version] = agent(topic, f"Sells {sells}", version=version)
                await index.put([there[topic, version]])
        await fresh.put(there.values())
        for query in ("tulips", "sells", "who sells oaks"):
            assert list(await index.search(query)) == list(await fresh.search(query))

    asyncio.run(compare())
