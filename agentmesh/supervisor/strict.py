"""Schemas as models take them: strict, where an endpoint holds the model to them, and small enough to be paid for.

The rules of strict functions: every object is closed and all of its properties are required; what was optional takes
null. Of the keywords only those in `_KEPT` are allowed (https://platform.openai.com/docs/guides/structured-outputs,
“Supported schemas”); what others say moves into the description.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agentmesh.supervisor.references import resolved

MOST_PROPERTIES = 5000
MOST_LEVELS = 10
MOST_VALUES = 1000
"""OpenAI's limits of a strict schema: properties, levels of nesting, values of enumerations."""
LONGEST_TOLD = 300

_KEPT = frozenset({"type", "properties", "required", "additionalProperties", "items", "enum", "anyOf", "$ref"})
_KEPT |= {"$defs", "definitions", "description", "pattern", "format", "multipleOf", "minimum", "maximum"}
_KEPT |= {"exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"}
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_SILENT = frozenset({"title", "$schema", "$id", "$comment", "deprecated", "readOnly", "writeOnly", "$anchor"})
_CHANGES_MEANING = frozenset(
    {"not", "if", "then", "else", "patternProperties", "prefixItems", "dependentSchemas", "unevaluatedProperties"}
)


class _CannotBeStrictError(Exception):
    """The schema allows what no strict one can say."""


