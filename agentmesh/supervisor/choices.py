"""Enumerations: which of its values a text names, by the value itself or by what the schema says of it."""

import re
from collections.abc import Mapping
from typing import Any

MOST_CHOICES = 200
_LABEL = re.compile(r"[㐀-鿿]+|[a-zA-Z][a-zA-Z'-]{2,}")
_EMPTY = frozenset({"and", "the", "for", "with", "means", "表示", "或", "和"})


def choices_of(schema: Mapping[str, Any], described: str = "") -> dict[Any, list[str]]:
    """The values that a schema enumerates, each with the words for it; empty if it enumerates nothing.

    Words for a value stand in the `title` or `description` beside its `const`, or after it in the description of the
    parameter: “heat 制热, cool 制冷”. `described` is the description of the array around, if any.
    """
    options = schema.get("oneOf") or schema.get("anyOf")
    if isinstance(options, list) and options and all(isinstance(one, Mapping) and "const" in one for one in options):
        told = {_key(one["const"]): f"{one.get('title', '')} {one.get('description', '')}" for one in options}
        values = [one["const"] for one in options]
    elif "const" in schema or isinstance(schema.get("enum"), list):
        values = [schema["const"]] if "const" in schema else schema["enum"]
        told = _told(values, f"{schema.get('description', '')} {described}")
    else:
        return {}
    plain = [one for one in values[:MOST_CHOICES] if isinstance(one, str | int | float) and not isinstance(one, bool)]
    return {value: _words(str(value), told.get(_key(value), "")) for value in plain if str(value)}


def named(choices: Mapping[Any, list[str]], text: str) -> list[tuple[int, Any]]:
    """The values that a text names and where, in order; of two words at one place the longer one counts."""
    found: list[tuple[int, int, Any]] = []
    for value, labels in choices.items():
        for label in dict.fromkeys(labels):
            found += [(match.start(), -match.end(), value) for match in _word(label).finditer(text)]
    kept: list[tuple[int, Any]] = []
    end = 0
    for begin, negative_end, value in sorted(found, key=lambda each: each[:2]):
        if begin >= end:
            kept.append((begin, value))
            end = -negative_end
    return kept


def _told(values: list[Any], description: str) -> dict[str, str]:
    """What the description says after each value, up to the next one."""
    places = []
    for value in values[:MOST_CHOICES]:
        match = _word(str(value)).search(description) if isinstance(value, str) and value else None
        if match:
            places.append((match.start(), match.end(), value))
    places.sort()
    ends = [*(begin for begin, _, _ in places[1:]), len(description)][: len(places)]
    return {_key(value): description[begin:end] for (_, begin, value), end in zip(places, ends, strict=True)}


def _words(value: str, told: str) -> list[str]:
    """The words for a value; a single letter is none if there are others, since “a” is everywhere."""
    labels = _labels(told)
    own = [value, value.replace("_", " ")]
    return labels if labels and len(value) == 1 and value.isascii() else [*own, *labels]


def _labels(text: str) -> list[str]:
    return [label for label in _LABEL.findall(text[:200]) if label.lower() not in _EMPTY]


def _word(word: str) -> re.Pattern[str]:
    """A pattern for a word; a Latin one stands by itself, in one or many."""
    pattern = re.escape(word)
    if word.isascii():
        pattern = rf"(?<![a-zA-Z0-9]){pattern}(?:e?s)?(?![a-zA-Z0-9])"
    return re.compile(pattern, re.IGNORECASE)


def _key(value: Any) -> str:
    return f"{type(value).__name__}:{value}"
