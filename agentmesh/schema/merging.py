"""A skill's JSON Schema from its types and the one from its YAML, brought together or found to contradict."""

from typing import Any, Final, NamedTuple

from agentmesh.schema.places import Misfit, pointer

_WORDS: Final = frozenset({"title", "description", "examples", "$comment", "deprecated", "readOnly", "writeOnly"})
"""What explains and does not constrain: the YAML's word counts."""

_LOWER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"})
_UPPER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"})
_FIXED: Final = frozenset({"const", "format", "default", "contentEncoding", "contentMediaType"})
"""What the types say once and for all."""

_ALL_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_PYTHON: Final = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


class Merged(NamedTuple):
    """`schema` holds what both say. `stricter`: the declared one refuses more than the types alone.

    Each of `contradictions` has the pointer to its place in the declared schema.
    """

    schema: dict[str, Any]
    contradictions: list[Misfit]
    stricter: bool


def merge(own: dict[str, Any], declared: dict[str, Any]) -> Merged:
    """The schema `own` of the types with what `declared` adds to it: words, examples and constraints.

    A property that the types lack, another type, another default and another opinion on what is required contradict.
    Both must be sound (`schema_mistakes`).
    """
    merging = _Merging(own, declared)
    schema = merging.merged(own, declared, ())
    definitions = merging.definitions()
    if definitions:
        schema["$defs"] = definitions
    return Merged(schema, merging.contradictions, merging.stricter)


