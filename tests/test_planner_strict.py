"""Schemas as a model is held to them."""

from typing import Any

import pytest
from planner_cards import agent, takes

from agentmesh.schema import Checked
from agentmesh.supervisor.functions import offers
from agentmesh.supervisor.strict import strict, without_nulls

ALLOWED = {
    "type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "$ref", "$defs", "description",
    "pattern", "format", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems",
    "maxItems",
}  # fmt: skip


def refusal(schema: Any) -> str:
    """Why a strict endpoint would refuse the schema; "" if it would take it."""
    if not isinstance(schema, dict) or not {"type", "anyOf", "enum", "$ref"} & schema.keys():
        return f"{schema} says no type"
    if schema.keys() - ALLOWED:
        return f"{schema.keys() - ALLOWED} is not allowed"
    if "$ref" in schema and schema.keys() - {"$ref"}:
        return "$ref has company"
    inner = [*schema.get("anyOf", ()), *schema.get("$defs", {}).values()]
    if schema.get("type") in ("object", ["object", "null"]):
        properties = schema.get("properties")
        if not isinstance(properties, dict) or schema.get("additionalProperties") is not False:
            return f"{schema} is open"
        if schema.get("required") != list(properties):
            return f"{schema} has optional properties"
        inner += properties.values()
    if "array" in str(schema.get("type")):
        inner.append(schema.get("items"))
    return next(filter(None, map(refusal, inner)), "")


def test_what_is_optional_takes_null() -> None:
    made = strict(takes("city", city="string", days="integer"))
    assert made == {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": ["integer", "null"]}},
        "required": ["city", "days"],
        "additionalProperties": False,
    }


def test_what_a_strict_schema_cannot_say_moves_into_the_description() -> None:
    made = strict(takes(name={"type": "string", "description": "A name.", "minLength": 2, "default": "x"}))
    assert made
    assert made["properties"]["name"] == {"type": "string", "description": 'A name. (minLength: 2; default: "x")'}


@pytest.mark.parametrize(
    "schema",
    [
        takes("a", a={"enum": ["x", "y"]}, b={"type": "string", "enum": ["x"]}, c={"const": 3}),
        takes("a", a={"oneOf": [{"type": "string"}, takes(z="number")]}, b={"anyOf": [{"type": "string"}]}),
        takes(a={"type": "array", "items": takes("x", x="string", y="number"), "uniqueItems": True}),
        takes(a={"allOf": [{"type": "string", "format": "uri"}], "description": "where"}),
        takes("a", a={"$ref": "#/$defs/A", "description": "d"}, b={"$ref": "#/$defs/A"})
        | {"$defs": {"A": takes("x", x="string", y={"type": "string", "format": "date"})}},
        takes("tree", tree={"$ref": "#/$defs/T"})
        | {"$defs": {"T": takes("v", v="string", kids={"type": "array", "items": {"$ref": "#/$defs/T"}})}},
        {"type": "object", "properties": {}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **takes(a={"type": ["string", "null"]})},
    ],
)
def test_a_strict_schema_keeps_the_rules(schema: dict[str, Any]) -> None:
    made = strict(schema)
    assert made is not None
    assert refusal(made) == ""


@pytest.mark.parametrize(
    "schema",
    [
        takes(a="object"),
        takes(a={}),
        takes(a={"type": "array"}),
        takes(a={"type": "object", "additionalProperties": {"type": "string"}}),
        takes(a={"type": "array", "prefixItems": [{"type": "string"}]}),
        takes(a={"type": "string", "not": {"const": "x"}}),
        {"anyOf": [takes(a="string"), takes(b="string")]},
        takes(a={"type": "string", "enum": [str(n) for n in range(2000)]}),
        takes(a={"$ref": "#/$defs/Gone", "description": "x"}),
        takes(a=True),
    ],
)
def test_what_no_strict_schema_can_say_is_left_as_it_is(schema: dict[str, Any]) -> None:
    assert strict(schema) is None


def test_a_function_that_cannot_be_strict_is_one_that_is_not() -> None:
    schema = takes(a="object")
    (offer,) = offers([agent("OddTask", "Odd.", schema)], is_strict=True).values()
    assert not offer.function.strict
    assert offer.function.parameters == schema


def test_nulls_of_a_model_are_what_it_left_out() -> None:
    schema = takes(
        "a",
        a={"type": ["string", "null"]},
        b="number",
        c={"type": "array", "items": takes("x", x="string", y="string")},
    )
    given = {"a": None, "b": None, "c": [{"x": "1", "y": None}]}
    kept = without_nulls(given, schema, schema)
    assert kept == {"a": None, "c": [{"x": "1"}]}
    assert Checked(schema).misfits(kept) == []


def test_functions_are_strict_only_where_that_is_wanted() -> None:
    team = [agent("ShopTask", "Sells tulips.", takes("a", a="string", b="string"))]
    (loose,), (held,) = offers(team).values(), offers(team, is_strict=True).values()
    assert not loose.function.strict
    assert loose.function.parameters == team[0].card.schemas("do")[0]
    assert held.function.strict
    assert held.input(held.arguments({"a": "x", "b": None})) == {"a": "x"}
