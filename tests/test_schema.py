"""Types and JSON Schemas: what a skill takes, what it gives, and how the two descriptions meet."""

from __future__ import annotations

import datetime as dt
import enum
import timeit
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from agentmesh.errors import DeclarationError, InvalidInput, InvalidOutput
from agentmesh.schema import Checked, Misfit, Parameters, Returns, convert, merge, schema_mistakes

if TYPE_CHECKING:
    from agentmesh import Context
    from agentmesh import runtime as elsewhere


class Color(enum.Enum):
    RED = "red"


@dataclass
class Span:
    first: dt.date
    nights: int


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    day: dt.date


class Place(TypedDict):
    name: str


class Forecast(BaseModel):
    city: str
    high: float
    day: dt.date = Field(alias="date", default=dt.date(2026, 1, 1))


async def plan(
    self: Any,
    city: str,
    days: Annotated[int, Field(ge=1, description="how long")] = 3,
    *,
    span: Span | None = None,
    color: Color = Color.RED,
    place: Place | None = None,
    strict: Strict | None = None,
    note: str = Field("none", description="a word"),
    ctx: Context,
) -> Forecast: ...


def test_parameters_become_a_json_schema_without_self_and_context() -> None:
    parameters = Parameters(plan)
    schema = parameters.schema
    assert parameters.context == "ctx"
    assert list(schema["properties"]) == ["city", "days", "span", "color", "place", "strict", "note"]
    assert schema["type"] == "object"
    assert schema["required"] == ["city"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["days"] == {"type": "integer", "minimum": 1, "default": 3, "description": "how long"}
    assert schema["properties"]["note"] == {"type": "string", "default": "none", "description": "a word"}
    assert schema_mistakes(schema) == []


def test_nested_values_arrive_as_real_instances() -> None:
    got = Parameters(plan).parse(
        {
            "city": "杭州",
            "span": {"first": "2026-05-01", "nights": 2},
            "color": "red",
            "place": {"name": "西湖"},
            "strict": {"day": "2026-05-01"},
        }
    )
    assert got == {
        "city": "杭州",
        "days": 3,
        "span": Span(dt.date(2026, 5, 1), 2),
        "color": Color.RED,
        "place": {"name": "西湖"},
        "strict": Strict(day=dt.date(2026, 5, 1)),
        "note": "none",
    }


def test_all_mistakes_of_an_input_are_told_each_with_its_pointer() -> None:
    wrong = {"days": 0, "span": {"first": "x"}, "place": {"name": 3}, "strict": {"day": 3, "a/b~c": 1}, "cty": "x"}
    with pytest.raises(InvalidInput) as caught:
        Parameters(plan).parse(wrong)
    text = str(caught.value)
    for expected in (
        "/city: Field required",
        "/days: Input should be greater than or equal to 1",
        "/span/first: ",
        "/span/nights: Field required",
        "/place/name: Input should be a valid string",
        "/strict/day: ",
        "/strict/a~1b~0c: Extra inputs are not permitted",
        "/cty: Extra inputs are not permitted",
    ):
        assert expected in text


@pytest.mark.parametrize("value", [3, [], "x", float("nan"), {1: 2}, object()])
def test_an_input_that_is_no_object_is_invalid(value: Any) -> None:
    with pytest.raises(InvalidInput):
        Parameters(plan).parse(value)


def test_no_input_counts_as_an_empty_one() -> None:
    def now(self: Any, zone: str = "UTC") -> str: ...

    assert Parameters(now).parse(None) == {"zone": "UTC"}


def test_a_pointer_leaves_out_the_alternatives_that_were_tried() -> None:
    def either(value: list[int | Span]) -> None: ...

    with pytest.raises(InvalidInput) as caught:
        Parameters(either).parse({"value": [1, {"first": "2026-01-01"}]})
    assert "/value/1/nights: Field required" in str(caught.value)


def test_parameters_may_have_names_that_models_use_themselves() -> None:
    def odd(schema: int, model_config: int, copy: int, _hidden: int, json: int = 1, p0: int = 2) -> None: ...

    given = {"schema": 1, "model_config": 2, "copy": 3, "_hidden": 4}
    assert Parameters(odd).parse(given) == {**given, "json": 1, "p0": 2}


def test_further_properties_go_to_the_rest() -> None:
    def loose(city: str, **rest: Any) -> None: ...

    parameters = Parameters(loose)
    assert parameters.parse({"city": "x", "more": [1]}) == {"city": "x", "more": [1]}
    assert parameters.schema["additionalProperties"] is True


def test_the_context_is_known_by_its_name_or_its_annotation() -> None:
    from agentmesh import Context as Real

    def by_name(ctx): ...  # type: ignore[no-untyped-def]
    def by_text(c: Context) -> None: ...
    def by_path(c: elsewhere.Context) -> None: ...
    def by_option(c: Context | None = None) -> None: ...
    def by_type(c) -> None: ...  # type: ignore[no-untyped-def]

    by_type.__annotations__["c"] = Real
    assert Parameters(by_name).context == "ctx"
    for function in (by_text, by_path, by_option, by_type):
        assert Parameters(function).context == "c"
        assert Parameters(function).schema["properties"] == {}


def test_somebody_else_s_context_is_a_parameter_like_any_other() -> None:
    class Context(BaseModel):
        weather: str

    def read(about: Context) -> None: ...

    parameters = Parameters(read, {"Context": Context})
    assert parameters.context is None
    assert parameters.parse({"about": {"weather": "sun"}}) == {"about": Context(weather="sun")}


def test_text_annotations_are_found_in_the_closure_and_in_a_given_namespace() -> None:
    class Inner(BaseModel):
        value: int

    class Outer(BaseModel):
        inner: Inner

    def closed(value: Inner) -> Inner:
        return Inner(value=value.value)

    def given(value: list[Outer]) -> None: ...

    assert Parameters(closed).parse({"value": {"value": 1}}) == {"value": Inner(value=1)}
    assert Returns(closed).dump(Inner(value=2)) == {"value": 2}
    namespace = {"Inner": Inner, "Outer": Outer}
    expected = {"value": [Outer(inner=Inner(value=1))]}
    assert Parameters(given, namespace).parse({"value": [{"inner": {"value": 1}}]}) == expected


def test_an_annotation_that_cannot_be_resolved_names_the_parameter_and_its_place() -> None:
    def lost(city: str, when: Unknown) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DeclarationError, match=r"test_schema\.py:\d+: lost: parameter 'when': .*'Unknown'"):
        Parameters(lost)


