"""What is published on Nacos: versions, labels and routes, and what happens when two write at once."""

import asyncio
from contextlib import aclosing

import pytest
from cluster.nacos.conftest import Opener
from cluster.nacos.kit import agent, alive, card, fresh_url, until, until_alive

from agentmesh.card import AgentCard, AgentInterface
from agentmesh.contracts import Registration
from agentmesh.errors import ConfigError, Conflict, PayloadCorrupt, PayloadTooLarge, RegistryUnavailable, TopicNotFound
from agentmesh.registry.nacos.documents import CARDS, HEADS, INDEX
from agentmesh.registry.nacos.names import card_id, encode, shard

TOPIC = "WeatherTask"


async def test_versions_are_told_with_the_latest_and_the_labels(opener: Opener) -> None:
    one, other = await opener(), await opener()
    await one.register(agent(version="1.9.0"))
    await one.register(agent(version="1.10.0"))
    await other.point(TOPIC, labels={"gray": "1.10.0"})
    told = await one.versions(TOPIC)
    await until(lambda: one._view.head(TOPIC).labels)
    told = await one.versions(TOPIC)
    assert list(told.published) == ["1.9.0", "1.10.0"]
    assert (told.latest, told.labels) == ("1.10.0", {"gray": "1.10.0"})
    assert (await one.labelled(TOPIC, "gray")).version == "1.10.0"
    with pytest.raises(TopicNotFound, match="WeatherTask grey"):
        await one.labelled(TOPIC, "grey")


async def test_a_rollback_counts_for_every_process_at_once(opener: Opener) -> None:
    one, other = await opener(), await opener()
    await one.register(agent(version="1.0.0"))
    await one.register(agent(version="2.0.0"))
    await until_alive(other, (TOPIC, "1.0.0"), (TOPIC, "2.0.0"))
    assert (await other.get(TOPIC)).version == "2.0.0"
    assert (await one.point(TOPIC, latest="1.0.0")).latest == "1.0.0"
    assert (await one.get(TOPIC)).version == "1.0.0"
    await until(lambda: other._view.head(TOPIC).latest == "1.0.0")
    assert (await other.get(TOPIC)).version == "1.0.0"
    assert (await other.get(TOPIC)).siblings == 1
    assert (await other.get(TOPIC, "2.0.0")).version == "2.0.0"  # pinned
    await one.register(agent(version="2.0.0"))  # a worker that starts again changes nothing
    assert (await one.get(TOPIC)).version == "1.0.0"
    with pytest.raises(TopicNotFound, match=r"WeatherTask 3\.0\.0"):
        await one.point(TOPIC, latest="3.0.0")


async def test_a_grey_release_follows_its_label(opener: Opener) -> None:
    one, other = await opener(), await opener()
    await one.register(agent(version="1.0.0"))
    await one.register(agent(version="2.0.0"))
    await one.point(TOPIC, labels={"gray": "2.0.0"})
    assert await one.route(TOPIC, {"1.0.0": 95, "gray": 5}) == {"1.0.0": 95, "2.0.0": 5}
    await until(lambda: other._view.head(TOPIC).route)
    assert await other.route(TOPIC) == {"1.0.0": 95, "2.0.0": 5}
    await one.point(TOPIC, labels={"gray": "1.0.0"})
    await until(lambda: other._view.head(TOPIC).labels["gray"] == "1.0.0")
    assert await other.route(TOPIC) == {"1.0.0": 100}


async def test_namespaces_do_not_see_each_other(opener: Opener) -> None:
    one, stranger = await opener(), await opener(fresh_url())
    await one.register(agent())
    await asyncio.sleep(0.7)
    assert await alive(stranger) == []
    with pytest.raises(TopicNotFound):
        await stranger.get(TOPIC)


@pytest.mark.parametrize("attempt", range(4))
async def test_of_two_publishers_of_one_version_one_is_told_of_a_conflict(opener: Opener, attempt: int) -> None:
    """Where the server compares and sets, by `register`; else maybe a moment later, by `renew`."""
    one, other, watcher = await opener(), await opener(), await opener()
    results = await asyncio.gather(
        one.register(Registration(TOPIC, "1", card(text="this"), "one")),
        other.register(Registration(TOPIC, "1", card(text="that"), "other")),
        return_exceptions=True,
    )
    conflicts = [result for result in results if result]

    async def told() -> bool:
        for registry, instance in ((one, "one"), (other, "other")):
            try:
                await registry.renew(instance)
            except Conflict as conflict:
                conflicts.append(conflict)
        return bool(conflicts)

    await until(told)
    (conflict,) = conflicts
    assert isinstance(conflict, Conflict)
    assert f"{TOPIC} 1" in str(conflict)
    await until_alive(watcher, (TOPIC, "1"))

    async def agreed() -> bool:
        """They hear of it one after the other."""
        first, *others = [(await each.get(TOPIC)).card for each in (watcher, one, other)]
        return all(each == first for each in others)

    await until(agreed)


