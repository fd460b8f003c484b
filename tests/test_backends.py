"""Which broker and registry a mesh opens, and what it says when it cannot."""

import sys

import pytest

from agentmesh import ConfigError, Mesh
from agentmesh.backends import cache
from agentmesh.config import Config
from agentmesh.ids import new_token


async def entered(broker: str, **arguments: object) -> None:
    async with Mesh(broker, **arguments):  # type: ignore[arg-type]
        pass


async def test_a_cluster_s_broker_wants_a_registry_and_says_how_to_name_one() -> None:
    with pytest.raises(ConfigError, match="--registry nacos://HOST:PORT") as caught:
        await entered("rocketmq://user:hush@mq.example:8081?tls=true")
    assert "rocketmq://mq.example:8081 has no registry" in str(caught.value)
    with pytest.raises(ConfigError, match="no registry of its own"):
        await entered("rocketmq://mq.example:8081", registry="mesh:")


@pytest.mark.parametrize(
    ("module", "extra", "registry"),
    [("agentmesh.broker.rocketmq", "rocketmq", "direct:"), ("agentmesh.registry.nacos", "nacos", "nacos://h:8848")],
)
async def test_packages_that_are_missing_are_named_with_the_line_that_installs_them(
    module: str, extra: str, registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]
    broker = f"{extra}://mq.example:8081" if extra == "rocketmq" else f"memory://{new_token()}"
    with pytest.raises(ConfigError, match=rf"pip install 'agentmesh\[{extra}\]'"):
        await entered(broker, registry=registry, cards=[{"name": "A", "version": "1"}])


async def test_what_was_opened_is_closed_when_the_rest_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "agentmesh.registry.nacos", None)  # type: ignore[arg-type]
    name = f"memory://{new_token()}"
    async with Mesh(name) as mesh:
        with pytest.raises(ConfigError):
            await entered(name, registry=["mesh:", "nacos://h:8848"])
        await mesh.broker.stats()


async def test_an_unknown_scheme_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"memory://NAME, local://DIR or rocketmq://HOST:PORT"):
        await entered("kafka://h:9092")


async def test_direct_without_cards_says_where_to_list_them() -> None:
    with pytest.raises(ConfigError, match="cards:"):
        await entered(f"memory://{new_token()}", registry="direct:")


def test_what_registries_told_is_kept_by_their_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    places = [
        cache(Config(), each) for each in ("nacos://a:1", "nacos://b:1", "https://a", "direct:", "well-known:https://a")
    ]
    assert [str(each.parent) for each in places] == ["/cache/agentmesh"] * 5
    assert [each.name.rpartition("-")[0] for each in places] == ["nacos", "nacos", "well-known", "direct", "well-known"]
    assert len({*places}) == 5
    assert cache(Config(cache="/own"), "direct:").parent.as_posix() == "/own"
