"""Filters: beside a query, inside of it, and what is no filter."""

import contextlib
import re
from typing import Any

import pytest
from catalog.kit import agent
from hypothesis import given
from hypothesis import strategies as st

from agentmesh.card import AgentSkill
from agentmesh.catalog import Filters, Index
from agentmesh.catalog.filters import read_filters, read_query
from agentmesh.errors import ConfigError

PLAIN = agent("PlainTask", "Draws maps.")
ACME = agent(
    "AcmeTask",
    "Draws maps.",
    AgentSkill(id="draw", tags=("Maps", "art"), output_modes=("image/png",)),
    provider="Acme",
    streaming=True,
    version="2.1.0",
    told={"cost": 0.02, "region": ["cn-hangzhou"], "tenants": ["blue", "red"]},
)
OTHER = agent(
    "OtherTask",
    "Draws maps.",
    AgentSkill(id="draw", input_modes=("text/plain; charset=utf-8",)),
    provider="Other Inc",
    push=True,
    version="1.4.2",
    alive=False,
    told={"cost": 1, "region": "eu"},
)
TEAM = (PLAIN, ACME, OTHER)


async def found(query: str = "maps", **filters: Any) -> list[str]:
    index = Index()
    await index.put(TEAM)
    words, wanted = read_query(query, read_filters({"alive": "any"} | filters))
    return [hit.topic.removesuffix("Task") for hit in await index.search(words, filters=wanted)]


@pytest.mark.parametrize(
    ("filters", "passed"),
    [
        ({}, ["Acme", "Other", "Plain"]),
        ({"tag": "maps"}, ["Acme"]),
        ({"tag": ["MAPS", "art"]}, ["Acme"]),
        ({"tag": ["maps", "sea"]}, []),
        ({"provider": "acme"}, ["Acme"]),
        ({"provider": ["acme", "other inc"]}, ["Acme", "Other"]),
        ({"can": "streaming"}, ["Acme"]),
        ({"can": ["push"]}, ["Other"]),
        ({"can": ["push", "streaming"]}, []),
        ({"output": "image/png"}, ["Acme"]),
        ({"output": "image/*"}, ["Acme"]),
        ({"output": "image"}, ["Acme"]),
        ({"output": "application/json"}, ["Other", "Plain"]),
        ({"input": "text/plain"}, ["Other"]),
        ({"version": ">=2"}, ["Acme"]),
        ({"version": ">=1.4,<2"}, ["Other"]),
        ({"version": "1.4"}, ["Other"]),
        ({"version": "<=1.0.0"}, ["Plain"]),
        ({"cost": 0.05}, ["Acme"]),
        ({"cost": 1}, ["Acme", "Other"]),
        ({"region": "EU"}, ["Other"]),
        ({"region": ["eu", "cn-hangzhou"]}, ["Acme", "Other"]),
        ({"tenant": "blue"}, ["Acme", "Other", "Plain"]),
        ({"tenant": "green"}, ["Other", "Plain"]),
        ({"alive": True}, ["Acme", "Plain"]),
        ({"alive": "no"}, ["Other"]),
    ],
)
async def test_a_filter_lets_through_what_is_as_it_says(filters: dict[str, Any], passed: list[str]) -> None:
    assert sorted(await found(**filters)) == passed


@pytest.mark.parametrize(
    ("query", "words", "filters"),
    [
        ("provider:acme 会画图且支持流式", "会画图", {"provider": "acme", "can": "streaming"}),
        ("draw maps that supports streaming", "draw maps", {"can": "streaming"}),
        ("draws maps and supports push notifications", "draws maps", {"can": "push"}),
        ("画图，支持推送通知", "画图", {"can": "push"}),
        ('provider:"Other Inc" maps', "maps", {"provider": "Other Inc"}),
        ("tag:maps,art tag:sea x", "x", {"tag": ["maps", "art", "sea"]}),
        ("version:>=1.4 version:<2 maps", "maps", {"version": ">=1.4,<2"}),
        ("cost:0.5 cost:0.1 maps", "maps", {"cost": 0.1}),
        ("PROVIDER:acme maps", "maps", {"provider": "acme"}),
        ("alive:any maps", "maps", {"alive": "any"}),
        ("at 12:30 see https://example.com/a:b for: maps", "", {}),
        ('say "todo:this"', "", {}),
        ("目的地:杭州", "", {}),
    ],
)
def test_a_query_holds_filters(query: str, words: str, filters: dict[str, Any]) -> None:
    assert read_query(query) == (words or query, read_filters(filters))


def test_a_filter_in_a_query_counts_beside_those_given() -> None:
    assert read_query("tag:a can:push", Filters(tag=("b",), tenant="t", alive=None))[1] == Filters(
        tag=("b", "a"), can=("push",), tenant="t", alive=None
    )


def test_a_query_cannot_look_with_another_tenant_s_eyes() -> None:
    assert read_query("tenant:red maps", Filters(tenant="blue"))[1].tenant == "blue"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("tga:maps x", "tga: is no filter. Did you mean tag? There are tag, provider, can, input"),
        ("colour:red x", "There are tag, provider, can, input, output, version, cost, region, tenant, alive"),
        ("can:fly x", "can:fly: there are streaming and push"),
        ("version:new x", "version:new: a range is such as"),
        ("cost:cheap x", "cost:cheap: the most that a call may cost is a number"),
        ("cost:-1 x", "is a number"),
        ("cost:nan x", "is a number"),
        ("alive:maybe x", "alive:maybe: there are yes, no and any"),
    ],
)
def test_what_is_no_filter_is_answered_with_those_that_there_are(query: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_query(query)


@pytest.mark.parametrize(
    "told", [{"cost": "free"}, {"cost": True}, {"region": 7}, {"tenants": {"a": 1}}, {"tenants": None}]
)
async def test_a_card_that_tells_nonsense_is_left_out_by_what_it_does_not_tell(told: dict[str, Any]) -> None:
    index = Index()
    await index.put([agent("OddTask", "Draws maps.", told=told)])
    assert [hit.topic for hit in await index.search("maps", filters=Filters())] == ["OddTask"]
    (name,) = told
    asked = {"cost": 5.0, "region": "eu", "tenants": "blue"}[name]
    wanted = read_filters({"tenant" if name == "tenants" else name: asked})
    assert list(await index.search("maps", filters=wanted)) == []


@given(query=st.text(st.sampled_from('tag:"can>=<,.*支持流式supports streaming 1:\\/()[]'), max_size=60))
def test_hostile_queries_are_read_or_refused(query: str) -> None:
    try:
        words, filters = read_query(query)
    except ConfigError:
        return
    assert len(words) <= len(query)
    assert isinstance(filters, Filters)


@pytest.mark.parametrize(
    "query", ['a:"' * 30_000, "tag:" * 30_000, "且支持" * 30_000, ", and supports " * 8_000, " " * 100_000]
)
@pytest.mark.timeout(10)
def test_a_hostile_query_of_100_kb_is_read_in_no_time(query: str) -> None:
    with contextlib.suppress(ConfigError):
        assert len(read_query(query)[0]) <= len(query)
