"""`Agent` and `skill`: how an agent is written as a class."""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Final, TypeVar, overload

from agentmesh.contracts import Delivery
from agentmesh.errors import DeclarationError

DEFAULT_VERSION: Final = "1.0.0"
_MARK: Final = "__agentmesh_skill__"

Handler = TypeVar("Handler", bound=Callable[..., Any])


class Agent:
    """The base of all agents. Its methods marked `@skill` are what it can do; their types are their JSON Schemas.

    `topic` is by default the class's name + "Task", `name` the class's name, and `description` the docstring.
    """

    topic: str = "AgentTask"
    name: str = ""
    version: str = DEFAULT_VERSION
    description: str = ""
    delivery: Delivery = Delivery()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "topic" not in vars(cls):
            cls.topic = default_topic(cls)
        if "name" not in vars(cls):
            cls.name = cls.__name__


@dataclass(frozen=True, slots=True)
class SkillMark:
    """What `@skill` says of a function; None where it leaves the answer to the function."""

    id: str | None = None
    name: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    confirm: bool = False
    namespace: Mapping[str, Any] = field(default_factory=dict)
    """The names around a function that was defined in a function, for its string annotations."""


@overload
def skill(function: Handler, /) -> Handler: ...
@overload
def skill(
    *,
    id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    examples: Sequence[str] = (),
    confirm: bool = False,
) -> Callable[[Handler], Handler]: ...
def skill(
    function: Handler | None = None,
    /,
    *,
    id: str | None = None,  # noqa: A002
    name: str | None = None,
    description: str | None = None,
    tags: Sequence[str] = (),
    examples: Sequence[str] = (),
    confirm: bool = False,
) -> Handler | Callable[[Handler], Handler]:
    """Make a method, `async def` or `def`, something that the agent can be asked to do.

    `id` is by default the function's name, `description` its docstring. `examples` are requests in people's words: they
    are what search finds the skill by. With `confirm` a person approves each call that a supervisor makes. The method
    can be called as before. Raises `DeclarationError`.
    """

    def mark(function: Handler) -> Handler:
        if not inspect.isfunction(function):
            raise DeclarationError(f"@skill goes directly on a method, not on {function!r}.")
        for what, texts in (("tags", tags), ("examples", examples)):
            if isinstance(texts, str) or not all(isinstance(each, str) for each in texts):
                raise _error(function, f"{what} is a list of texts, not {texts!r}.")
        namespace = _locals_around(function, sys._getframe())
        setattr(function, _MARK, SkillMark(id, name, description, tuple(tags), tuple(examples), confirm, namespace))
        return function

    return mark if function is None else mark(function)


def default_topic(kind: type[Agent]) -> str:
    """The topic of a class that names none."""
    return f"{kind.__name__}Task"


def marked_skills(kind: type[Agent]) -> Iterator[tuple[str, SkillMark]]:
    """The methods of a class that are skills, with their marks; a method that overrides a skill is one too.

    Raises `DeclarationError` for a mark under `@staticmethod` or `@classmethod`.
    """
    marks: dict[str, SkillMark] = {}
    for base in kind.__mro__:
        for attribute, value in vars(base).items():
            if isinstance(value, staticmethod | classmethod) and hasattr(value.__func__, _MARK):
                raise _error(value.__func__, f"@skill goes on a method with self, not on a {type(value).__name__}.")
            found = getattr(value, _MARK, None)
            if isinstance(found, SkillMark):
                marks.setdefault(attribute, found)
    yield from ((attribute, mark) for attribute, mark in marks.items() if callable(getattr(kind, attribute)))


def _error(function: Callable[..., Any], text: str) -> DeclarationError:
    code = function.__code__
    field_ = function.__qualname__.rpartition("<locals>.")[2]
    return DeclarationError(text, path=code.co_filename, line=code.co_firstlineno, field=field_)


def _locals_around(function: Callable[..., Any], frame: FrameType | None) -> dict[str, Any]:
    """The locals of the functions around one whose annotations are strings: gone by the time that it is declared."""
    if "<locals>" not in function.__qualname__:
        return {}
    if not any(isinstance(each, str) for each in function.__annotations__.values()):
        return {}
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    names: dict[str, Any] = {}
    while frame is not None and frame.f_globals is function.__globals__ and frame.f_code.co_name != "<module>":
        names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names
