"""YAML files read safely, each value with its line: plain data only, in YAML 1.2's core types.

PyYAML is used as a parser only. Its own types are YAML 1.1's, where `on` is true, `12:30` is 750 and a tag may name a
Python object. Here `true`, `false`, `null` and numbers are what JSON has too; everything else is text, and so is every
key.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 100_000
"""Counted with aliases written out, so that a few lines of aliases cannot stand for billions of values."""

Steps = tuple[str | int, ...]
"""The way to a value from the top: keys and positions."""

_LONGEST_SHOWN: Final = 80
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    word: value for value, name in ((True, "true"), (False, "false")) for word in (name, name.title(), name.upper())
}
_YAML_TAG: Final = "tag:yaml.org,2002:"
_PLAIN_TAGS: Final = {_YAML_TAG + name for name in ("str", "int", "float", "bool", "null", "seq", "map")} | {"!"}


class Mistake(NamedTuple):
    """What is wrong at `steps` of a file; `line` counts from 1, 0 is the file as a whole."""

    message: str
    line: int = 0
    steps: Steps = ()

    @property
    def field(self) -> str:
        """The place as people write it: `skills[0].input`."""
        return dotted(self.steps)


@dataclass(slots=True)
class Document:
    """A file's plain data and where each of its values stands. With mistakes, `data` is what could be read."""

    path: str
    data: Any = None
    mistakes: list[Mistake] = field(default_factory=list)
    lines: dict[Steps, int] = field(default_factory=dict)

    def line(self, steps: Sequence[str | int]) -> int:
        """The line of the value at `steps`, or else of the nearest value around it."""
        for end in range(len(steps), -1, -1):
            found = self.lines.get(tuple(steps[:end]))
            if found is not None:
                return found
        return 0

    def mistake(self, message: str, steps: Sequence[str | int] = ()) -> Mistake:
        """A mistake at `steps`, with its line."""
        return Mistake(message, self.line(steps), tuple(steps))


