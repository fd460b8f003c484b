"""Local references within a JSON Schema."""

from collections.abc import Mapping
from typing import Any


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


def not_null(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """The schema, resolved; of one that takes null or one other thing, the other thing."""
    whole = dict(resolved(schema, root))
    for key in ("anyOf", "oneOf"):
        branches = whole.get(key)
        if isinstance(branches, list):
            others = [each for each in branches if not (isinstance(each, Mapping) and each.get("type") == "null")]
            if len(others) == 1 and len(branches) == 2:
                around = {name: value for name, value in whole.items() if name != key}
                return dict(resolved(others[0], root)) | around
    return whole
