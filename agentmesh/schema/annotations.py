"""The annotations of a function, resolved to types, and errors that say where they stand."""

import inspect
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from agentmesh.errors import DeclarationError

_CONTEXT_TEXT = re.compile(r"""["']?([A-Za-z_][\w.]*\.)?(Blocking)?Context\b""")


class Annotations:
    """Reads one function's annotations. `namespace` holds names beside the module's, such as a caller's locals."""

    def __init__(self, function: Callable[..., Any], namespace: Mapping[str, Any] | None) -> None:
        self._function = inspect.unwrap(function)
        self._globals: dict[str, Any] = getattr(self._function, "__globals__", {})
        self._locals = {**_closure(self._function), **(namespace or {})}

    @property
    def names(self) -> dict[str, Any]:
        """Every name that an annotation may use."""
        return {**self._globals, **self._locals}

    def error(self, parameter: str, text: str) -> DeclarationError:
        """An error at `parameter` ("return": the return type, "": the function)."""
        code = getattr(self._function, "__code__", None)
        path, line = (code.co_filename, code.co_firstlineno) if code else ("", 0)
        what = {"return": "the return type: ", "": ""}.get(parameter, f"parameter {parameter!r}: ")
        name = getattr(self._function, "__qualname__", "").rpartition("<locals>.")[2]
        return DeclarationError(f"{what}{text}.", path=path, line=line, field=name)

    def type_of(self, name: str, annotation: Any) -> Any:
        """The type that an annotation stands for; Any without one. Raises `DeclarationError` if a name is not known."""
        if annotation is inspect.Parameter.empty:
            return Any
        try:
            return self._resolve(annotation)
        except Exception as error:
            why = f"the annotation {annotation!r} cannot be resolved ({error})"
            raise self.error(name, f"{why}; import what it names at the top of the module") from error

    def is_context(self, parameter: inspect.Parameter) -> bool:
        """Whether the parameter receives the `Context`: by its name, or by its annotation, which may be a string."""
        if parameter.name == "ctx":
            return True
        annotation = parameter.annotation
        if isinstance(annotation, str) and not _CONTEXT_TEXT.search(annotation):
            return False
        try:
            return _holds_context(self._resolve(annotation))
        except Exception:  # its name is known to type checkers only: the text tells
            return isinstance(annotation, str) and _CONTEXT_TEXT.match(annotation) is not None

    def _resolve(self, annotation: Any) -> Any:
        holder = SimpleNamespace(__annotations__={"it": annotation})
        return get_type_hints(holder, self._globals, self._locals, include_extras=True)["it"]


def first_line(error: Exception) -> str:
    """What an error says, without its explanations."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _closure(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return dict(inspect.getclosurevars(function).nonlocals)
    except (TypeError, ValueError):  # not a function in Python, or a name that has no value yet
        return {}


def _holds_context(kind: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(_holds_context(each) for each in get_args(kind))
    name, module = getattr(kind, "__name__", ""), getattr(kind, "__module__", "")
    return name in ("Context", "BlockingContext") and module.startswith("agentmesh.")
