"""AgentCards: what an agent is and can do, in the shape of A2A 1.0 (https://a2a-protocol.org, AgentCard).

Cards of A2A 0.3 are read too. What a card holds beyond these fields is kept and written back. The JSON Schemas of
skills, and whether a person must approve them, have no field in A2A: they travel in the capabilities extension
`SKILLS_EXTENSION` as `{skill id: {"input": schema, "output": schema, "confirm": bool}}`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from agentmesh.errors import PayloadCorrupt
from agentmesh.ids import digest
from agentmesh.message import JSON, from_json

PLANS: Final = "supervisor"
"""The tag of skills that plan: a supervisor does not call its equals unasked."""

SKILLS_EXTENSION: Final = "urn:agentmesh:skills:1"
BINDING: Final = "urn:agentmesh:binding:1"
"""The `protocolBinding` of an agent that is reached through its topic: `agentmesh:<topic>`."""

_UNKNOWN: Final = "*"


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of a card; `unknown` holds the fields that A2A has beyond those named here."""

    unknown: dict[str, Any] = msgspec.field(default_factory=dict, name=_UNKNOWN)


class AgentInterface(_Part, frozen=True, kw_only=True, rename="camel"):
    """A way to reach the agent. `tenant` is to be sent along with every request."""

    url: str
    protocol_binding: str = ""
    protocol_version: str = ""
    tenant: str = ""


class AgentProvider(_Part, frozen=True, kw_only=True, rename="camel"):
    """Who offers the agent."""

    organization: str = ""
    url: str = ""


class AgentExtension(_Part, frozen=True, kw_only=True, rename="camel"):
    """An extension of A2A that the agent speaks; a client must know it if it is `required`."""

    uri: str
    description: str = ""
    required: bool = False
    params: dict[str, Any] = {}


class AgentCapabilities(_Part, frozen=True, kw_only=True, rename="camel"):
    """What the agent can do beyond answering."""

    streaming: bool = False
    push_notifications: bool = False
    extended_agent_card: bool = False
    extensions: tuple[AgentExtension, ...] = ()


class AgentSkill(_Part, frozen=True, kw_only=True, rename="camel"):
    """One thing the agent can do."""

    id: str
    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    input_modes: tuple[str, ...] = ()
    output_modes: tuple[str, ...] = ()
    security_requirements: tuple[dict[str, Any], ...] = ()


class AgentCardSignature(_Part, frozen=True, kw_only=True, rename="camel"):
    """A JWS over the card."""

    protected: str
    signature: str
    header: dict[str, Any] = {}