def test_a_return_type_that_cannot_be_resolved_is_named() -> None:
    def lost() -> Unknown: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DeclarationError, match="the return type: .*Unknown"):
        Returns(lost)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda a, /: None, "parameter 'a': is filled in by name"),
        (lambda *rest: None, "parameter 'rest': is filled in by name"),
    ],
)
def test_parameters_without_a_name_for_the_caller_are_refused(function: Any, text: str) -> None:
    with pytest.raises(DeclarationError, match=text):
        Parameters(function)


def test_a_type_without_a_json_form_names_its_parameter() -> None:
    def odd(fine: int, thread: timeit.Timer) -> None: ...

    with pytest.raises(DeclarationError, match="parameter 'thread': there is no JSON Schema"):
        Parameters(odd)

    def typed_rest(**rest: int) -> None: ...

    with pytest.raises(DeclarationError, match="annotate \\*\\*rest with Any"):
        Parameters(typed_rest)

    def twice(ctx: Context, other: Context) -> None: ...

    with pytest.raises(DeclarationError, match="'other': the context is given once"):
        Parameters(twice)


def test_a_result_is_dumped_by_the_aliases_that_its_schema_names() -> None:
    returns = Returns(plan)
    assert returns.schema is not None
    assert set(returns.schema["properties"]) == {"city", "high", "date"}
    data = returns.dump(Forecast(city="x", high=1))
    assert data == {"city": "x", "high": 1.0, "date": "2026-01-01"}
    assert Checked(returns.schema).dump(data) == data


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"city": "x"}, "/high: Field required"),
        ({"city": 3, "high": "x"}, "/city: "),
        (Span(dt.date(2026, 1, 1), 1), "Input should be"),
        (None, "Input should be"),
        (Forecast.model_construct(city=3, high="x"), "city"),
    ],
)
def test_a_result_of_another_type_is_invalid(value: Any, pointer: str) -> None:
    with pytest.raises(InvalidOutput, match=pointer):
        Returns(plan).dump(value)


