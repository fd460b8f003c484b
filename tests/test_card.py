"""AgentCards: A2A 1.0 and 0.3 read, everything kept, equal cards equal bytes."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmesh.card import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    card_digest,
    read_card,
    skills_extension,
    write_card,
)
from agentmesh.errors import PayloadCorrupt

CARD = {
    "name": "旅行规划",
    "description": "Plans trips.",
    "version": "1.0.0",
    "supportedInterfaces": [
        {"url": "https://a.example/rpc", "protocolBinding": "JSONRPC", "protocolVersion": "1.0", "tenant": "acme"},
        {"url": "agentmesh:TravelAgentTask", "protocolBinding": "urn:agentmesh:binding:1", "protocolVersion": "1.0"},
    ],
    "provider": {"organization": "Example", "url": "https://example.org"},
    "capabilities": {
        "streaming": True,
        "extensions": [{"uri": "urn:x", "description": "", "required": True, "params": {"*": 1, "a": [None]}}],
        "futureCapability": {"deep": [1, {"x": None}]},
    },
    "securitySchemes": {"key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}}},
    "securityRequirements": [{"schemes": {"key": {"list": []}}}],
    "defaultInputModes": ["application/json"],
    "defaultOutputModes": ["text/plain"],
    "skills": [
        {
            "id": "plan",
            "name": "plan",
            "description": "",
            "tags": ["travel"],
            "examples": ["杭州周边三日自驾"],
            "inputModes": ["text/plain"],
            "price": {"currency": "CNY"},
        }
    ],
    "signatures": [{"protected": "e30", "signature": "AA", "header": {"kid": "1"}}],
    "x-region": "cn-hangzhou",
    "*": "a field of that name",
}

OLD_CARD = {
    "protocolVersion": "0.3.0",
    "name": "Old",
    "description": "An agent of 0.3.",
    "url": "https://old.example/rpc",
    "preferredTransport": "GRPC",
    "additionalInterfaces": [
        {"url": "https://old.example/rpc", "transport": "GRPC"},
        {"url": "https://old.example/json", "transport": "JSONRPC", "x-zone": 1},
    ],
    "provider": None,
    "version": "2",
    "capabilities": {"streaming": True, "stateTransitionHistory": True},
    "supportsAuthenticatedExtendedCard": True,
    "securitySchemes": {
        "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
        "login": {"type": "openIdConnect", "openIdConnectUrl": "https://old.example/oidc"},
    },
    "security": [{"login": ["read"]}, {"key": []}],
    "defaultInputModes": ["text/plain"],
    "defaultOutputModes": ["text/plain"],
    "skills": [{"id": "do", "name": "Do", "description": "Does.", "tags": [], "security": [{"key": []}], "x-rank": 3}],
    "signatures": [{"protected": "e30", "signature": "AA"}],
}


def test_a_card_comes_out_as_it_went_in_with_the_fields_that_nobody_knows() -> None:
    assert json.loads(write_card(read_card(CARD))) == CARD
    assert json.loads(write_card(read_card(json.dumps(CARD).encode()))) == CARD


def test_a_card_of_a2a_0_3_is_read_as_one_of_1_0() -> None:
    card = read_card(OLD_CARD)
    assert [(each.url, each.protocol_binding, each.protocol_version) for each in card.supported_interfaces] == [
        ("https://old.example/rpc", "GRPC", "0.3.0"),
        ("https://old.example/json", "JSONRPC", "0.3.0"),
    ]
    assert card.capabilities.streaming
    assert card.capabilities.extended_agent_card
    assert card.provider is None
    written = json.loads(write_card(card))
    assert written["securityRequirements"] == [
        {"schemes": {"login": {"list": ["read"]}}},
        {"schemes": {"key": {"list": []}}},
    ]
    assert written["securitySchemes"] == {
        "key": {"apiKeySecurityScheme": {"location": "header", "name": "X-Key"}},
        "login": {"openIdConnectSecurityScheme": {"openIdConnectUrl": "https://old.example/oidc"}},
    }
    assert written["skills"][0]["securityRequirements"] == [{"schemes": {"key": {"list": []}}}]
    assert written["skills"][0]["x-rank"] == 3
    assert written["supportedInterfaces"][1]["x-zone"] == 1
    assert written["capabilities"]["stateTransitionHistory"] is True


def test_signatures_of_an_old_card_are_dropped_since_they_do_not_cover_its_new_form() -> None:
    assert read_card(OLD_CARD).signatures == ()


def test_a_card_that_serves_both_versions_is_read_as_1_0_and_keeps_the_old_fields() -> None:
    both = {**CARD, "url": "https://a.example/rpc", "preferredTransport": "JSONRPC"}
    card = read_card(both)
    assert len(card.supported_interfaces) == 2
    assert json.loads(write_card(card)) == both


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"name": 3}, r"\$\.name"),
        ({"version": None}, "version"),
        ({"skills": [{"id": "a"}, {"id": 1}]}, r"\$\.skills\[1\]\.id"),
        ({"skills": {"a": 1}}, r"\$\.skills"),
        ({"capabilities": []}, r"\$\.capabilities"),
        ({"capabilities": {"extensions": [{}]}}, "uri"),
        ({"supportedInterfaces": [{"url": 1}]}, r"\$\.supportedInterfaces\[0\]\.url"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], where: str) -> None:
    with pytest.raises(PayloadCorrupt, match=where):
        read_card({**CARD, **change})


@pytest.mark.parametrize("raw", [b"", b"[]", b"3", b"{", b"\xff", b"null", b"[" * 100_000, b'{"name": "x"}'])
def test_bytes_that_are_no_card_are_corrupt(raw: bytes) -> None:
    with pytest.raises(PayloadCorrupt):
        read_card(raw)


@pytest.mark.parametrize("more", [3, [3], {"url": "x"}])
def test_interfaces_of_an_old_card_that_are_none_are_corrupt(more: Any) -> None:
    with pytest.raises(PayloadCorrupt, match="additionalInterfaces"):
        read_card({**OLD_CARD, "additionalInterfaces": more})


def test_schemas_and_confirm_travel_in_an_extension() -> None:
    told = {"plan": ({"type": "object"}, {"type": "string"}, True), "list": ({"type": "object"}, None, False)}
    card = AgentCard(
        name="x",
        version="1",
        skills=(AgentSkill(id="plan"), AgentSkill(id="list")),
        capabilities=AgentCapabilities(extensions=(skills_extension(told),)),
    )
    again = read_card(write_card(card))
    assert again == card
    assert again.schemas("plan") == ({"type": "object"}, {"type": "string"})
    assert again.schemas("list") == ({"type": "object"}, None)
    assert again.confirms("plan")
    assert not again.confirms("list")
    assert again.schemas("unknown") == (None, None)
    assert not again.confirms("unknown")


@pytest.mark.parametrize("params", [{"a": 3}, {"a": {"input": "x", "output": 3, "confirm": "yes"}}, {}])
def test_an_extension_that_holds_nonsense_tells_nothing(params: dict[str, Any]) -> None:
    extension = {"uri": "urn:agentmesh:skills:1", "params": params}
    card = read_card({"name": "x", "version": "1", "capabilities": {"extensions": [extension]}})
    assert card.schemas("a") == (None, None)
    assert not card.confirms("a")


def test_what_a2a_requires_is_written_even_where_it_is_empty() -> None:
    card = AgentCard(name="x", version="1", supported_interfaces=(AgentInterface(url="u"),))
    assert json.loads(write_card(card)) == {
        "name": "x",
        "description": "",
        "version": "1",
        "supportedInterfaces": [{"url": "u", "protocolBinding": "", "protocolVersion": ""}],
        "capabilities": {},
        "defaultInputModes": ["application/json"],
        "defaultOutputModes": ["application/json"],
        "skills": [],
    }


def test_what_is_not_json_data_is_not_written() -> None:
    with pytest.raises(PayloadCorrupt, match="'x'"):
        write_card(AgentCard(name="x", version="1", unknown={"a": object()}))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
texts = st.lists(st.text(), max_size=3)
interfaces = st.fixed_dictionaries(
    {"url": st.text(), "protocolBinding": st.text(), "protocolVersion": st.text()},
    optional={"tenant": st.text(min_size=1)},
)
unknown = st.dictionaries(st.text().map("x-{}".format), json_values, max_size=3)
skills = st.builds(
    lambda known, more: {**more, **known},
    st.fixed_dictionaries(
        {"id": st.text(), "name": st.text(), "description": st.text(), "tags": texts},
        optional={"examples": st.lists(st.text(), min_size=1, max_size=3)},
    ),
    unknown,
)
cards = st.builds(
    lambda known, more: {**more, **known},
    st.fixed_dictionaries(
        {
            "name": st.text(),
            "description": st.text(),
            "version": st.text(),
            "supportedInterfaces": st.lists(interfaces, max_size=3),
            "capabilities": unknown,
            "defaultInputModes": texts,
            "defaultOutputModes": texts,
            "skills": st.lists(skills, max_size=3),
        },
        optional={
            "iconUrl": st.text(min_size=1),
            "securitySchemes": st.dictionaries(st.text(), json_values, min_size=1),
        },
    ),
    unknown,
)


@given(cards)
def test_any_card_survives_the_round_trip(data: dict[str, Any]) -> None:
    card = read_card(data)
    raw = write_card(card)
    assert json.loads(raw) == data
    assert read_card(raw) == card
    assert card_digest(read_card(raw)) == card_digest(card)


@given(cards)
def test_the_digest_does_not_depend_on_the_order_of_keys(data: dict[str, Any]) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(each) for each in value] if isinstance(value, list) else value

    assert card_digest(read_card(data)) == card_digest(read_card(turned(data)))
    assert card_digest(read_card({**data, "name": data["name"] + "!"})) != card_digest(read_card(data))


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_the_bytes_are_they_are_a_card_or_corrupt(raw: bytes) -> None:
    with contextlib.suppress(PayloadCorrupt):
        assert isinstance(read_card(raw), AgentCard)
