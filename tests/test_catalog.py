"""Search by words: which skills fit a text, and how well."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_cards import CALCULATOR, TEAM, TRANSLATOR, TRAVEL, WEATHER, agent, takes

from agentmesh.card import AgentCard, AgentSkill
from agentmesh.catalog import LexicalCatalog, search
from agentmesh.contracts import Registration


def found(query: str, *team: Registration) -> list[str]:
    return [hit.topic for hit in search(query, team or TEAM)]


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("会下雨吗，杭州天气", WEATHER),
        ("Is it raining in Shanghai? What is the weather?", WEATHER),
        ("周边自驾", TRAVEL),
        ("trips by car: self-driving around a city", TRAVEL),
        ("计算 7*8", CALCULATOR),
        ("calculating products", CALCULATOR),
        ("翻译成英文", TRANSLATOR),
        ("a translation, please", TRANSLATOR),
        ("tag arithmetic", CALCULATOR),
        ("the parameter `budget`", TRAVEL),
        ("ＷＥＡＴＨＥＲ", WEATHER),
    ],
)
def test_the_skill_that_covers_most_of_the_words_comes_first(query: str, best: Registration) -> None:
    assert found(query)[0] == best.topic


def test_a_hit_tells_topic_skill_score_and_card() -> None:
    hit = search("天气", TEAM, limit=1)[0]
    assert (hit.topic, hit.skill, hit.card, hit.alive, hit.load) == (
        "WeatherAgentTask",
        "forecast",
        WEATHER.card,
        True,
        0,
    )
    assert hit.version == "1.0.0"
    assert 0 < hit.score <= 1
    assert hit.why.matched == ("天气",)


@pytest.mark.parametrize("query", ["", " ", "的", "？！", "😀", "the of a", "\ud800", "\x00"])
def test_a_query_without_words_finds_nothing(query: str) -> None:
    assert search(query, TEAM) == []


def test_nothing_is_found_in_nothing() -> None:
    assert search("天气", []) == []
    assert search("天气", TEAM, limit=0) == []
    assert search("天气", [Registration("EmptyTask", "1", AgentCard(name="天气", version="1"))]) == []


def test_words_that_nobody_knows_lower_the_score() -> None:
    clear, vague = (search(query, TEAM)[0].score for query in ("weather", "weather opera violin tulips"))
    assert vague < clear / 2


def test_each_skill_is_found_by_itself() -> None:
    skills = (
        AgentSkill(id="rain", description="Rain and showers"),
        AgentSkill(id="snow", description="Snow and frost"),
    )
    both = Registration("SkyTask", "1", AgentCard(name="Sky", version="1", skills=skills))
    assert [hit.skill for hit in search("snow", [both])] == ["snow"]
    assert {hit.skill for hit in search("sky", [both])} == {"rain", "snow"}


def test_equals_come_in_the_order_of_topics() -> None:
    team = [agent(f"{name}Task", "Sells tulips.", name="Shop") for name in "CAB"]
    assert found("tulips", *team) == ["ATask", "BTask", "CTask"]


def test_the_version_to_call_is_the_one_found() -> None:
    old, new, gone = (
        agent("ShopTask", f"Sells {what}.", version=version, alive=alive)
        for what, version, alive in (("tulips", "1.9.0", True), ("roses", "1.10.0", True), ("oaks", "2.0.0", False))
    )
    assert found("roses", old, new, gone) == ["ShopTask"]
    assert found("tulips oaks", old, new, gone) == []
    assert search("oaks", [gone])[0].alive is False


def test_a_card_stuffed_with_words_does_not_win() -> None:
    words = " ".join(f"{one.card.description} {one.card.skills[0].examples[0]}" for one in TEAM)
    stuffed = agent("SpamTask", (words + " weather 天气 travel 自驾 ") * 20_000, tags=("天气",) * 10_000)
    for query, best in (("杭州天气", WEATHER), ("杭州周边自驾", TRAVEL), ("calculate a sum", CALCULATOR)):
        assert found(query, *TEAM, stuffed)[0] == best.topic


def test_only_so_many_tags_are_read() -> None:
    tags = tuple(f"tag{n}" for n in range(1000))
    assert found("tag3", agent("SpamTask", "", tags=tags)) == ["SpamTask"]
    assert found("tag999", agent("SpamTask", "", tags=tags)) == []


def test_a_query_of_a_megabyte_is_answered() -> None:
    assert found("杭州天气 " * 200_000)[0] == "WeatherAgentTask"


@given(query=st.text(max_size=40), texts=st.lists(st.text(max_size=30), max_size=6))
@settings(deadline=None)
def test_scores_are_always_between_0_and_1_and_in_order(query: str, texts: list[str]) -> None:
    team = [agent(f"T{n}", text, takes(a="string"), tags=(text,), name=text) for n, text in enumerate(texts)]
    scores = [hit.score for hit in search(query, team, limit=10)]
    assert all(math.isfinite(score) and 0 <= score <= 1 for score in scores)
    assert scores == sorted(scores, reverse=True)


def test_a_catalog_is_searched_many_times() -> None:
    catalog = LexicalCatalog(TEAM)
    first: Any = catalog.search("天气")
    assert catalog.search("天气") == first
    assert [hit.topic for hit in catalog.search("翻译")] == ["TranslatorTask"]