async def test_versions_that_two_processes_publish_at_once_are_both_there(opener: Opener) -> None:
    registries = [await opener() for _ in range(4)]
    await asyncio.gather(*(each.register(agent(version=f"{n}.0")) for n, each in enumerate(registries)))
    for each in registries:
        await until_alive(each, *((TOPIC, f"{n}.0") for n in range(4)))


async def test_with_compare_and_set_no_edit_of_twenty_at_once_is_lost(opener: Opener) -> None:
    registries = [await opener() for _ in range(4)]
    if not await registries[0]._documents.probe():
        pytest.skip("this server does not compare and set")
    await registries[0].register(agent())
    await asyncio.gather(*(registries[n % 4].point(TOPIC, labels={f"label-{n}": "1.0.0"}) for n in range(20)))
    await until(lambda: all(len(each._view.head(TOPIC).labels) == 20 for each in registries))


async def test_a_document_that_another_process_overwrote_is_put_back(opener: Opener) -> None:
    one, watcher = await opener(), await opener()
    await one.register(agent())
    await until_alive(watcher, (TOPIC, "1.0.0"))
    await one._configs.delete(HEADS, encode(TOPIC))
    await one._configs.delete(CARDS, card_id(TOPIC, "1.0.0"))
    await one._configs.put(INDEX, shard(TOPIC), "{}")
    await asyncio.sleep(0.5)  # the real server tells the old ones for a moment
    await one._ours.check()
    late = await opener()
    await until_alive(late, (TOPIC, "1.0.0"))
    assert (await late.get(TOPIC)).card.description == "Tells the weather."


@pytest.mark.parametrize("group", [HEADS, INDEX, CARDS])
async def test_documents_of_somebody_else_are_named_and_harm_nobody(opener: Opener, group: str) -> None:
    one = await opener()
    await one.register(agent("FineTask"))
    name = {HEADS: encode(TOPIC), INDEX: shard(TOPIC), CARDS: card_id(TOPIC, "1.0.0")}[group]
    await one._configs.put(group, name, "server.port=8080")
    with pytest.raises(PayloadCorrupt, match=f"The document {group}/{name} in Nacos"):
        await one.register(agent())
    assert ("FineTask", "1.0.0") in await alive(one)


async def test_metadata_too_long_for_nacos_are_refused_before_anything_is_sent(opener: Opener) -> None:
    one = await opener()
    long = AgentCard(
        name="x", version="1", supported_interfaces=(AgentInterface(url="https://example.org/" + "x" * 1100),)
    )
    with pytest.raises(ConfigError, match=r"LongTask 1: .* 1,024"):
        await one.register(Registration("LongTask", "1", long, "i"))
    with pytest.raises(TopicNotFound):
        await one.get("LongTask")
    assert await one._configs.get(HEADS, encode("LongTask")) == ""


async def test_a_card_too_large_for_nacos_is_refused(opener: Opener) -> None:
    one = await opener()
    with pytest.raises(PayloadTooLarge, match=r"The card of WeatherTask has 1,\d{3},\d{3} characters"):
        await one.register(agent(text="x" * 1_000_001))


async def test_a_card_of_900_kilobytes_comes_through(opener: Opener) -> None:
    one, other = await opener(), await opener()
    await one.register(agent(text="天" * 300_000))
    assert len((await other.get(TOPIC)).card.description) == 300_000


async def test_a_watch_ends_with_its_registry(opener: Opener) -> None:
    one = await opener()
    await one.register(agent())
    async with aclosing(one.watch()) as changes:
        assert (await anext(changes)).registration.topic == TOPIC
        await one.close()
        with pytest.raises(StopAsyncIteration):
            await anext(changes)


async def test_a_closed_registry_says_that_it_cannot_be_reached(opener: Opener) -> None:
    one = await opener()
    await one.close()
    await one.close()
    with pytest.raises(RegistryUnavailable):
        await one.register(agent())