def strict(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameters for a strict function; `None` if they cannot be said so: open objects, anything at all, tuples."""
    try:
        made = _Strict(parameters).schema(parameters, 1)
    except _CannotBeStrictError:
        return None
    return made


def without_nulls(value: Any, schema: Any, root: Mapping[str, Any]) -> Any:
    """What a model gave for strict parameters as the schema before wants it: without the nulls that say “left out”."""
    schema = resolved(schema, root)
    if isinstance(value, list):
        return [without_nulls(item, schema.get("items", {}), root) for item in value]
    properties = schema.get("properties")
    if not isinstance(value, Mapping) or not isinstance(properties, Mapping):
        return value
    required = schema.get("required") or ()
    return {
        name: without_nulls(each, properties.get(name, {}), root)
        for name, each in value.items()
        if each is not None or name in required
    }


class _Strict:
    """One schema with its definitions, being made strict."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.properties = self.values = 0

    def schema(self, source: Any, level: int) -> dict[str, Any]:
        if not isinstance(source, Mapping) or level > MOST_LEVELS or _CHANGES_MEANING & source.keys():
            raise _CannotBeStrictError
        source = self._merged(source, level)
        made = {key: value for key, value in source.items() if key in _KEPT and key not in ("$defs", "definitions")}
        told = [f"{key}: {_short(value)}" for key, value in source.items() if key not in _KEPT | _SILENT]
        if made.get("format") not in _FORMATS | {None}:
            told.append(f"format: {made.pop('format')}")
        if told:
            made["description"] = f"{made.get('description', '')} ({'; '.join(told)})".strip()[:1024]
        for key in ("$defs", "definitions"):
            if isinstance(source.get(key), Mapping):
                made[key] = {name: self.schema(each, level) for name, each in source[key].items()}
        if "anyOf" in made:
            made["anyOf"] = [self.schema(each, level) for each in made["anyOf"]]
        self._object(source, made, level)
        self._array(source, made, level)
        self.values += len(made.get("enum", ()))
        says = {"type", "enum", "anyOf", "$ref"} & made.keys()
        if not says or self.values > MOST_VALUES:
            raise _CannotBeStrictError
        return made

    def _merged(self, source: Mapping[str, Any], level: int) -> dict[str, Any]:
        """Without `const`, `oneOf`, `allOf` of one, and without anything beside a reference."""
        merged = dict(source)
        if "const" in merged:
            merged["enum"] = [merged.pop("const")]
        if "oneOf" in merged and "anyOf" not in merged:
            merged["anyOf"] = merged.pop("oneOf")
        parts = merged.pop("allOf", [])
        if len(parts) == 1 and isinstance(parts[0], Mapping):
            merged = {**parts[0], **merged}
        elif parts:
            raise _CannotBeStrictError
        if "$ref" in merged:
            beside = merged.keys() - {"$ref"} - _SILENT - {"$defs", "definitions"}
            if beside or level == 1:
                target = resolved(merged, self.root)
                if "$ref" in target or not target:
                    raise _CannotBeStrictError
                merged = {**target, **{key: value for key, value in merged.items() if key != "$ref"}}
        if isinstance(merged.get("anyOf"), list) and level == 1:
            raise _CannotBeStrictError
        return merged

    def _object(self, source: Mapping[str, Any], made: dict[str, Any], level: int) -> None:
        kinds = made.get("type")
        if kinds != "object" and not (isinstance(kinds, list) and "object" in kinds):
            return
        properties = source.get("properties")
        closed = source.get("additionalProperties") is False
        if not isinstance(properties, Mapping) or (source.get("additionalProperties") not in (None, False)):
            raise _CannotBeStrictError
        if not properties and not closed and level > 1:
            raise _CannotBeStrictError
        self.properties += len(properties)
        if self.properties > MOST_PROPERTIES:
            raise _CannotBeStrictError
        required = source.get("required") or ()
        made["properties"] = {
            name: self.schema(each, level + 1) if name in required else _or_null(self.schema(each, level + 1))
            for name, each in properties.items()
        }
        made["required"] = list(properties)
        made["additionalProperties"] = False

    def _array(self, source: Mapping[str, Any], made: dict[str, Any], level: int) -> None:
        kinds = made.get("type")
        if kinds == "array" or (isinstance(kinds, list) and "array" in kinds):
            made["items"] = self.schema(source.get("items"), level + 1)


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that takes null too."""
    kinds = schema.get("type")
    if "anyOf" in schema:
        null = {"type": "null"}
        return schema if null in schema["anyOf"] else schema | {"anyOf": [*schema["anyOf"], null]}
    if "$ref" in schema or kinds is None:
        described = {"description": schema.pop("description")} if "description" in schema else {}
        return {"anyOf": [schema, {"type": "null"}]} | described
    with_null = {"type": list(dict.fromkeys([*([kinds] if isinstance(kinds, str) else kinds), "null"]))}
    values = {"enum": [*schema["enum"], None]} if "enum" in schema and None not in schema["enum"] else {}
    return schema | with_null | values


def small(parameters: Mapping[str, Any], most: int) -> dict[str, Any]:
    """The parameters in at most about so many characters of JSON: first without what only explains, then without what
    is inside of the properties, then without the optional ones. What is left out is for the agent to check."""
    for candidate in _smaller(parameters):
        if len(json.dumps(candidate, ensure_ascii=False)) <= most:
            return candidate
    return {"type": "object", "properties": {}}


def _smaller(parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield dict(parameters)
    properties, required = parameters.get("properties", {}), parameters.get("required", [])
    kept = {key: value for key, value in parameters.items() if key not in ("$defs", "definitions")}
    for longest in (200, 60, 0):
        yield kept | {"properties": {name: _outline(each, longest) for name, each in properties.items()}}
    needed = {name: _outline(each, 0) for name, each in properties.items() if name in required}
    yield {"type": "object", "properties": needed, "required": [name for name in required if name in needed]}


def _outline(schema: Any, longest: int) -> dict[str, Any]:
    """Type, format, the first values and the first words of a schema."""
    if not isinstance(schema, Mapping):
        return {}
    outline = {key: schema[key] for key in ("type", "format") if isinstance(schema.get(key), str | list)}
    values = schema.get("enum")
    if isinstance(values, list) and len(_short(values)) < LONGEST_TOLD:
        outline["enum"] = values
    description = schema.get("description")
    if longest and isinstance(description, str):
        outline["description"] = description[:longest]
    return outline


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:LONGEST_TOLD]