class AgentCard(_Part, frozen=True, kw_only=True, rename="camel"):
    """An agent, its interfaces in order of preference, and its skills."""

    name: str
    description: str = ""
    version: str
    supported_interfaces: tuple[AgentInterface, ...] = ()
    provider: AgentProvider | None = None
    documentation_url: str = ""
    icon_url: str = ""
    capabilities: AgentCapabilities = AgentCapabilities()
    security_schemes: dict[str, Any] = {}
    security_requirements: tuple[dict[str, Any], ...] = ()
    default_input_modes: tuple[str, ...] = (JSON,)
    default_output_modes: tuple[str, ...] = (JSON,)
    skills: tuple[AgentSkill, ...] = ()
    signatures: tuple[AgentCardSignature, ...] = ()

    def skill(self, skill_id: str) -> AgentSkill | None:
        """The skill of that id."""
        return next((skill for skill in self.skills if skill.id == skill_id), None)

    def schemas(self, skill_id: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """The JSON Schemas of a skill's input and output, as far as the card tells."""
        told = self._told(skill_id)
        source, result = told.get("input"), told.get("output")
        return source if isinstance(source, dict) else None, result if isinstance(result, dict) else None

    def confirms(self, skill_id: str) -> bool:
        """Whether a person must approve each call of the skill."""
        return self._told(skill_id).get("confirm") is True

    def _told(self, skill_id: str) -> dict[str, Any]:
        for extension in self.capabilities.extensions:
            if extension.uri == SKILLS_EXTENSION:
                told = extension.params.get(skill_id)
                return told if isinstance(told, dict) else {}
        return {}


def skills_extension(skills: Mapping[str, tuple[dict[str, Any] | None, dict[str, Any] | None, bool]]) -> AgentExtension:
    """The extension that tells each skill's input schema, output schema, and whether it asks for approval."""
    params: dict[str, Any] = {}
    for skill_id, (source, result, confirm) in skills.items():
        told = {"input": source, "output": result, "confirm": confirm or None}
        params[skill_id] = {name: value for name, value in told.items() if value is not None}
    text = "JSON Schemas of the skills' inputs and outputs, and which need a person's approval."
    return AgentExtension(uri=SKILLS_EXTENSION, description=text, params=params)


def read_card(raw: bytes | Mapping[str, Any]) -> AgentCard:
    """The card in JSON or plain data, of A2A 1.0 or 0.3. Raises `PayloadCorrupt` saying which field is wrong.

    Signatures of a 0.3 card are dropped, since they do not cover its 1.0 form: verify them on the original.
    """
    data = from_json(raw) if isinstance(raw, bytes) else dict(raw)
    if not isinstance(data, dict):
        raise PayloadCorrupt(f"An AgentCard is a JSON object, not {type(data).__name__}.")
    try:
        if "supportedInterfaces" not in data and "url" in data:
            data = _upgraded(data)
        return msgspec.convert(_sorted_out(AgentCard, data), AgentCard)
    except msgspec.ValidationError as error:
        raise PayloadCorrupt(f"This is no AgentCard: {error}.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise PayloadCorrupt(f"This is no AgentCard: {type(error).__name__}: {error}.") from error


def write_card(card: AgentCard) -> bytes:
    """The card as JSON of A2A 1.0, with keys in order, so that equal cards are equal bytes. Raises `PayloadCorrupt`."""
    try:
        return msgspec.json.encode(_plain(card), order="deterministic")
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise PayloadCorrupt(f"The AgentCard of {card.name!r} holds what is not JSON data: {error}.") from error


def card_digest(card: AgentCard) -> str:
    """26 characters that stand for the card, whatever the order of its keys."""
    return digest(write_card(card))


_Field = tuple[str, str, Any, type[_Part] | None]
"""Of a field: its name in JSON, its name here, its default, and the kind of part it holds."""


def _fields(kind: type[_Part]) -> Iterator[_Field]:
    for info in msgspec.structs.fields(kind):
        if info.encode_name != _UNKNOWN:
            default = info.default_factory() if info.default_factory is not msgspec.NODEFAULT else info.default
            yield info.encode_name, info.name, default, _NESTED.get(info.encode_name)


_NESTED: Final[dict[str, type[_Part]]] = {
    "supportedInterfaces": AgentInterface,
    "provider": AgentProvider,
    "capabilities": AgentCapabilities,
    "extensions": AgentExtension,
    "skills": AgentSkill,
    "signatures": AgentCardSignature,
}
_KINDS: Final[tuple[type[_Part], ...]] = (AgentCard, *_NESTED.values())
_FIELDS: Final = {kind: tuple(_fields(kind)) for kind in _KINDS}
_OPTIONAL: Final = frozenset(
    [
        "provider",
        "documentationUrl",
        "iconUrl",
        "securitySchemes",
        "securityRequirements",
        "signatures",
        "examples",
        "inputModes",
        "outputModes",
        "tenant",
        "streaming",
        "pushNotifications",
        "extendedAgentCard",
        "extensions",
        "required",
        "params",
        "header",
    ]
)
"""Written only where they say something; A2A requires the others, empty or not."""


def _sorted_out(kind: type[_Part], data: Any) -> Any:
    """`data` with its unknown fields apart, all the way down. A field that is null is a field that is not there."""
    if not isinstance(data, dict):
        return data
    rest = dict(data)
    known: dict[str, Any] = {}
    for name, _, _, inner in _FIELDS[kind]:
        value = rest.pop(name, None)
        if inner is not None:
            many = isinstance(value, list | tuple)
            value = [_sorted_out(inner, item) for item in value] if many else _sorted_out(inner, value)
        if value is not None:
            known[name] = value
    return {**known, _UNKNOWN: rest}


def _plain(part: _Part) -> dict[str, Any]:
    """A part as plain data: what A2A requires, and what is not its default."""
    data = dict(part.unknown)
    for name, attribute, default, inner in _FIELDS[type(part)]:
        value = getattr(part, attribute)
        if value == default and name in _OPTIONAL:
            continue
        if inner is not None:
            value = [_plain(item) for item in value] if isinstance(value, tuple) else _plain(value)
        data[name] = value
    return data


_SCHEMES_03: Final = {
    "apiKey": "apiKeySecurityScheme",
    "http": "httpAuthSecurityScheme",
    "oauth2": "oauth2SecurityScheme",
    "openIdConnect": "openIdConnectSecurityScheme",
    "mutualTLS": "mtlsSecurityScheme",
}


def _upgraded(old: dict[str, Any]) -> dict[str, Any]:
    """A card of A2A 0.3 in the shape of 1.0."""
    card = {name: value for name, value in old.items() if value is not None}
    version = card.pop("protocolVersion", "0.3.0")
    main = {"url": card.pop("url"), "transport": card.pop("preferredTransport", "JSONRPC")}
    more = card.pop("additionalInterfaces", ())
    card.pop("signatures", None)
    if not isinstance(more, list | tuple) or not all(isinstance(each, dict) for each in more):
        raise ValueError("additionalInterfaces is not a list of objects")
    card["supportedInterfaces"] = [
        {"protocolBinding": each.get("transport", ""), "protocolVersion": version}
        | {name: value for name, value in each.items() if name != "transport"}
        for each in [main, *(other for other in more if other != main)]
    ]
    if "supportsAuthenticatedExtendedCard" in card:
        extended = card.pop("supportsAuthenticatedExtendedCard")
        card["capabilities"] = {**(card.get("capabilities") or {}), "extendedAgentCard": extended}
    if isinstance(card.get("securitySchemes"), dict):
        card["securitySchemes"] = {name: _scheme(scheme) for name, scheme in card["securitySchemes"].items()}
    if isinstance(card.get("skills"), list):
        card["skills"] = [_with_requirements(skill) if isinstance(skill, dict) else skill for skill in card["skills"]]
    return _with_requirements(card)


def _scheme(old: Any) -> Any:
    if not isinstance(old, dict) or old.get("type") not in _SCHEMES_03:
        return old
    scheme = {("location" if name == "in" else name): value for name, value in old.items() if name != "type"}
    return {_SCHEMES_03[old["type"]]: scheme}


def _with_requirements(old: dict[str, Any]) -> dict[str, Any]:
    """0.3's `security: [{scheme: [scope]}]` as 1.0's `securityRequirements: [{schemes: {scheme: {list: [scope]}}}]`."""
    if not isinstance(old.get("security"), list):
        return old
    card = dict(old)
    card["securityRequirements"] = [
        {"schemes": {name: {"list": scopes} for name, scopes in each.items()}} if isinstance(each, dict) else each
        for each in card.pop("security")
    ]
    return card
