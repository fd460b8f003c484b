"""The well-known card of a server: asked for as it likes, kept for when it is away, believed as little as need be."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from registry.card_server import WELL_KNOWN, CardServer, card, card_server, old_card, our_card

from agentmesh import ConfigError, Mesh, TopicNotFound
from agentmesh.card import card_digest, read_card
from agentmesh.clock import ManualClock
from agentmesh.contracts import Registration
from agentmesh.errors import PayloadCorrupt, RegistryUnavailable
from agentmesh.ids import TOPIC, new_token
from agentmesh.registry.listed import Listed
from agentmesh.registry.web import OnTheWeb, new_client
from agentmesh.registry.wellknown import open_well_known

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

        async def opened(base: str) -> Listed:
            registry = await open_well_known(base, clock, tmp_path / "kept")
            stack.push_async_callback(registry.close)
            return registry

        yield opened


async def only(registry: Listed) -> Registration:
    (found,) = await registry.list(alive=False)
    return found


async def next_kind(changes: Any, clock: ManualClock) -> str:
    """The next change, with time passing until it comes."""
    waiting = asyncio.ensure_future(anext(changes))
    while not waiting.done():
        await clock.advance(1)
        await asyncio.wait([waiting], timeout=0.01)  # answers come over a real network
    return str(waiting.result().kind)


async def test_the_agent_of_a_server_is_found_by_its_card(server: CardServer, opener: Opener) -> None:
    server.serve(card(name="旅行 Planner"))
    registry = await opener(server.url)
    found = await only(registry)
    assert found.alive
    assert (found.card.name, found.version, found.card.skills[0].name) == ("旅行 Planner", "1.0.0", "规划")
    assert TOPIC.match(found.topic)
    assert found.topic.startswith("Planner-")
    assert await registry.get(found.topic) == found
    assert await registry.get(found.topic, "1.0.0") == found
    assert await registry.route(found.topic) == {}


async def test_a_card_of_0_3_at_the_old_path_is_found_too(server: CardServer, opener: Opener) -> None:
    server.serve(old_card(), "/base/.well-known/agent.json")
    found = await only(await opener(f"{server.url}/base/"))
    assert found.card.supported_interfaces[0].url == "https://old.example/a2a"
    assert [each.path for each in server.asked] == [f"/base{WELL_KNOWN}", "/base/.well-known/agent.json"]


async def test_a_card_of_ours_has_the_topic_that_it_names(server: CardServer, opener: Opener) -> None:
    server.serve(our_card("WeatherAgentTask"))
    assert (await only(await opener(server.url))).topic == "WeatherAgentTask"


async def test_a_foreign_card_s_topic_stays_while_name_and_place_do(server: CardServer, opener: Opener) -> None:
    server.serve(card())
    server.serve(card(), f"/other{WELL_KNOWN}")
    server.serve(card(version="2.0.0", description="Better."), f"/again{WELL_KNOWN}")
    first = await only(await opener(server.url))
    assert (await only(await opener(f"{server.url}/"))).topic == first.topic
    assert (await only(await opener(f"{server.url}{WELL_KNOWN}"))).topic == first.topic
    assert (await only(await opener(f"{server.url}/other"))).topic != first.topic
    server.answers[WELL_KNOWN] = server.answers[f"/again{WELL_KNOWN}"]
    assert (await only(await opener(server.url))).topic == first.topic


async def test_a_name_without_a_latin_letter_has_a_topic_too(server: CardServer, opener: Opener) -> None:
    server.serve(card(name="天气"))
    first = (await only(await opener(server.url))).topic
    server.serve(card(name="旅行"))
    second = (await only(await opener(server.url))).topic
    assert first != second
    assert TOPIC.match(first)
    assert TOPIC.match(second)


async def test_it_is_asked_again_after_a_minute_and_only_whether_it_changed(
    server: CardServer, opener: Opener, clock: ManualClock
) -> None:
    server.serve(card(), headers={"etag": '"one"', "last-modified": "Sat, 01 Nov 2025 00:00:00 GMT"})
    registry = await opener(server.url)
    begun = (await only(registry)).renewed
    await clock.advance(59)
    assert len(server.asked) == 1
    await clock.advance(1)
    second = (await server.until_asked(2))[1].headers
    assert second["if-none-match"] == '"one"'
    assert second["if-modified-since"] == "Sat, 01 Nov 2025 00:00:00 GMT"
    async with aclosing(registry.watch()) as changes:
        assert (await anext(changes)).kind == "online"
        server.serve(card(version="1.1.0"), headers={"etag": '"two"'})
        assert [await next_kind(changes, clock) for _ in range(2)] == ["removed", "online"]
        assert clock.now() >= begun + 120_000
    assert (await only(registry)).version == "1.1.0"


@pytest.mark.parametrize(
    ("control", "seconds"),
    [("max-age=600", 600), ("public, max-age=1", 10), ("max-age=999999", 3600), ("no-cache", 60)],
)
async def test_a_server_says_for_how_long_its_card_holds_within_bounds(
    server: CardServer, opener: Opener, clock: ManualClock, control: str, seconds: int
) -> None:
    server.serve(card(), headers={"cache-control": control})
    await opener(server.url)
    await clock.advance(seconds - 1)
    assert len(server.asked) == 1
    await clock.advance(1)
    await server.until_asked(2)


async def test_three_looks_that_fail_take_it_offline_and_one_that_succeeds_brings_it_back(
    server: CardServer, opener: Opener, clock: ManualClock
) -> None:
    server.serve(card())
    registry = await opener(server.url)
    topic = (await only(registry)).topic
    async with aclosing(registry.watch()) as changes:
        assert (await anext(changes)).kind == "online"
        server.answers.clear()
        await clock.advance(60)
        await server.until_asked(2)
        assert (await registry.get(topic)).alive
        assert await next_kind(changes, clock) == "offline"
        assert len([each for each in server.asked if each.path == WELL_KNOWN]) == 4
        assert not (await registry.get(topic)).alive
        assert await registry.list() == []
        server.serve(card())
        assert await next_kind(changes, clock) == "online"


async def test_a_start_without_the_network_knows_the_card_that_was_kept_and_says_so(
    server: CardServer, opener: Opener, capfd: pytest.CaptureFixture[str]
) -> None:
    server.serve(card())
    was = await only(await opener(server.url))
    await server.stop()
    found = await only(await opener(server.url))
    assert (found.topic, card_digest(found.card)) == (was.topic, card_digest(was.card))
    assert not found.alive
    assert "the one that was kept" in capfd.readouterr().err
    await server.start()


async def test_what_is_kept_is_for_its_owner_alone_and_damage_to_it_costs_a_warning(
    server: CardServer, opener: Opener, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.serve(card())
    await opener(server.url)
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o600
    (tmp_path / "kept").write_bytes(b"{")
    assert (await only(await opener(server.url))).alive
    assert "cannot be read" in capfd.readouterr().err


async def test_what_may_not_be_stored_is_not_kept(server: CardServer, opener: Opener) -> None:
    server.serve(card(), headers={"cache-control": "no-store"})
    assert (await only(await opener(server.url))).alive
    await server.stop()
    assert await (await opener(server.url)).list(alive=False) == []
    await server.start()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"name": 3}', b"", b"\xff\xfe", b'{"name": "A"}'])
async def test_what_is_no_card_is_a_warning_and_no_agent(
    server: CardServer, opener: Opener, body: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    server.serve(body)
    assert await (await opener(server.url)).list(alive=False) == []
    assert "a card could not be looked at" in capfd.readouterr().err


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with new_client() as found:
        yield found


async def looked(client: httpx2.AsyncClient, url: str) -> bytes:
    return (await OnTheWeb(client, url, [url]).look(None, 0)).raw


async def test_a_card_of_more_than_a_megabyte_is_refused_told_or_not(
    server: CardServer, client: httpx2.AsyncClient
) -> None:
    server.serve(b" " * 1_000_001, "/large")
    server.serve(gzip.compress(b" " * 1_000_001), "/packed", headers={"content-encoding": "gzip"})
    for path in ("/large", "/packed"):
        with pytest.raises(PayloadCorrupt, match="1 MB"):
            await looked(client, f"{server.url}{path}")


async def test_an_answer_that_was_cut_short_is_none(server: CardServer, client: httpx2.AsyncClient) -> None:
    server.serve(card(), "/cut", cut=20)
    with pytest.raises(RegistryUnavailable, match="cannot be reached"):
        await looked(client, f"{server.url}/cut")


async def test_redirects_are_followed_without_cookies_and_not_without_end(
    server: CardServer, client: httpx2.AsyncClient
) -> None:
    server.serve(None, "/old", status=302, headers={"location": "/new", "set-cookie": "id=hush; Path=/"})
    server.serve(card(), "/new")
    server.serve(None, "/round", status=307, headers={"location": "/round"})
    assert read_card(await looked(client, f"{server.url}/old")).name == "旅行 Planner"
    assert await looked(client, f"{server.url}/new")
    assert "cookie" not in server.asked[-1].headers
    assert "authorization" not in server.asked[-1].headers
    with pytest.raises(RegistryUnavailable, match="more than 5 times"):
        await looked(client, f"{server.url}/round")


@pytest.mark.parametrize("location", ["ftp://a.example/x", "http://u:p@a.example/x", "http://[::1", "javascript:x"])
async def test_redirects_to_what_is_no_plain_address_are_refused(
    server: CardServer, client: httpx2.AsyncClient, location: str
) -> None:
    server.serve(None, "/away", status=302, headers={"location": location})
    with pytest.raises(RegistryUnavailable, match="redirects to|cannot be reached"):
        await looked(client, f"{server.url}/away")
    assert len(server.asked) == 1


class _Elsewhere(httpx2.AsyncHTTPTransport):
    """A network in which the host `public.example`, of a public address, is the server of the test."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        is_public = request.url.host == "public.example"
        if is_public:
            request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        response = await super().handle_async_request(request)
        if is_public:
            response.extensions["network_stream"] = _Public()
        return response