class _Merging:
    def __init__(self, own: dict[str, Any], declared: dict[str, Any]) -> None:
        self._own = own
        self._declared = declared
        self._open: set[tuple[str, str]] = set()
        self.contradictions: list[Misfit] = []
        self.stricter = False

    def merged(self, own: Any, declared: Any, steps: tuple[str | int, ...]) -> Any:
        """`own` and `declared` at `steps`, with references to definitions written out as far as `declared` goes."""
        pair = (_reference(own), _reference(declared))
        if all(pair) and pair in self._open:
            return own
        self._open.add(pair)
        try:
            own, declared = _followed(own, self._own), _followed(declared, self._declared)
            if not isinstance(own, dict) or not isinstance(declared, dict):
                return self._with_boolean(own, declared, steps)
            return self._with_object(own, declared, steps)
        finally:
            self._open.discard(pair)

    def definitions(self) -> dict[str, Any]:
        """The definitions of both; one name for two things is a contradiction."""
        mine, theirs = self._own.get("$defs", {}), self._declared.get("$defs", {})
        for name in mine.keys() & theirs.keys():
            if mine[name] != theirs[name]:
                self._contradict(("$defs", name), "the types have another definition of this name")
        return {**theirs, **mine}

    def _with_boolean(self, own: Any, declared: Any, steps: tuple[str | int, ...]) -> Any:
        if own is False and declared is not False:
            self._contradict(steps, "the types allow nothing here")
        elif declared is False:
            self.stricter = True
            return False
        return declared if own is True else own

    def _with_object(self, own: dict[str, Any], declared: dict[str, Any], steps: tuple[str | int, ...]) -> Any:
        result = {key: value for key, value in own.items() if key != "$defs"}
        self._compare_types(own, declared, steps)
        self._compare_required(own, declared, steps)
        for key, value in declared.items():
            if key == "$defs":
                continue
            if key == "properties":
                result[key] = self._properties(own, value, (*steps, key))
            elif key == "items" and key in own:
                result[key] = self.merged(own[key], value, (*steps, key))
            elif key == "required":
                result[key] = list(dict.fromkeys([*own.get(key, ()), *value]))
            elif own.get(key, _ABSENT) != value:
                self._keyword(result, key, value, steps)
        return result

    def _properties(self, own: dict[str, Any], declared: dict[str, Any], steps: tuple[str | int, ...]) -> Any:
        known = own.get("properties", {})
        rest = own.get("additionalProperties", "properties" not in own)
        result = dict(known)
        for name, schema in declared.items():
            if name in known:
                result[name] = self.merged(known[name], schema, (*steps, name))
            elif rest is False:
                names = ", ".join(known) or "none"
                self._contradict((*steps, name), f"the types have no such property; they have {names}")
            else:
                result[name] = self.merged(rest, schema, (*steps, name))
                self.stricter = True
        return result

    def _keyword(self, result: dict[str, Any], key: str, value: Any, steps: tuple[str | int, ...]) -> None:
        """Add one keyword that `own` lacks or has otherwise."""
        if key in _WORDS:
            result[key] = value
            return
        if key in result and key in _FIXED:
            self._contradict((*steps, key), f"the types say {result[key]!r}, not {value!r}")
            return
        if key == "additionalProperties" and result.get(key) is False:
            self._contradict((*steps, key), "the types allow no further properties")
            return
        if key == "additionalProperties" and key in result:
            result[key] = self.merged(result[key], value, (*steps, key))
            return
        self.stricter = self.stricter or key != "default"
        if key not in result or key == "type":
            result[key] = value
        elif key in _LOWER or key in _UPPER:
            result[key] = max(result[key], value) if key in _LOWER else min(result[key], value)
        elif key == "enum":
            self._enum(result, value, (*steps, key))
        else:
            result["allOf"] = [*result.get("allOf", ()), {key: value}]

    def _enum(self, result: dict[str, Any], value: list[Any], steps: tuple[str | int, ...]) -> None:
        unknown = [each for each in value if each not in result["enum"]]
        if unknown:
            self._contradict(steps, f"the types do not have {', '.join(map(repr, unknown))}")
        else:
            result["enum"] = value

    def _compare_types(self, own: dict[str, Any], declared: dict[str, Any], steps: tuple[str | int, ...]) -> None:
        mine, theirs = self._types(own, self._own), self._types(declared, self._declared)
        wider = theirs - mine - ({"integer"} if "number" in mine else set())
        if wider and ("type" in declared or not theirs & mine):
            place = (*steps, "type") if "type" in declared else steps
            self._contradict(place, f"the types say {_alternatives(mine)}, not {_alternatives(theirs)}")

    def _compare_required(self, own: dict[str, Any], declared: dict[str, Any], steps: tuple[str | int, ...]) -> None:
        if "required" not in declared:
            return
        mine, theirs = set(own.get("required", ())), set(declared["required"])
        known = own.get("properties", {})
        for name in theirs - mine:
            if name in known:
                self._contradict((*steps, "required"), f"{name!r} may be left out, by the types")
            elif own.get("additionalProperties", not known) is False:
                self._contradict((*steps, "required"), f"{name!r} is required, and the types have no such property")
            else:
                self.stricter = True
        for name in mine - theirs:
            if name in declared.get("properties", {}):
                self._contradict((*steps, "required"), f"{name!r} may not be left out, by the types")

    def _types(self, schema: Any, root: dict[str, Any], depth: int = 0) -> frozenset[str]:
        """The JSON types that a schema can let through, as far as one sees at a glance."""
        schema = _followed(schema, root)
        if not isinstance(schema, dict) or depth > 8:
            return _ALL_TYPES
        found = _ALL_TYPES
        if "type" in schema:
            named = schema["type"]
            found &= frozenset([named] if isinstance(named, str) else named)
        for values in (schema.get("enum"), [schema["const"]] if "const" in schema else None):
            if values is not None:
                found &= frozenset(_PYTHON.get(type(value), "null") for value in values)
        for key in ("anyOf", "oneOf"):
            if key in schema:
                found &= frozenset().union(*(self._types(each, root, depth + 1) for each in schema[key]))
        for each in schema.get("allOf", ()):
            found &= self._types(each, root, depth + 1)
        return found

    def _contradict(self, steps: tuple[str | int, ...], text: str) -> None:
        self.contradictions.append(Misfit(pointer(steps), text))


_ABSENT: Final = object()


def _reference(schema: Any) -> str:
    found = schema.get("$ref", "") if isinstance(schema, dict) else ""
    return found if isinstance(found, str) else ""


def _followed(schema: Any, root: dict[str, Any]) -> Any:
    """`schema` with what its reference leads to written out; what stands beside the reference counts first."""
    seen = set()
    while (reference := _reference(schema)) and reference not in seen:
        seen.add(reference)
        target = _target(reference, root)
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target, **beside} if isinstance(target, dict) else target
    return schema


def _target(reference: str, root: dict[str, Any]) -> Any:
    """What a reference by JSON pointer leads to; of any other, nothing is known."""
    if reference != "#" and not reference.startswith("#/"):
        return {}
    target: Any = root
    for step in reference.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        target = target[int(key)] if isinstance(target, list) else target[key]
    return target


def _alternatives(types: frozenset[str]) -> str:
    return " or ".join(sorted(types)) if types else "nothing"