def test_numbers_that_json_does_not_have_are_invalid() -> None:
    def typed() -> dict[str, float]: ...
    def untyped(): ...  # type: ignore[no-untyped-def]

    for function in (typed, untyped):
        for value in (float("nan"), float("inf")):
            with pytest.raises(InvalidOutput, match="not JSON"):
                Returns(function).dump({"a": value})


def test_without_annotation_a_result_may_be_whatever_has_a_form_in_json() -> None:
    def untyped(): ...  # type: ignore[no-untyped-def]

    returns = Returns(untyped)
    assert returns.schema is None
    assert returns.dump([Forecast(city="x", high=1)]) == [{"city": "x", "high": 1.0, "date": "2026-01-01"}]
    assert returns.dump(Span(dt.date(2026, 1, 1), 1)) == {"first": "2026-01-01", "nights": 1}
    assert returns.dump({1: (2, None)}) == {"1": [2, None]}
    for value in (object(), {"a": object()}, lambda: 1):
        with pytest.raises(InvalidOutput, match="no form in JSON"):
            returns.dump(value)


def test_a_function_that_returns_nothing_returns_null() -> None:
    def nothing() -> None: ...

    assert Returns(nothing).schema == {"type": "null"}
    assert Returns(nothing).dump(None) is None
    with pytest.raises(InvalidOutput):
        Returns(nothing).dump(3)


def test_json_data_is_turned_into_a_type() -> None:
    assert convert({"first": "2026-01-01", "nights": 1}, Span) == Span(dt.date(2026, 1, 1), 1)
    assert convert({"day": "2026-01-01"}, Strict) == Strict(day=dt.date(2026, 1, 1))
    with pytest.raises(InvalidOutput, match="/nights: Field required"):
        convert({"first": "2026-01-01"}, Span)


def test_a_schema_of_one_s_own_tells_all_mistakes_in_the_same_form() -> None:
    checked = Checked(
        {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "when": {"type": "string", "format": "date-time"},
                "mail": {"type": "string", "format": "email"},
                "link": {"type": "string", "format": "uri"},
                "parts": {"type": "array", "items": {"type": "object", "required": ["a"]}},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        }
    )
    wrong = {"when": "2026-01-01", "mail": "x", "link": "no uri", "parts": [{"a": 1}, {}], "x/y": 1}
    with pytest.raises(InvalidInput) as caught:
        checked.parse(wrong)
    for expected in (
        "/city: Field required",
        "/days: Field required",
        "/x~1y: Extra inputs",
        "/parts/1/a: Field required",
    ):
        assert expected in str(caught.value)
    for place in ("/when: ", "/mail: ", "/link: "):
        assert place in str(caught.value)
    sound = {"city": "x", "days": 1, "parts": [], "when": "2026-01-01T00:00:00+08:00", "link": "https://a.example/b"}
    assert checked.parse(sound) == sound


def test_many_mistakes_are_cut_off() -> None:
    with pytest.raises(InvalidInput, match="and more$") as caught:
        Checked({"additionalProperties": {"type": "string"}}).parse({str(n): n for n in range(1000)})
    assert str(caught.value).count("is not of type") == 20