class _Public:
    def get_extra_info(self, name: str) -> tuple[str, int] | None:
        return ("93.184.216.34", 443) if name == "server_addr" else None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"])
async def test_a_public_server_cannot_lead_inside_of_this_network(server: CardServer, host: str) -> None:
    server.serve(None, WELL_KNOWN, status=302, headers={"location": f"http://{host}:{server.port}/secret"})
    server.serve(card(), "/secret")
    async with httpx2.AsyncClient(transport=_Elsewhere(server.port), trust_env=False) as client:
        with pytest.raises(RegistryUnavailable, match="inside of this network"):
            await looked(client, f"http://public.example{WELL_KNOWN}")
    assert [each.path for each in server.asked] == [WELL_KNOWN]


async def test_an_encrypted_address_is_not_left_for_an_open_one(server: CardServer) -> None:
    server.serve(None, WELL_KNOWN, status=302, headers={"location": "http://public.example/card"})
    async with httpx2.AsyncClient(transport=_Elsewhere(server.port), trust_env=False) as client:
        with pytest.raises(RegistryUnavailable, match="not encrypted"):
            await looked(client, f"https://public.example{WELL_KNOWN}")


@pytest.mark.parametrize("base", ["https://user:hush@a.example", "https://:80", "http://a.example:port"])
async def test_an_address_with_a_password_or_without_a_host_is_a_mistake(opener: Opener, base: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await opener(base)
    assert "hush" not in str(caught.value)


async def test_it_only_tells_and_refuses_what_would_change_it(server: CardServer, opener: Opener) -> None:
    server.serve(card())
    registry = await opener(server.url)
    found = await only(registry)
    await registry.renew("me")
    for refused in (
        registry.register(found),
        registry.remove(found.topic),
        registry.route(found.topic, {"1.0.0": 1}),
    ):
        with pytest.raises(ConfigError, match="only tells"):
            await refused
    with pytest.raises(TopicNotFound, match=found.topic):
        await registry.get(f"{found.topic}x")
    with pytest.raises(TopicNotFound, match=r"1\.0\.0"):
        await registry.get(found.topic, "2.0.0")


async def test_a_mesh_finds_what_a_server_offers_beside_its_own(server: CardServer, tmp_path: Path) -> None:
    server.serve(card())
    registries = ["mesh", f"well-known:{server.url}"]
    async with Mesh(f"memory://{new_token()}", registries, cache=tmp_path) as mesh:
        (hit,) = await mesh.search("plan a trip")
        assert (hit.skill, hit.alive) == ("plan", True)