def dotted(steps: Iterable[str | int]) -> str:
    """`("skills", 0, "input")` as `skills[0].input`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{shown(step)}" for step in steps).removeprefix(".")


def shown(text: str) -> str:
    """A text from a file as it may stand in a message: not too long, and nothing that a terminal would obey."""
    text = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    return text if text.isprintable() else repr(text)[1:-1]


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """` Did you mean 'topic'?`, or nothing if no known word is near."""
    near = get_close_matches(word, sorted(known), n=1, cutoff=cutoff)
    return f" Did you mean {near[0]!r}?" if near else ""


def read_document(path: Path) -> Document:
    """The YAML document in the file at `path`; a file that cannot be read is a mistake, never an exception."""
    try:
        if path.exists() and not path.is_file():
            return Document(str(path), mistakes=[Mistake("This is no file.")])
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Document(str(path), mistakes=[Mistake(f"The file cannot be read: {reason}.")])
    return parse_document(raw, str(path))


def parse_document(raw: bytes, path: str = "") -> Document:
    """The YAML document in `raw`; whatever is wrong with it is in `mistakes`."""
    document = Document(path)
    try:
        text = _text(raw)
        tree = _Reader(text, document.mistakes).read()
    except _Unreadable as error:
        document.mistakes.append(error.mistake)
        return document
    if tree is not None:
        document.data = _plain(tree, (), document.lines)
        document.lines.setdefault((), tree.line)
    return document


class _Unreadable(Exception):
    """Nothing after this mistake can be read."""

    def __init__(self, message: str, line: int = 0, steps: Steps = ()) -> None:
        super().__init__(message)
        self.mistake = Mistake(message, line, steps)


def _text(raw: bytes) -> str:
    if len(raw) > MAX_BYTES:
        raise _Unreadable(f"The file is larger than {MAX_BYTES // 1_000_000} MB.")
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Unreadable("The file is in UTF-16: save it as UTF-8.", 1)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _Unreadable("This is not a text file in UTF-8.", line) from error
    if "\0" in text:
        raise _Unreadable("This is a binary file, not YAML.", text.count("\n", 0, text.index("\0")) + 1)
    return text


@dataclass(slots=True)
class _Node:
    """A value with its line; `size` counts the values in it, aliases written out."""

    line: int
    value: Any
    size: int = 1


class _Reader:
    """Builds a tree of nodes from PyYAML's events, within the limits above."""

    def __init__(self, text: str, mistakes: list[Mistake]) -> None:
        self._text = text
        self._mistakes = mistakes
        self._anchors: dict[str, _Node | None] = {}
        self._size = 0

    def read(self) -> _Node | None:
        """The tree of the first document, None for an empty file. Raises `_Unreadable`."""
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            return self._document(iter(yaml.parse(self._text, Loader=loader)))
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            raise _Unreadable(f"Character {error.character!r} may not stand in YAML.", line) from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = " ".join(part for part in (error.context, error.problem) if part)
            raise _Unreadable(f"This is not YAML: {problem}.", mark.line + 1 if mark else 0) from error
        except (yaml.YAMLError, ValueError) as error:
            raise _Unreadable(f"This is not YAML: {error}.") from error

    def _document(self, events: Iterator[Any]) -> _Node | None:
        import yaml

        tree = None
        started = False
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if started:
                    raise _Unreadable("A second document begins here: one file, one document.", _line(event))
                started = True
                tree = self._value(next(events), events, ())
        return tree

    def _value(self, event: Any, events: Iterator[Any], steps: Steps) -> _Node:
        import yaml

        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, steps)
        self._count(1, event, steps)
        if len(steps) > MAX_DEPTH:
            raise _Unreadable(f"Values are nested deeper than {MAX_DEPTH} levels.", _line(event), steps[:8])
        if event.tag is not None and event.tag not in _PLAIN_TAGS:
            self._refuse_tag(event, steps)
        if event.anchor:
            self._anchors[event.anchor] = None
        before = self._size
        if isinstance(event, yaml.SequenceStartEvent):
            value: Any = self._sequence(events, steps)
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(events, steps)
        else:
            value = self._scalar(event, steps)
        node = _Node(_line(event), value, 1 + self._size - before)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _sequence(self, events: Iterator[Any], steps: Steps) -> list[_Node]:
        import yaml

        items: list[_Node] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._value(event, events, (*steps, len(items))))
        return items

    def _mapping(self, events: Iterator[Any], steps: Steps) -> dict[str, tuple[int, _Node]]:
        import yaml

        items: dict[str, tuple[int, _Node]] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _Unreadable("A key must be a word, not a list, a mapping or an alias.", _line(event), steps)
            key, line = event.value, _line(event)
            if key in items:
                text = f"This key stands here twice; the first is in line {items[key][0]}."
                self._mistakes.append(Mistake(text, line, (*steps, key)))
            node = self._value(next(events), events, (*steps, key))
            items.setdefault(key, (line, node))
        return items

    def _scalar(self, event: Any, steps: Steps) -> Any:
        if event.tag == "!" or event.tag == f"{_YAML_TAG}str" or (event.tag is None and not event.implicit[0]):
            return event.value
        try:
            return _core(event.value)
        except ValueError as error:
            self._mistakes.append(Mistake(str(error), _line(event), steps))
            return None

    def _alias(self, event: Any, steps: Steps) -> _Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            inside = event.anchor in self._anchors
            text = (
                f"*{event.anchor} stands inside of what it names." if inside else f"There is no &{event.anchor} above."
            )
            raise _Unreadable(text, _line(event), steps)
        self._count(node.size, event, steps)
        return node

    def _count(self, values: int, event: Any, steps: Steps) -> None:
        self._size += values
        if self._size > MAX_VALUES:
            text = f"More than {MAX_VALUES:,} values, with aliases written out."
            raise _Unreadable(text, _line(event), steps[:8])

    def _refuse_tag(self, event: Any, steps: Steps) -> None:
        tag = event.tag.replace(_YAML_TAG, "!!")
        what = "Python objects are not made from YAML" if "python" in tag else "Tags are not supported"
        self._mistakes.append(Mistake(f"{what}: write plain data instead of {tag!r}.", _line(event), steps))


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _core(text: str) -> Any:
    """A plain scalar in YAML 1.2's core schema. Raises `ValueError` for numbers that JSON readers would change."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        if len(text) > 18:
            raise ValueError("This number has more than 18 digits: quote it if it is text.")
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        if not math.isfinite(number := float(text)):
            raise ValueError("This number is too large.")
        return number
    return text


def _plain(node: _Node, steps: Steps, lines: dict[Steps, int]) -> Any:
    """The data of a tree; `lines` gets the line of every value in it."""
    if isinstance(node.value, list):
        for position, item in enumerate(node.value):
            lines[(*steps, position)] = item.line
        return [_plain(item, (*steps, position), lines) for position, item in enumerate(node.value)]
    if isinstance(node.value, dict):
        for key, (line, _) in node.value.items():
            lines[(*steps, key)] = line
        return {key: _plain(item, (*steps, key), lines) for key, (_, item) in node.value.items()}
    return node.value