def test_a_long_value_is_not_repeated_in_full() -> None:
    with pytest.raises(InvalidInput) as caught:
        Checked({"properties": {"a": {"type": "integer"}}}).parse({"a": "x" * 100_000})
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("schema", "misfit"),
    [
        ({"properties": {"a": {"type": "strin"}}}, "/properties/a/type: 'strin' is no type"),
        ({"required": "a", "properties": 3}, "/properties: "),
        ({"pattern": "["}, "/pattern: "),
        ({"pattern": "a{99999999999999}"}, "no JSON Schema"),
        ({"$ref": "https://example.org/schema"}, "nothing outside of the schema is fetched"),
        ({"items": {"$ref": "other.json#/x"}}, "nothing outside of the schema is fetched"),
        ({"$ref": "#/$defs/missing"}, "which is not there"),
        ({"$ref": "#"}, "refers to itself without end"),
        (3, "3 is not of type"),
    ],
)
def test_a_schema_that_is_none_is_told(schema: Any, misfit: str) -> None:
    assert any(misfit in str(each) for each in schema_mistakes(schema)), schema_mistakes(schema)


def test_a_property_may_be_called_ref() -> None:
    assert schema_mistakes({"properties": {"$ref": {"type": "string"}}, "examples": [{"$ref": "x"}]}) == []


def test_both_mistakes_of_a_schema_are_told() -> None:
    assert len(schema_mistakes({"properties": {"a": {"type": "x"}, "b": {"minimum": "1"}}})) == 2


def test_a_recursive_schema_is_followed_as_far_as_the_value_goes() -> None:
    tree = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}
    assert schema_mistakes(tree) == []
    with pytest.raises(InvalidInput, match="/kids/0/kids: "):
        Checked(tree).parse({"kids": [{"kids": 3}]})


@given(st.recursive(st.none() | st.integers() | st.text(), lambda i: st.lists(i) | st.dictionaries(st.text(), i)))
def test_any_value_is_a_schema_or_told_to_be_none(value: Any) -> None:
    for schema in (value, {"properties": value}, {"properties": {"a": value}, "$ref": value}):
        if not schema_mistakes(schema) and isinstance(schema, dict):
            Checked(schema).misfits({"a": 1})


OWN = Parameters(plan).schema


def contradictions(declared: dict[str, Any], own: dict[str, Any] = OWN) -> list[str]:
    return [str(each) for each in merge(own, declared).contradictions]


def test_words_and_constraints_are_added_to_what_the_types_say() -> None:
    declared = {
        "properties": {
            "city": {"type": "string", "description": "where", "enum": ["杭州", "上海"]},
            "days": {"minimum": 0, "maximum": 15},
            "span": {"properties": {"nights": {"description": "how many", "minimum": 1}}},
        }
    }
    merged = merge(OWN, declared)
    assert merged.contradictions == []
    assert merged.stricter
    properties = merged.schema["properties"]
    assert properties["city"] == {"type": "string", "description": "where", "enum": ["杭州", "上海"]}
    assert properties["days"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 15,
        "default": 3,
        "description": "how long",
    }
    assert schema_mistakes(merged.schema) == []
    checked = Checked(merged.schema)
    assert checked.misfits({"city": "杭州", "days": 15, "span": {"first": "2026-01-01", "nights": 1}}) == []
    assert [each.pointer for each in checked.misfits({"city": "x", "days": 16})] == ["/city", "/days"]


