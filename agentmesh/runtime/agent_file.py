"""agent.yaml: the model of what may stand in it, which also makes schemas/agent.schema.json, and how it is read."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from agentmesh.contracts import Delivery, Rate, RetryOn
from agentmesh.document import Document, Mistake, did_you_mean, read_document, shown
from agentmesh.errors import DeclarationError
from agentmesh.ids import TOPIC
from agentmesh.runtime.skills import SKILL_ID
from agentmesh.schema import schema_mistakes, steps_of

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

AGENT_FILE: Final = "agent.yaml"
CLASS: Final = r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$"
"""module:Name"""

_TOPIC, _SKILL_ID = (f"^{each.pattern.removesuffix(chr(92) + 'Z')}$" for each in (TOPIC, SKILL_ID))
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"
_RATE: Final = r"^[1-9][0-9]{0,8}/[smh]$"
_LATER: Final = {"": ("model", "instructions", "tools")}
"""Keys of the format that this version does not know what to do with."""


def duration(value: Any) -> float:
    """Seconds of a number, or of a text such as `500ms`, `30s`, `10m`, `2h`, `1d`. Raises `ValueError`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str) or not re.fullmatch(_DURATION, value):
        raise ValueError(f"{_kind_of(value)} is no duration: write seconds, or 500ms, 30s, 10m, 2h, 1d")
    number, unit = re.split(r"(?<=[0-9])(?=[a-z])", value)
    return float(number) * _UNITS[unit]


def rate(value: Any) -> Rate:
    """The rate that a text such as `50/s`, `100/m` or `1000/h` says. Raises `ValueError`."""
    if not isinstance(value, str) or not re.fullmatch(_RATE, value):
        raise ValueError(
            f"{_kind_of(value)} is no rate: write how many in a second, minute or hour: 50/s, 100/m, 1000/h"
        )
    count, unit = value.split("/")
    return Rate(int(count), _UNITS[unit])


def _rule(value: Any) -> Any:
    """A name alone is a rule too."""
    if not isinstance(value, str | dict):
        raise ValueError(
            f"{_kind_of(value)} names no error: write its class's name, or {{error: TimeoutError, attempts: 5}}"
        )
    return {"error": value} if isinstance(value, str) else value


