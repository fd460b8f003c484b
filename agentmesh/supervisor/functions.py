"""Skills as functions of a language model, and back."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from agentmesh.catalog import LexicalCatalog
from agentmesh.catalog.lexical import preferred
from agentmesh.contracts import Function, Registration
from agentmesh.ids import digest

if TYPE_CHECKING:
    from agentmesh.card import AgentCard

MOST_FUNCTIONS = 128
LONGEST_NAME = 64
LONGEST_DESCRIPTION = 1024
"""OpenAI's limits."""

WHOLE_INPUT = "input"
"""The parameter that holds the whole input of a skill that takes something else than a JSON object."""
FREE_TEXT = "request"

_PLAIN = re.compile(r"[a-zA-Z0-9_]+\Z")


class Offer(msgspec.Struct, frozen=True):
    """A skill as a function. `wrapped`: the input is the parameter `input`, not the object of all parameters."""

    topic: str
    skill: str
    function: Function
    wrapped: bool = False

    def input(self, arguments: Mapping[str, Any]) -> Any:
        """What the skill gets for these arguments."""
        return arguments.get(WHOLE_INPUT) if self.wrapped else dict(arguments)


def offers(goal: str, agents: Iterable[Registration], most: int = MOST_FUNCTIONS) -> dict[str, Offer]:
    """The functions for a goal, by name and in the order of names; if there are too many, those that fit it best."""
    skills = {(one.topic, skill.id): one.card for one in preferred(agents) for skill in one.card.skills}
    if len(skills) > most:
        hits = LexicalCatalog(agents).search(goal, most)
        fitting = dict.fromkeys((hit.topic, hit.skill) for hit in hits)
        kept = list(dict.fromkeys([*fitting, *sorted(skills)]))[:most]
    else:
        kept = list(skills)
    made = {one.function.name: one for one in (_offer(*each, skills[each]) for each in kept)}
    return {name: made[name] for name in sorted(made)}


def functions(offered: Mapping[str, Offer]) -> Sequence[Function]:
    """What the model is given."""
    return [offer.function for offer in offered.values()]


def function_name(topic: str, skill: str) -> str:
    """`WeatherAgentTask-forecast`: at most 64 of `[a-zA-Z0-9_-]`, the same for ever, different for different skills.

    Where plain joining would be too long, hold other characters or be ambiguous, the end is a digest.
    """
    name = f"{topic}-{skill}"
    if _PLAIN.match(skill) and len(name) <= LONGEST_NAME:
        return name
    end = f"-{digest(topic, skill)[:10]}"
    return re.sub(r"[^a-zA-Z0-9_-]+", "_", name)[: LONGEST_NAME - len(end)] + end


def _offer(topic: str, skill_id: str, card: "AgentCard") -> Offer:
    skill = next(skill for skill in card.skills if skill.id == skill_id)
    said = [
        f"{card.name}: {card.description}",
        skill.description,
        *(f"For example: {one}" for one in skill.examples[:2]),
    ]
    description = "\n".join(dict.fromkeys(text for text in said if text))[:LONGEST_DESCRIPTION]
    parameters, wrapped = parameters_of(card.schemas(skill_id)[0])
    return Offer(topic, skill_id, Function(function_name(topic, skill_id), description, parameters), wrapped)


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


def resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a local `$ref` (`#/$defs/Forecast`) stands for; anything else as it is, and no schema as `{}`."""
    for _ in range(8):
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        target: Any = root
        for part in reference[2:].split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            target = target.get(part) if isinstance(target, Mapping) else None
        schema = target
    return schema if isinstance(schema, Mapping) else {}
