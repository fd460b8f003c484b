"""Skills as functions of a model."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planner_cards import TEAM, TRAVEL, WEATHER, agent, takes

from agentmesh.supervisor.functions import LONGEST_PARAMETERS, function_name, offers, parameters_of
from agentmesh.testing.rules import problem

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
topics = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,63}", fullmatch=True)


def accepted(offered: Any) -> bool:
    """Whether OpenAI would take these functions."""
    tools = [
        {"type": "function", "function": {"name": f.name, "description": f.description, "parameters": f.parameters}}
        for f in (one.function for one in offered.values())
    ]
    return not problem({"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": tools})


def test_a_name_tells_topic_and_skill() -> None:
    assert function_name("WeatherAgentTask", "forecast") == "WeatherAgentTask-forecast"


@given(topics, st.text(max_size=80), topics, st.text(max_size=80))
def test_names_keep_the_rules_and_differ_for_different_skills(a: str, x: str, b: str, y: str) -> None:
    one, other = function_name(a, x), function_name(b, y)
    assert NAME.match(one)
    assert (one == other) == ((a, x) == (b, y))


def test_names_that_would_join_to_the_same_differ() -> None:
    assert len({function_name("A", "b-c"), function_name("A-b", "c"), function_name("A", "b_c")}) == 3


def test_every_skill_is_one_function_and_leads_back() -> None:
    offered = offers(TEAM)
    assert list(offered) == sorted(offered)
    assert len(offered) == 4
    weather = offered["WeatherAgentTask-forecast"]
    assert (weather.topic, weather.skill) == ("WeatherAgentTask", "forecast")
    assert weather.function.parameters == takes("request", request="string")
    assert "Weather for Chinese cities" in weather.function.description
    assert "杭州周末天气" in weather.function.description
    assert weather.input({"request": "杭州"}) == {"request": "杭州"}
    assert accepted(offered)


def test_descriptions_are_cut() -> None:
    (offer,) = offers([agent("ShopTask", "x" * 100_000)]).values()
    assert len(offer.function.description) <= 1024


def test_two_skills_whose_names_would_be_one_are_two_functions() -> None:
    both = [agent("A", "One.", skill="b-c"), agent("A-b", "Other.", skill="c")]
    offered = offers(both)
    assert {(one.topic, one.skill) for one in offered.values()} == {("A", "b-c"), ("A-b", "c")}


def test_a_schema_of_a_megabyte_is_shown_small_and_taken_back() -> None:
    properties = {f"p{n}": {"type": "string", "description": "x" * 900} for n in range(1000)}
    huge = {"type": "object", "properties": properties, "required": ["p1"]}
    (offer,) = offers([agent("ShopTask", "Sells tulips.", huge)]).values()
    assert len(json.dumps(offer.function.parameters)) <= LONGEST_PARAMETERS
    assert offer.function.parameters["required"] == ["p1"]
    assert offer.input(offer.arguments({"p1": "red"})) == {"p1": "red"}


def test_a_schema_that_is_not_small_loses_its_explanations_before_its_parameters() -> None:
    properties = {f"p{n}": {"type": "string", "description": "x" * 900} for n in range(30)}
    (offer,) = offers([agent("ShopTask", "Sells tulips.", takes(**properties))]).values()
    assert list(offer.function.parameters["properties"]) == list(properties)
    assert offer.function.parameters["properties"]["p0"] == {"type": "string", "description": "x" * 200}


def test_a_recursive_schema_is_a_function() -> None:
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}}
    source = takes(tree={"$ref": "#/$defs/Tree"}) | {"$defs": {"Tree": tree}}
    assert accepted(offers([agent("TreeTask", "Prunes trees.", source)]))


def test_one_version_of_an_agent_is_offered() -> None:
    offered = offers([agent("ShopTask", "old", version="1.0.0"), agent("ShopTask", "new", version="1.1.0")])
    assert [offer.function.description for offer in offered.values()] == ["Shop: new"]


def test_a_skill_without_a_schema_takes_words() -> None:
    parameters, wrapped = parameters_of(None)
    assert parameters["required"] == ["request"]
    assert not wrapped


def test_a_skill_that_takes_something_else_than_an_object_is_wrapped() -> None:
    source = {"type": "array", "items": {"$ref": "#/$defs/Item"}, "$defs": {"Item": {"type": "number"}}}
    (offer,) = offers([agent("SumTask", "Sums.", source)]).values()
    assert offer.function.parameters == {
        "type": "object",
        "properties": {"input": {"type": "array", "items": {"$ref": "#/$defs/Item"}}},
        "required": ["input"],
        "$defs": {"Item": {"type": "number"}},
    }
    assert offer.input({"input": [1, 2]}) == [1, 2]


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"properties": {"a": {}}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}},
        {"$ref": "#/nowhere"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"anyOf": [{"type": "string"}, {"type": "object"}]},
        {"type": ["object", "null"]},
        {"type": "string"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **TRAVEL.card.schemas("plan")[0]},  # type: ignore[dict-item]
        {"type": "object", "properties": None, "required": 3, "$defs": []},
    ],
)
def test_parameters_are_always_an_object(schema: dict[str, Any]) -> None:
    assert accepted(offers([agent("OddTask", "Odd.", schema), WEATHER]))


def test_parameters_keep_their_definitions() -> None:
    source = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}
    assert parameters_of(source) == (source, False)