Duration = Annotated[
    float,
    BeforeValidator(duration),
    Field(ge=0),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION}]}),
]
RateText = Annotated[Any, BeforeValidator(rate), WithJsonSchema({"type": "string", "pattern": _RATE})]
JsonSchema = Annotated[
    dict[str, Any], WithJsonSchema({"type": "object", "$ref": "https://json-schema.org/draft/2020-12/schema"})
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RetryOnPart(_Part):
    """An error after which a handler gets another attempt, with what holds for it instead."""

    error: str = Field(min_length=1, description="The name of its class, or of a base of it.")
    attempts: int | None = Field(None, ge=1, description="Attempts that may raise.")
    backoff: Duration | None = Field(None, description="The first pause.")
    max: Duration | None = Field(None, description="The longest pause.")


RetryRule = Annotated[RetryOnPart, BeforeValidator(_rule, json_schema_input_type=str | RetryOnPart)]


class RetryPart(_Part):
    """When a task gets another attempt."""

    lost: int | None = Field(None, ge=0, description="Attempts whose worker died (0: no limit; default 3).")
    on: list[RetryRule] | None = Field(
        None, description="The errors after which a handler gets another attempt: names, or names with rules."
    )
    attempts: int | None = Field(None, ge=1, description="Attempts that may raise one of those errors (default 3).")
    backoff: Duration | None = Field(None, description="The first pause; it doubles with each attempt (default 1s).")
    max: Duration | None = Field(None, description="The longest pause (default 60s).")


class QuotaPart(_Part):
    """How much of the topic may be in hand."""

    total: int | None = Field(None, ge=0, description="Tasks of all tenants (0: no limit, the default).")
    per_tenant: int | None = Field(None, ge=0, description="Tasks of each tenant (0: no limit, the default).")
    over: Literal["queue", "refuse"] | None = Field(
        None, description="queue (default): so many run, others wait. refuse: so many are unfinished, more are refused."
    )


class DeliveryPart(_Part):
    """How the agent's tasks are handed out."""

    concurrency: int | None = Field(None, ge=1, description="Handlers at once in one worker (default 8).")
    timeout: Duration | None = Field(None, description="The longest that one attempt may take (0: none; default 10m).")
    lease: Annotated[Duration, Field(gt=0)] | None = Field(
        None, description="How long a silent worker keeps a task (default 30s)."
    )
    retry: RetryPart | None = None
    rate: RateText | None = Field(
        None, description="How many tasks begin in a time, over all workers: 50/s, 100/m, 1000/h."
    )
    quota: QuotaPart | None = None
    aging: Duration | None = Field(
        None, description="A task that waits gains a level of priority in this time (0: never; default 60s)."
    )
    priority: bool | None = Field(
        None, description="On rocketmq://: hand tasks out by priority, not only by age. Other meshes always do."
    )
    isolate: Literal["tenant"] | None = Field(
        None, description="On rocketmq://: a lane for each tenant, served in turns. Other meshes always serve in turns."
    )


class SkillPart(_Part):
    """One thing that the agent can do; it refers to the class's method or `@skill` of that id."""

    id: str = Field(pattern=_SKILL_ID, description="The method's name, or the id that its @skill gives.")
    name: str | None = Field(None, description="The display name, in any script.")
    description: str | None = Field(None, description="What it does; by default the method's docstring.")
    tags: list[str] | None = Field(None, description="Words to find it by.")
    examples: list[str] | None = Field(None, description="Requests in people's words; search finds the skill by them.")
    input: JsonSchema | None = Field(
        None, description="JSON Schema of the input, an object: its properties are the method's parameters."
    )
    output: JsonSchema | None = Field(None, description="JSON Schema of the result.")
    confirm: bool | None = Field(None, description="Whether a person approves each call that a supervisor makes.")


class AgentFile(_Part):
    """An agent of agentmesh."""

    topic: str | None = Field(
        None,
        pattern=_TOPIC,
        description='A letter, then up to 63 of letters, digits, "_", "-". Default: name + "Task".',
    )
    name: str | None = Field(None, min_length=1, description="The display name, in any script.")
    version: str | None = Field(None, pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$", description="Default 1.0.0.")
    description: str | None = Field(None, description="What the agent is good for; by default the class's docstring.")
    class_: str = Field(
        alias="class",
        pattern=CLASS,
        description="module:Name, a Python file beside this one, or an installed module.",
    )
    skills: list[SkillPart] | None = Field(None, description="What to add to the class's own skills.")
    delivery: DeliveryPart | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of an agent.yaml; with mistakes, there is no `content`."""

    path: Path
    document: Document
    content: AgentFile | None
    mistakes: list[Mistake]

    def error(self, mistake: Mistake) -> DeclarationError:
        """The mistake with path, line and field."""
        return DeclarationError(mistake.message, path=str(self.path), line=mistake.line, field=mistake.field)


def read_agent_file(path: Path) -> Reading:
    """The agent.yaml at `path`, with everything that is wrong with it."""
    document = read_document(path)
    mistakes = list(document.mistakes)
    content = None
    if document.data is not None or not mistakes:
        try:
            content = AgentFile.model_validate(document.data)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            mistakes += [document.mistake(_text(each), each["loc"]) for each in found]
        mistakes += _skill_mistakes(document)
    return Reading(path, document, None if mistakes else content, mistakes)


_PARTS: Final[dict[str, type[BaseModel]]] = {
    "": AgentFile,
    "skills": SkillPart,
    "delivery": DeliveryPart,
    "delivery.retry": RetryPart,
    "delivery.retry.on": RetryOnPart,
    "delivery.quota": QuotaPart,
}
_TEXTS: Final = {
    "bool_type": "true or false is wanted",
    "dict_type": "a mapping is wanted",
    "int_type": "a whole number is wanted",
    "list_type": "a list is wanted",
    "model_type": "a mapping is wanted",
}
_PATTERNS: Final = {
    "topic": "use a letter, then up to 63 letters, digits, '_' or '-'; the display name belongs in `name`",
    "version": "use up to 64 letters, digits, '.', '+', '_' or '-', such as 1.0.0",
    "class": "write module:Name, such as agent:TravelAgent",
    "over": "use queue or refuse",
    "id": "use a letter, then up to 63 letters, digits, '_' or '-', such as the name of the method",
}


def _text(details: "ErrorDetails") -> str:
    """What is wrong, in the words of somebody who writes YAML."""
    steps, kind, value = details["loc"], details["type"], details["input"]
    last = str(steps[-1]) if steps else ""
    if kind == "extra_forbidden":
        return _unknown_key(".".join(step for step in steps[:-1] if isinstance(step, str)), last)
    if kind == "missing":
        return f"`{last}` is missing" + (f": {_PATTERNS[last]}." if last in _PATTERNS else ".")
    if kind in ("string_pattern_mismatch", "literal_error"):
        return f"{_kind_of(value)} cannot stand here: {_PATTERNS[last]}."
    if kind == "string_type" and isinstance(value, int | float):
        return f"a text is wanted, and this is read as {json.dumps(value)}: put it in quotes."
    if kind == "string_type":
        return f"a text is wanted, not {_kind_of(value)}."
    if kind in _TEXTS:
        return f"{_TEXTS[kind]}, not {_kind_of(value)}."
    return details["msg"].removeprefix("Value error, ") + "."


def _unknown_key(part: str, key: str) -> str:
    if key in _LATER.get(part, ()):
        return f"'{key}' is not supported yet."
    fields = _PARTS[part].model_fields
    known = [field.alias or name for name, field in fields.items()]
    return f"there is no key '{shown(key)}' here." + (did_you_mean(key, known) or f" Keys are: {', '.join(known)}.")


def _kind_of(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"'{shown(value)}'" if isinstance(value, str) else json.dumps(value)


def _skill_mistakes(document: Document) -> Iterator[Mistake]:
    """What the model cannot tell: ids that stand twice, and schemas that are none."""
    data = document.data if isinstance(document.data, dict) else {}
    skills = data.get("skills")
    ids: dict[str, int] = {}
    for position, skill in enumerate(skills if isinstance(skills, list) else ()):
        if not isinstance(skill, dict):
            continue
        place = ("skills", position)
        name = skill.get("id")
        if isinstance(name, str) and ids.setdefault(name, position) != position:
            first = document.line(("skills", ids[name], "id"))
            yield document.mistake(f"there are two skills {name!r}; the first is in line {first}.", (*place, "id"))
        for key in ("input", "output"):
            if isinstance(schema := skill.get(key), dict):
                yield from _schema_mistakes(document, schema, (*place, key))


def _schema_mistakes(document: Document, schema: dict[str, Any], place: tuple[str | int, ...]) -> Iterator[Mistake]:
    found = schema_mistakes(schema)
    for misfit in found:
        yield document.mistake(f"{misfit.why}.", (*place, *steps_of(misfit.pointer, schema)))
    if not found and place[-1] == "input" and schema.get("type", "object") != "object":
        yield document.mistake("an input is an object: its properties are the method's parameters.", (*place, "type"))


def delivery_of(part: DeliveryPart | None, base: Delivery) -> Delivery:
    """`base` with what the YAML says otherwise."""
    import msgspec

    if part is None:
        return base
    changes = part.model_dump(exclude_none=True)
    retry, quota = changes.pop("retry", {}), changes.pop("quota", {})
    if "on" in retry:
        retry["on"] = tuple(RetryOn(**rule) if len(rule) > 1 else rule["error"] for rule in retry["on"])
    return msgspec.structs.replace(
        base,
        **changes,
        retry=msgspec.structs.replace(base.retry, **retry),
        quota=msgspec.structs.replace(base.quota, **quota),
    )
