"""The registry of an embedded mesh, as a mesh uses it. What each registry does is in `test_contract.py`."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agentmesh import Agent, ConfigError, Conflict, Mesh, TopicNotFound, skill
from agentmesh.clock import ManualClock
from agentmesh.contracts import Registration
from agentmesh.ids import new_token
from agentmesh.registry.embedded import version_order


class GreetAgent(Agent):
    """Greets."""

    version = "1.9.0"

    @skill
    async def greet(self, name: str) -> str:
        """Say hello."""
        return f"hello {name}"


class NewerAgent(GreetAgent):
    """Greets."""

    topic = "GreetAgentTask"
    version = "1.10.0"


class OtherAgent(Agent):
    """Another one that claims the same topic and version."""

    topic = "GreetAgentTask"
    version = "1.9.0"

    @skill
    async def shout(self, name: str) -> str:
        """Shout."""
        return name.upper()


TOPIC = "GreetAgentTask"


@pytest.fixture(params=["memory", "local"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"memory://{new_token()}" if request.param == "memory" else f"local://{tmp_path / 'mesh'}"


async def alive(mesh: Mesh) -> list[tuple[str, str]]:
    return [(each.topic, each.version) for each in await mesh.registry.list()]


async def test_an_instance_that_falls_silent_is_gone_after_15_seconds(url: str) -> None:
    clock = ManualClock()
    async with Mesh(url, clock=clock, drain=0) as mesh:
        await mesh.serve(GreetAgent())
        await clock.advance(60)
        assert await alive(mesh) == [(TOPIC, "1.9.0")]  # its mesh renews
        silent = (await mesh.registry.get(TOPIC)).card
        await mesh.registry.register(Registration("SilentTask", "1", silent, "elsewhere"))
        await clock.advance(14)
        assert ("SilentTask", "1") in await alive(mesh)
        await clock.advance(2)
        assert ("SilentTask", "1") not in await alive(mesh)


async def test_two_agents_with_different_cards_cannot_claim_one_topic_and_version(url: str) -> None:
    async with Mesh(url) as mesh:
        await mesh.serve(GreetAgent())
        with pytest.raises(Conflict, match="GreetAgentTask 1.9.0"):
            await mesh.serve(OtherAgent())
        await mesh.serve(GreetAgent())  # the same card is another worker
    async with Mesh(url) as mesh:
        with pytest.raises(Conflict):
            await mesh.serve(OtherAgent())


def test_versions_are_ordered_as_people_read_them() -> None:
    versions = ["1.10.0", "1.9.0", "1.9.0-beta", "2", "1.9"]
    assert sorted(versions, key=version_order) == ["1.9", "1.9.0-beta", "1.9.0", "1.10.0", "2"]


class Telling(GreetAgent):
    """Tells its version."""

    topic = "GreetAgentTask"
    version = "2.0.0"

    @skill
    async def greet(self, name: str) -> str:
        """Say hello."""
        return f"{name} from {self.version}"


class TellingOld(Telling):
    """Tells its version."""

    topic = "GreetAgentTask"
    version = "1.0.0"


async def answers(mesh: Mesh, count: int, **options: Any) -> Counter[str]:
    said = await asyncio.gather(*(mesh.call(TOPIC, {"name": "x"}, key=str(n), **options) for n in range(count)))
    return Counter(each.removeprefix("x from ") for each in said)


async def test_messages_go_to_the_newest_version_to_a_named_one_or_by_the_route(url: str) -> None:
    async with Mesh(url) as mesh:
        await mesh.serve(TellingOld(), Telling())
        assert await answers(mesh, 10) == {"2.0.0": 10}
        assert await answers(mesh, 10, version="1.0.0", tenant="a") == {"1.0.0": 10}
        await mesh.registry.route(TOPIC, {"1.0.0": 90, "2.0.0": 10})
        shares = await answers(mesh, 400, tenant="b")
        assert 330 < shares["1.0.0"] < 390
        assert await answers(mesh, 400, tenant="b") == shares  # the same keys are the same calls
        with pytest.raises(TopicNotFound, match="3.0.0"):
            await mesh.registry.route(TOPIC, {"3.0.0": 1})
        with pytest.raises(ConfigError):
            await mesh.registry.route(TOPIC, {"2.0.0": -1})
    async with Mesh(url) as mesh:
        await mesh.serve(TellingOld(), Telling())
        assert await mesh.registry.route(TOPIC) == {"1.0.0": 90, "2.0.0": 10}
        await mesh.registry.route(TOPIC, {})
        assert await answers(mesh, 10, tenant="c") == {"2.0.0": 10}


async def test_what_waits_for_any_version_goes_to_the_next_one_that_comes(url: str) -> None:
    async with Mesh(url, drain=0) as mesh:
        await mesh.serve(TellingOld())
        call = await mesh.start(TOPIC, {"name": "x"}, delay=0.2)
    async with Mesh(url) as mesh:
        await mesh.serve(Telling())
        assert await (await mesh.attach(call.id)).result() == "x from 2.0.0"
