"""Cards that are listed in the settings: in place, in files, at URLs."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from registry.card_server import CardServer, card, card_server, old_card, our_card

from agentmesh import Agent, ConfigError, Mesh, skill
from agentmesh.clock import ManualClock
from agentmesh.ids import new_token
from agentmesh.registry.direct import open_direct
from agentmesh.registry.listed import Listed

Opener = Callable[..., Awaitable[Listed]]


@pytest.fixture
async def server() -> AsyncIterator[CardServer]:
    async with card_server() as found:
        yield found


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def opener(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:

        async def opened(*cards: object) -> Listed:
            registry = await open_direct(cards, clock, tmp_path / "kept")  # type: ignore[arg-type]
            stack.push_async_callback(registry.close)
            return registry

        yield opened


async def test_cards_in_place_in_files_and_at_urls_are_found_alike(
    server: CardServer, opener: Opener, tmp_path: Path
) -> None:
    server.serve(our_card("WebAgentTask"), "/card.json")
    (tmp_path / "a.json").write_text(json.dumps(our_card("FileAgentTask")), encoding="utf-8")
    (tmp_path / "b.yaml").write_text("name: 译者\nversion: 2.1.0\nskills: []\n", encoding="utf-8")
    registry = await opener(
        our_card("PlaceAgentTask"),
        old_card(),
        str(tmp_path / "a.json"),
        f"file://{tmp_path / 'b.yaml'}",
        f"{server.url}/card.json",
    )
    found = {each.card.name: each for each in await registry.list()}
    assert set(found) == {"PlaceAgentTask", "Old", "FileAgentTask", "译者", "WebAgentTask"}
    assert found["WebAgentTask"].topic == "WebAgentTask"
    assert found["译者"].version == "2.1.0"
    assert all(each.alive for each in found.values())


async def test_the_settings_list_cards_and_a_mesh_finds_them_beside_its_own(
    server: CardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EchoAgent(Agent):
        """Echoes."""

        @skill
        async def echo(self, text: str) -> str:
            """Give a text back."""
            return text

    server.serve(our_card("WebAgentTask"), "/card.json")
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "旅行.json").write_text(json.dumps(card()), encoding="utf-8")
    (tmp_path / "agentmesh.yaml").write_text(
        f"broker: memory://{new_token()}\ncache: kept\ncards: [cards/旅行.json, '{server.url}/card.json']\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    async with Mesh() as mesh:
        await mesh.serve(EchoAgent())
        names = [each.card.name for each in await mesh.registry.list()]
        assert sorted(names) == ["EchoAgent", "WebAgentTask", "旅行 Planner"]
        assert await mesh.call("EchoAgentTask", {"text": "你好"}) == "你好"
        assert (await mesh.search("plan a trip"))[0].skill == "plan"
    assert [each.name for each in (tmp_path / "kept").iterdir()] == ["direct-cards"]


async def test_a_mesh_that_only_has_cards_says_where_agents_could_register(tmp_path: Path) -> None:
    class EchoAgent(Agent):
        """Echoes."""

        @skill
        async def echo(self, text: str) -> str:
            """Give a text back."""
            return text

    async with Mesh(f"memory://{new_token()}", "direct", cards=[card()], cache=tmp_path) as mesh:
        with pytest.raises(ConfigError, match=r"nacos://HOST:PORT"):
            await mesh.serve(EchoAgent())


async def test_a_file_that_changes_is_read_again(opener: Opener, clock: ManualClock, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(our_card("ATask", "1.0.0")))
    registry = await opener(str(path))
    async with aclosing(registry.watch()) as changes:
        assert (await anext(changes)).kind == "online"
        path.write_text(json.dumps(our_card("ATask", "1.1.0")))
        await clock.advance(60)
        assert [(each.kind, each.registration.version) for each in [await anext(changes), await anext(changes)]] == [
            ("removed", "1.0.0"),
            ("online", "1.1.0"),
        ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "JSON object"),
        ('{"name": "A"}', "version"),
        (" " * 1_000_001, "1 MB"),
    ],
)
async def test_a_file_that_holds_no_card_is_a_mistake_with_its_name(
    opener: Opener, tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ConfigError, match=said) as caught:
        await opener(str(tmp_path / "a.json"))
    assert "a.json" in str(caught.value)


async def test_a_file_that_is_not_there_and_a_card_in_place_that_is_none_are_mistakes(
    opener: Opener, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json cannot be read: No such file"):
        await opener(str(tmp_path / "nowhere.json"))
    with pytest.raises(ConfigError, match=r"cards\[1\]: .*version"):
        await opener(card(), {"name": "A"})
    with pytest.raises(ConfigError, match="https://"):
        await opener("ftp://a.example/card.json")
    (tmp_path / "b.yaml").write_text("name: [\n")
    with pytest.raises(ConfigError, match=r"b\.yaml:\d"):
        await opener(str(tmp_path / "b.yaml"))


async def test_two_cards_of_one_topic_and_version_are_a_mistake_that_names_both(opener: Opener) -> None:
    with pytest.raises(ConfigError, match=r"cards\[0\] and cards\[2\] are both ATask 1\.0\.0"):
        await opener(our_card("ATask"), our_card("ATask", "2.0.0"), our_card("ATask"))


async def test_of_several_versions_the_newest_alive_one_is_meant(opener: Opener) -> None:
    registry = await opener(our_card("ATask", "1.9.0"), our_card("ATask", "1.10.0"))
    found = await registry.get("ATask")
    assert (found.version, found.siblings) == ("1.10.0", 1)
    assert (await registry.get("ATask", "1.9.0")).version == "1.9.0"


async def test_a_url_that_does_not_answer_is_waited_for_and_the_others_are_there(
    server: CardServer, opener: Opener, clock: ManualClock
) -> None:
    registry = await opener(our_card("ATask"), f"{server.url}/later.json")
    assert [each.topic for each in await registry.list(alive=False)] == ["ATask"]
    server.serve(our_card("LaterTask"), "/later.json")
    async with aclosing(registry.watch()) as changes:
        assert (await anext(changes)).registration.topic == "ATask"
        await clock.advance(5)
        assert (await anext(changes)).registration.topic == "LaterTask"
