"""What every registry does: who is there, with which card, in which versions."""

import asyncio

import pytest
from registry.kit import TOPIC, Place, Process, Watching, until

from agentmesh import ConfigError, Conflict, TopicNotFound
from agentmesh.contracts import Registration


async def test_an_agent_is_listed_while_its_process_is_there(process: Process, other: Process) -> None:
    assert await other.alive() == []
    await process.register()
    assert await process.alive() == [(TOPIC, "1.9.0")]
    await other.sees((TOPIC, "1.9.0"))
    await process.leave()
    await other.sees()
    gone = await other.registry.get(TOPIC)
    assert not gone.alive
    assert gone.card.skills[0].id == "greet"
    assert [each.topic for each in await other.registry.list(alive=False)] == [TOPIC]


async def test_what_one_process_registered_another_gets_at_once(process: Process, other: Process) -> None:
    await process.register()
    assert (await other.registry.get(TOPIC)).version == "1.9.0"
    await process.register("1.10.0")
    assert (await other.registry.get(TOPIC, "1.10.0")).card.version == "1.10.0"


async def test_an_agent_is_alive_as_long_as_one_process_serves_it(
    place: Place, process: Process, other: Process
) -> None:
    watching = await place.open()
    await process.register()
    await other.register()
    await watching.sees((TOPIC, "1.9.0"))
    await process.leave()
    await asyncio.sleep(0.7)
    assert await watching.alive() == [(TOPIC, "1.9.0")]
    await other.leave()
    await watching.sees()


async def test_one_process_serves_several_versions(process: Process, other: Process) -> None:
    await process.register("1.9.0")
    await process.register("1.10.0")
    await other.sees((TOPIC, "1.10.0"), (TOPIC, "1.9.0"))
    assert [each.version for each in await other.registry.list()] == ["1.10.0", "1.9.0"]
    assert (await other.registry.get(TOPIC)).siblings == 1
    await process.registry.remove(TOPIC, process.name)
    await other.sees()


async def test_one_instance_leaves_and_its_equal_stays(process: Process, other: Process) -> None:
    await process.register("1.9.0")
    await process.registry.register(Registration(TOPIC, "1.9.0", (await process.registry.get(TOPIC)).card, "a twin"))
    await process.registry.remove(TOPIC, "a twin")
    await other.sees((TOPIC, "1.9.0"))
    await process.registry.remove(TOPIC, "nobody")
    assert await process.alive() == [(TOPIC, "1.9.0")]


async def test_an_agent_that_left_comes_back_with_the_same_card(process: Process, other: Process) -> None:
    await process.register()
    await process.registry.remove(TOPIC, process.name)
    await other.sees()
    await process.register()
    await other.sees((TOPIC, "1.9.0"))


@pytest.mark.needs("heartbeats")
async def test_an_instance_that_falls_silent_is_gone_after_15_seconds(place: Place, process: Process) -> None:
    await process.register()
    await process.registry.register(Registration("SilentTask", "1", (await process.registry.get(TOPIC)).card, "other"))
    await place.passes(14)
    await process.registry.renew(process.name)
    await place.passes(2)
    await process.sees((TOPIC, "1.9.0"))


@pytest.mark.needs("heartbeats")
async def test_an_instance_that_wakes_is_there_again(place: Place, process: Process) -> None:
    """Its machine slept, or it was stopped: its next sign of life is enough."""
    await process.register()
    await place.passes(20)
    assert await process.alive() == []
    await process.registry.renew(process.name)
    assert await process.alive() == [(TOPIC, "1.9.0")]
    await place.passes(20)
    await process.registry.remove(TOPIC, process.name)
    await process.registry.renew(process.name)
    assert await process.alive() == []


async def test_renewing_what_nobody_registered_changes_nothing(process: Process) -> None:
    await process.registry.renew("nobody")
    assert await process.alive() == []


async def test_two_agents_with_different_cards_cannot_claim_one_topic_and_version(
    place: Place, process: Process, other: Process
) -> None:
    await process.register()
    with pytest.raises(Conflict, match=r"GreetAgentTask 1\.9\.0"):
        await process.register(does="shout")
    with pytest.raises(Conflict, match=r"GreetAgentTask 1\.9\.0"):
        await other.register(does="shout")
    await other.register()  # the same card is another worker
    await process.leave()
    await other.leave()
    with pytest.raises(Conflict):
        await (await place.open()).register(does="shout")


