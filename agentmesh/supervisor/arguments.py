"""Arguments of a call: what they are held against, and what a text gives of them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agentmesh.schema import Checked, schema_mistakes
from agentmesh.supervisor.functions import resolved

TEXT_NAMES = ("request", "goal", "query", "question", "text", "prompt", "message", "input")
"""Parameters that take what was said, in words."""

_DATE = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")
_NUMBER = re.compile(r"(?<![a-zA-Z0-9.])-?\d+(?:\.\d+)?")


def checked(schema: Mapping[str, Any]) -> Checked | None:
    """What to hold arguments against; nothing for a schema that is itself wrong or refers to other documents: what the
    agent makes of it is for the agent to say."""
    return None if schema_mistakes(schema) else Checked(schema)


def fill(parameters: Mapping[str, Any], text: str) -> tuple[dict[str, Any], list[str]]:
    """Arguments from a text, and the names of the required parameters that it does not give.

    A parameter named as in `TEXT_NAMES`, or else the only required string, gets the text itself; an enumeration the
    longest of its values that is in the text; dates (YYYY-MM-DD) and numbers are handed out as they come.
    """
    properties = {name: resolved(each, parameters) for name, each in parameters.get("properties", {}).items()}
    required = [name for name in parameters.get("required", ()) if isinstance(name, str)]
    texts = text_parameters(parameters)
    dates, numbers = iter(_DATE.findall(text)), iter(_NUMBER.findall(_DATE.sub(" ", text)))
    values: dict[str, Any] = {}
    missing = []
    for name in required:
        schema = properties.get(name, {})
        value = text if name in texts else _from_text(schema, text, dates, numbers)
        if value is not None and _fits(name, value, parameters):
            values[name] = value
        elif "default" in schema:
            continue
        else:
            missing.append(name)
    for name in TEXT_NAMES:
        if not texts and name in properties and _is_text(properties[name]):
            values[name] = text
            break
    return values, missing


def text_parameters(parameters: Mapping[str, Any]) -> set[str]:
    """The required parameters that take what was said."""
    properties = parameters.get("properties", {})
    strings = [
        name
        for name in parameters.get("required", ())
        if name in properties and _is_text(resolved(properties[name], parameters))
    ]
    named = {name for name in strings if name in TEXT_NAMES}
    return named or (set(strings) if len(strings) == 1 else set())


def types(schema: Any, root: Mapping[str, Any], depth: int = 8) -> set[str]:
    """The JSON types that a schema allows; empty if it does not say, or not within `depth` steps."""
    schema = resolved(schema, root)
    named = schema.get("type")
    found = {each for each in (named if isinstance(named, list) else [named]) if isinstance(each, str)}
    for branches in (schema.get("anyOf"), schema.get("oneOf")):
        for branch in branches if isinstance(branches, list) and depth else ():
            found |= types(branch, root, depth - 1)
    return found | ({"number"} if "integer" in found else set())


def _fits(name: str, value: Any, parameters: Mapping[str, Any]) -> bool:
    """Whether the parameter's own schema takes the value."""
    definitions = {key: parameters[key] for key in ("$defs", "definitions") if key in parameters}
    alone = checked({"properties": {name: parameters["properties"].get(name, {})}} | definitions)
    return alone is None or not alone.misfits({name: value})


def _is_text(schema: Mapping[str, Any]) -> bool:
    return types(schema, schema) == {"string"} and not {"enum", "const", "format"} & schema.keys()


def _from_text(schema: Mapping[str, Any], text: str, dates: Iterator[str], numbers: Iterator[str]) -> Any:
    choices = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(choices, list):
        found = [one for one in choices if isinstance(one, str) and _is_in(one, text)]
        return max(found, key=len, default=None)
    kinds = types(schema, schema)
    if "string" in kinds and schema.get("format") == "date":
        return next(dates, None)
    if "integer" in kinds:
        return next((int(number) for number in numbers if "." not in number), None)
    if "number" in kinds:
        return next((float(number) if "." in number else int(number) for number in numbers), None)
    return None


def _is_in(word: str, text: str) -> bool:
    """Whether the text holds the word; a Latin one must stand by itself."""
    pattern = re.escape(word)
    if word.isascii():
        pattern = rf"(?<![a-zA-Z0-9]){pattern}(?![a-zA-Z0-9])"
    return bool(word) and re.search(pattern, text, re.IGNORECASE) is not None
