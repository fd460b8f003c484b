"""Skills as functions of a language model, and back."""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from agentmesh.catalog.versions import preferred
from agentmesh.contracts import Function, Registration
from agentmesh.ids import digest
from agentmesh.supervisor.references import resolved
from agentmesh.supervisor.strict import small, strict, without_nulls

if TYPE_CHECKING:
    from agentmesh.card import AgentCard

MOST_FUNCTIONS = 128
LONGEST_NAME = 64
LONGEST_DESCRIPTION = 1024
"""OpenAI's limits."""
LONGEST_PARAMETERS = 16_000
"""Characters of a function's parameters: about 4,500 tokens in each request."""

WHOLE_INPUT = "input"
"""The parameter that holds the whole input of a skill that takes something else than a JSON object."""
FREE_TEXT = "request"

_PLAIN = re.compile(r"[a-zA-Z0-9_]+\Z")


class Offer(msgspec.Struct, frozen=True):
    """A skill as a function. `parameters` are what arguments are held against: the function's own, which a strict
    function says in other words. `wrapped`: the input is the parameter `input`, not the object of all parameters."""

    topic: str
    skill: str
    function: Function
    parameters: dict[str, Any]
    wrapped: bool = False

    def arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        """What a model gave, as `parameters` want it."""
        if not self.function.strict:
            return given
        kept: dict[str, Any] = without_nulls(given, self.parameters, self.parameters)
        return kept

    def input(self, arguments: Mapping[str, Any]) -> Any:
        """What the skill gets for these arguments."""
        return arguments.get(WHOLE_INPUT) if self.wrapped else dict(arguments)


def offers(agents: Iterable[Registration], *, is_strict: bool = False) -> dict[str, Offer]:
    """Every skill of these agents as a function, by name and in the order of names."""
    skills = {(one.topic, skill.id): one.card for one in preferred(agents) for skill in one.card.skills}
    made = [offer(*key, card, is_strict=is_strict) for key, card in skills.items()]
    return {one.function.name: one for one in sorted(made, key=lambda one: one.function.name)}


def function_name(topic: str, skill: str) -> str:
    """`WeatherAgentTask-forecast`: at most 64 of `[a-zA-Z0-9_-]`, the same for ever, different for different skills.

    Where plain joining would be too long, hold other characters or be ambiguous, the end is a digest.
    """
    name = f"{topic}-{skill}"
    if _PLAIN.match(skill) and len(name) <= LONGEST_NAME:
        return name
    end = f"-{digest(topic, skill)[:10]}"
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", name)[: LONGEST_NAME - len(end)] + end


def offer(topic: str, skill_id: str, card: "AgentCard", *, is_strict: bool = False) -> Offer:
    """A skill as a function: strict if that is wanted and its schema can be said so, and never too long."""
    skill = next(skill for skill in card.skills if skill.id == skill_id)
    said = [
        f"{card.name}: {card.description}",
        skill.description,
        *(f"For example: {one}" for one in skill.examples[:2]),
    ]
    description = "\n".join(dict.fromkeys(text for text in said if text))[:LONGEST_DESCRIPTION]
    parameters, wrapped = parameters_of(card.schemas(skill_id)[0])
    parameters = small(parameters, LONGEST_PARAMETERS)
    shown = strict(parameters) if is_strict else None
    function = Function(function_name(topic, skill_id), description, shown or parameters, strict=shown is not None)
    return Offer(topic, skill_id, function, parameters, wrapped)


def parameters_of(schema: Mapping[str, Any] | None) -> tuple[dict[str, Any], bool]:
    """An input schema as parameters, which are always an object's, and whether the input had to be wrapped for that.

    A skill without a schema takes a text.
    """
    if schema is None:
        text = {"type": "string", "description": "What is wanted, in words."}
        return {"type": "object", "properties": {FREE_TEXT: text}, "required": [FREE_TEXT]}, False
    whole = {key: value for key, value in resolved(schema, schema).items() if not _is_odd(key, value)}
    definitions = {key: schema[key] for key in ("$defs", "definitions") if isinstance(schema.get(key), Mapping)}
    if whole.get("type", "object") == "object" and ("properties" in whole or whole.get("type")):
        return {"properties": {}} | whole | definitions | {"type": "object"}, False
    if not whole:
        return {"type": "object", "properties": {}}, False
    inner = {key: value for key, value in whole.items() if key not in definitions}
    return {"type": "object", "properties": {WHOLE_INPUT: inner}, "required": [WHOLE_INPUT]} | definitions, True


def _is_odd(key: str, value: Any) -> bool:
    """Whether to leave this out: a card from elsewhere may hold anything."""
    return (
        key == "$schema"
        or (key in ("properties", "$defs", "definitions") and not isinstance(value, Mapping))
        or (key == "required" and not isinstance(value, list))
    )