async def test_the_newest_version_that_is_alive_is_the_one_to_get(process: Process, other: Process) -> None:
    await process.register("1.9.0")
    await other.register("1.10.0")
    await process.sees((TOPIC, "1.10.0"), (TOPIC, "1.9.0"))
    assert (await process.registry.get(TOPIC)).version == "1.10.0"
    assert (await process.registry.get(TOPIC, "1.9.0")).version == "1.9.0"
    with pytest.raises(TopicNotFound, match=r"1\.8\.0"):
        await process.registry.get(TOPIC, "1.8.0")
    await other.leave()
    await process.sees((TOPIC, "1.9.0"))
    assert (await process.registry.get(TOPIC)).version == "1.9.0"


async def test_a_topic_that_nobody_registered_is_not_found(process: Process) -> None:
    await process.register()
    for ask in (process.registry.get, process.registry.remove, process.registry.route):
        with pytest.raises(TopicNotFound, match="GreetAgentTask"):
            await ask("GreetingAgentTask")


async def test_a_watch_tells_who_comes_and_goes(place: Place, process: Process, other: Process) -> None:
    watching = Watching((await place.open()).registry)
    await process.register("1.9.0")
    await watching.brings(("online", "1.9.0"))
    await other.register("1.10.0")
    await watching.brings(("online", "1.10.0"))
    await process.leave()
    await watching.brings(("offline", "1.9.0"))
    await other.registry.remove(TOPIC, other.name)
    await watching.brings(("offline", "1.10.0"))
    await other.registry.remove(TOPIC)
    await watching.brings(("removed", "1.10.0"), ("removed", "1.9.0"))
    assert len(watching.seen) == 6
    with pytest.raises(TopicNotFound):
        await other.registry.get(TOPIC)
    await watching.end()


async def test_a_watch_begins_with_who_is_there(process: Process, other: Process) -> None:
    await process.register()
    await other.sees((TOPIC, "1.9.0"))
    watching = Watching(other.registry)
    await watching.brings(("online", "1.9.0"))
    await watching.end()


async def test_a_topic_that_was_removed_may_come_back_with_another_card(process: Process, other: Process) -> None:
    await process.register()
    await other.sees((TOPIC, "1.9.0"))
    await other.registry.remove(TOPIC)
    await process.sees()
    await process.register(does="shout")
    assert (await process.registry.get(TOPIC)).card.skills[0].id == "shout"
    await other.sees((TOPIC, "1.9.0"))
    assert (await other.registry.get(TOPIC)).card.skills[0].id == "shout"


async def test_a_route_is_one_for_all_and_outlives_its_processes(
    place: Place, process: Process, other: Process
) -> None:
    await process.register("1.0.0")
    await process.register("2.0.0")
    assert await process.registry.route(TOPIC) == {}
    assert await process.registry.route(TOPIC, {"1.0.0": 90, "2.0.0": 10}) == {"1.0.0": 90, "2.0.0": 10}
    await process.leave()
    later = await place.open()

    async def routed() -> bool:
        return await later.registry.route(TOPIC) == {"1.0.0": 90, "2.0.0": 10}

    await until(routed)
    with pytest.raises(TopicNotFound, match=r"3\.0\.0"):
        await later.registry.route(TOPIC, {"3.0.0": 1})
    with pytest.raises(ConfigError, match="-1"):
        await later.registry.route(TOPIC, {"2.0.0": -1})
    assert await later.registry.route(TOPIC, {}) == {}


async def test_a_name_may_be_any_text_and_a_version_too(process: Process, other: Process) -> None:
    for topic, version in (("天气-Agent_Task", "1.0.0+build 7"), ("weather", "2.0-β"), ("Weather", "1")):
        await process.register(version, topic)
    await other.sees(("Weather", "1"), ("weather", "2.0-β"), ("天气-Agent_Task", "1.0.0+build 7"))
