"""Where in a value a mistake is, and how several of them read in one message."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from agentmesh.errors import CallFailed

MAX_MISTAKES: Final = 20
_LONGEST_TEXT: Final = 300

Failure = TypeVar("Failure", bound=CallFailed)


class Misfit(NamedTuple):
    """A place where a value does not match, as a JSON pointer (RFC 6901; "" is the whole value), and why."""

    pointer: str
    text: str

    @property
    def why(self) -> str:
        """The text, cut off where it repeats a long value."""
        return self.text if len(self.text) <= _LONGEST_TEXT else f"{self.text[:_LONGEST_TEXT]}…"

    def __str__(self) -> str:
        return f"{self.pointer}: {self.why}" if self.pointer else self.why


def pointer(steps: Iterable[str | int]) -> str:
    """`("skills", 0, "a/b")` as `/skills/0/a~1b`."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def steps_of(place: str, value: Any) -> tuple[str | int, ...]:
    """The way that a pointer shows through `value`: positions in lists are numbers."""
    steps: list[str | int] = []
    for text in place.split("/")[1:]:
        key = text.replace("~1", "/").replace("~0", "~")
        step = int(key) if isinstance(value, list) and key.isdecimal() else key
        steps.append(step)
        try:
            value = value[step]
        except (LookupError, TypeError):
            value = None
    return tuple(steps)


def failure(kind: type[Failure], what: str, misfits: Sequence[Misfit]) -> Failure:
    """The error that lists `misfits`, up to `MAX_MISTAKES` of them."""
    lines = list(dict.fromkeys(str(each) for each in misfits))
    more = "; and more" if len(lines) > MAX_MISTAKES else ""
    return kind(f"{what} does not match its schema: {'; '.join(lines[:MAX_MISTAKES])}{more}")
