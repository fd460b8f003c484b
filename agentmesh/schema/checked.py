"""Validation against a JSON Schema (2020-12) of one's own."""

import itertools
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, time
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from agentmesh.errors import InvalidInput, InvalidOutput
from agentmesh.schema.places import MAX_MISTAKES, Misfit, failure, pointer

if TYPE_CHECKING:
    from jsonschema import FormatChecker
    from jsonschema.exceptions import ValidationError
    from jsonschema.protocols import Validator

_TYPES: Final = ("array", "boolean", "integer", "null", "number", "object", "string")


class Checked:
    """A JSON Schema that input or output is held against, formats included. `schema_mistakes` tells if it is sound."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = dict(schema)
        self._validator = _validator(self.schema)

    def misfits(self, value: Any) -> list[Misfit]:
        """Every place where `value` does not match, as far as `MAX_MISTAKES` and one more."""
        from referencing.exceptions import Unresolvable

        found = itertools.chain.from_iterable(map(_misfits, self._validator.iter_errors(value)))
        try:
            return list(itertools.islice(found, MAX_MISTAKES + 1))
        except RecursionError:
            return [Misfit("", "is nested too deeply to be held against the schema")]
        except (Unresolvable, ArithmeticError, re.error) as error:
            return [Misfit("", f"cannot be held against the schema: {error}")]

    def parse(self, value: Any) -> dict[str, Any]:
        """The input, if it matches and is an object; None counts as `{}`. Raises `InvalidInput`."""
        value = {} if value is None else value
        if found := self.misfits(value):
            raise failure(InvalidInput, "The input", found)
        if not isinstance(value, dict):
            raise failure(InvalidInput, "The input", [Misfit("", f"an object is wanted, not {type(value).__name__}")])
        return value

    def dump(self, value: Any) -> Any:
        """The output, if it matches. Raises `InvalidOutput`."""
        if found := self.misfits(value):
            raise failure(InvalidOutput, "The output", found)
        return value


def schema_mistakes(schema: Any) -> list[Misfit]:
    """What is wrong with a JSON Schema itself: its form, and references that lead nowhere or out of it."""
    from jsonschema import Draft202012Validator as Draft

    meta = Draft(Draft.META_SCHEMA, format_checker=_formats())
    try:
        errors = itertools.islice(meta.iter_errors(schema), MAX_MISTAKES)
        found = [each for error in errors for each in _type_misfit(error) or _misfits(error)]
        found = found or list(_reference_mistakes(schema))
        if not found:  # a schema that leads to itself without end is told by its first use
            list(_validator(schema).iter_errors(None))
    except RecursionError:
        return [Misfit("", "is nested too deeply, or refers to itself without end")]
    except (ArithmeticError, re.error, ValueError) as error:
        return [Misfit("", f"is no JSON Schema: {error}")]
    return list(dict.fromkeys(found))


def _validator(schema: Any) -> "Validator":
    """A validator that never fetches anything: jsonschema's default would, for references to other addresses."""
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(schema, registry=Registry(), format_checker=_formats())


def _misfits(error: "ValidationError") -> Iterator[Misfit]:
    """Missing and surplus properties are mistakes of their own places, not of the object around them."""
    from jsonschema.exceptions import best_match

    path = list(error.absolute_path)
    value: Any = error.instance
    schema: Any = error.schema
    if error.validator == "required":
        missing = [name for name in schema["required"] if name not in value]
        yield from (Misfit(pointer([*path, name]), "Field required") for name in missing)
    elif error.validator == "additionalProperties" and schema["additionalProperties"] is False:
        patterns = schema.get("patternProperties", ())
        for name in sorted(value.keys() - schema.get("properties", {}).keys()):
            if not any(re.search(pattern, name) for pattern in patterns):
                yield Misfit(pointer([*path, name]), "Extra inputs are not permitted")
    elif error.context and (nearest := best_match([error])) not in (None, error):
        yield from _misfits(nearest)
    else:
        yield Misfit(pointer(path), error.message)


def _type_misfit(error: "ValidationError") -> list[Misfit]:
    """A type that JSON Schema does not have: the commonest mistake, and the metaschema's worst explained."""
    path = list(error.absolute_path)
    if error.validator != "anyOf" or path[-1:] != ["type"] or not isinstance(error.instance, str):
        return []
    return [Misfit(pointer(path), f"{error.instance!r} is no type: there are {', '.join(_TYPES)}")]


def _reference_mistakes(schema: Any) -> Iterator[Misfit]:
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = DRAFT202012.create_resource(schema)
    registry = Registry().with_resource(resource.id() or "", resource)
    resolver = registry.resolver(resource.id() or "")
    for part in _subschemas(schema):
        reference = part.get("$ref")
        if not isinstance(reference, str):
            continue
        if not reference.startswith("#"):
            yield Misfit("", f"refers to {reference!r}: nothing outside of the schema is fetched, use #/$defs/…")
            continue
        try:
            resolver.lookup(reference)
        except Unresolvable:
            yield Misfit("", f"refers to {reference!r}, which is not there")


def _subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    from referencing.jsonschema import DRAFT202012

    if isinstance(schema, dict):
        yield schema
        for part in DRAFT202012.create_resource(schema).subresources():
            yield from _subschemas(part.contents)


@cache
def _formats() -> "FormatChecker":
    """jsonschema's formats, and those that it knows only with further packages."""
    from jsonschema import Draft202012Validator, FormatChecker

    formats = FormatChecker(())
    formats.checkers = dict(Draft202012Validator.FORMAT_CHECKER.checkers)
    formats.checks("date-time", raises=ValueError)(_is_date_time)
    formats.checks("time", raises=ValueError)(_is_time)
    formats.checks("uri", raises=ValueError)(_is_uri)
    return formats


def _is_date_time(value: object) -> bool:
    """RFC 3339, section 5.6: a date, a T, a time and an offset."""
    return not isinstance(value, str) or (value[10:11] in "Tt" and datetime.fromisoformat(value).tzinfo is not None)


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or time.fromisoformat(value).tzinfo is not None


def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or (bool(urlsplit(value).scheme) and not re.search(r"[\s<>\"{}|\\^`]", value))