def test_words_alone_are_not_stricter() -> None:
    declared = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "where"}},
        "required": ["city"],
    }
    assert merge(OWN, declared) == (
        {**OWN, "properties": {**OWN["properties"], "city": {"type": "string", "description": "where"}}},
        [],
        False,
    )


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"properties": {"town": {}}}, ["/properties/town: the types have no such property; they have city, days, "]),
        ({"properties": {"city": {"type": "integer"}}}, ["/properties/city/type: the types say string, not integer"]),
        ({"properties": {"days": {"type": "number"}}}, ["/properties/days/type: the types say integer, not number"]),
        ({"properties": {"days": {"enum": ["a"]}}}, ["/properties/days: the types say integer, not string"]),
        ({"properties": {"days": {}}, "required": ["days"]}, ["/required: 'days' may be left out, by the types"]),
        ({"properties": {"city": {}}, "required": []}, ["/required: 'city' may not be left out, by the types"]),
        ({"required": ["town"]}, ["/required: 'town' is required, and the types have no such property"]),
        ({"properties": {"days": {"default": 4}}}, ["/properties/days/default: the types say 3, not 4"]),
        (
            {"properties": {"color": {"enum": ["red", "blue"]}}},
            ["/properties/color/enum: the types do not have 'blue'"],
        ),
        ({"additionalProperties": True}, ["/additionalProperties: the types allow no further properties"]),
        ({"type": "array"}, ["/type: the types say object, not array"]),
        (
            {"properties": {"strict": {"properties": {"day": {"type": "integer"}, "week": {}}}}},
            ["/properties/strict/properties/week", "/properties/strict/properties/day/type"],
        ),
    ],
)
def test_a_contradiction_is_told_with_its_place(declared: dict[str, Any], expected: list[str]) -> None:
    own = {**OWN, "properties": {**OWN["properties"], "strict": {"$ref": "#/$defs/Strict"}}}
    found = contradictions(declared, own)
    assert len(found) == len(expected)
    for text in expected:
        assert any(each.startswith(text) for each in found), found


@pytest.mark.parametrize(
    "declared",
    [
        {"properties": {"days": {"type": ["integer"]}}},
        {"properties": {"span": {"type": "object"}}},
        {"properties": {"span": {"type": ["object", "null"]}}},
        {"properties": {"city": {"$ref": "#/$defs/City"}}, "$defs": {"City": {"type": "string"}}},
        {"properties": {"color": {"const": "red"}}},
        {"required": ["city"]},
    ],
)
def test_narrower_is_no_contradiction(declared: dict[str, Any]) -> None:
    assert contradictions(declared) == []


def test_a_parameter_that_takes_any_object_may_be_described_further() -> None:
    def loose(request: dict[str, Any], anything) -> None: ...  # type: ignore[no-untyped-def]

    own = Parameters(loose).schema
    declared = {
        "properties": {
            "request": {
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
            "anything": {"type": "array", "items": {"type": "integer"}},
        }
    }
    merged = merge(own, declared)
    assert merged.contradictions == []
    found = Checked(merged.schema).misfits({"request": {"x": 1}, "anything": ["a"]})
    assert {each.pointer for each in found} == {"/request/city", "/request/x", "/anything/0"}


def test_two_recursive_schemas_meet_without_end() -> None:
    def tree(depth: int) -> dict[str, Any]:
        node = {"type": "object", "properties": {"kid": {"$ref": "#/$defs/Node"}, "n": {"type": "integer"}}}
        return {"$ref": "#/$defs/Node", "$defs": {"Node": node}}

    assert merge(tree(1), tree(2)).contradictions == []
    other = tree(1)
    other["$defs"] = {"Node": {"type": "object", "properties": {"n": {"type": "string"}}}}
    assert Misfit("/properties/n/type", "the types say integer, not string") in merge(tree(1), other).contradictions


def test_parsing_and_dumping_a_small_call_take_microseconds() -> None:
    def forecast(city: str, days: int = 3) -> Forecast: ...

    parameters, returns, result = Parameters(forecast), Returns(forecast), Forecast(city="x", high=1)
    for step in (lambda: parameters.parse({"city": "x", "days": 2}), lambda: returns.dump(result)):
        assert min(timeit.repeat(step, number=2000, repeat=5)) / 2000 < 50e-6  # under 5 µs when nothing else runs
