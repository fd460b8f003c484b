"""What a Python file says of its agents, read from its source without running it."""

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_BYTES = 5_000_000


@dataclass(slots=True)
class ClassSource:
    """A class as far as its source tells. `certain` is false where bases or decorators from elsewhere may add to it.

    `methods` are its public names, `skills` the ids of those that are marked `@skill`, inherited ones included.
    `topic` and `version` are those that it gives in plain text.
    """

    name: str
    line: int
    certain: bool = True
    is_agent: bool = False
    methods: set[str] = field(default_factory=set)
    skills: set[str] = field(default_factory=set)
    topic: str = ""
    version: str = ""


@dataclass(slots=True)
class Source:
    """A Python file. `error` is its first syntax error with its line; `names` are those that it has from elsewhere."""

    path: Path
    error: tuple[str, int] | None = None
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    ours: dict[str, str] = field(default_factory=dict)
    """What is imported from agentmesh, by the name it has here."""

    def find(self, name: str) -> ClassSource | None:
        """The class of that name; None if the file defines none."""
        node = self.classes.get(name)
        return self._read(node, frozenset()) if node else None

    def may_have(self, name: str) -> bool:
        """Whether the file may have this name from elsewhere."""
        return name in self.names or "*" in self.names

    def _read(self, node: ast.ClassDef, seen: frozenset[str]) -> ClassSource:
        found = ClassSource(node.name, node.lineno)
        found.certain = not node.decorator_list and not any(each.arg == "metaclass" for each in node.keywords)
        for base in reversed(node.bases):
            self._inherit(found, base, seen | {node.name})
        found.topic = ""
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                self._add_method(found, statement)
            elif isinstance(statement, ast.Assign | ast.AnnAssign):
                _add_value(found, statement)
            elif not isinstance(statement, ast.Expr | ast.Pass | ast.ClassDef):
                found.certain = False
        return found

    def _inherit(self, found: ClassSource, base: ast.expr, seen: frozenset[str]) -> None:
        if self._is_ours(base, "Agent"):
            found.is_agent = True
        elif isinstance(base, ast.Name) and base.id in self.classes and base.id not in seen:
            parent = self._read(self.classes[base.id], seen)
            found.certain = found.certain and parent.certain
            found.is_agent = found.is_agent or parent.is_agent
            found.methods |= parent.methods
            found.skills |= parent.skills
            found.version = parent.version or found.version
        else:
            found.certain = False

    def _add_method(self, found: ClassSource, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if not node.name.startswith("_"):
            found.methods.add(node.name)
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            if not self._is_ours(call.func if call else decorator, "skill"):
                found.certain = False
                continue
            given = [each.value for each in (call.keywords if call else ()) if each.arg in ("id", None)]
            if given and not (isinstance(given[0], ast.Constant) and isinstance(given[0].value, str | None)):
                found.certain = False
            else:
                found.skills.add(_text(given[0]) or node.name if given else node.name)

    def _is_ours(self, node: ast.expr, name: str) -> bool:
        """Whether an expression is `name` of agentmesh, imported by itself or with its module."""
        if isinstance(node, ast.Name):
            return self.ours.get(node.id) == name
        return (
            isinstance(node, ast.Attribute)
            and node.attr == name
            and isinstance(node.value, ast.Name)
            and self.ours.get(node.value.id) == "agentmesh"
        )


def read_source(path: Path) -> Source:
    """What the Python file at `path` says; a file that cannot be read or compiled has an `error`."""
    source = Source(path)
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            source.error = (f"this is no file of at most {MAX_BYTES // 1_000_000} MB", 0)
            return source
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes(), str(path))
    except SyntaxError as error:
        source.error = (f"{type(error).__name__}: {error.msg}", error.lineno or 0)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        source.error = (f"this cannot be read as Python: {getattr(error, 'strerror', None) or error}", 0)
    else:
        for statement in _statements(tree.body):
            _collect(source, statement)
    return source


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, and those under its `if`, `try` and `with`."""
    waiting: list[Any] = list(reversed(body))
    while waiting:
        statement = waiting.pop()
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
            parts = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
            parts += [handler.body for handler in getattr(statement, "handlers", [])]
            waiting += [each for part in reversed(parts) for each in reversed(part)]


def _collect(source: Source, statement: ast.stmt) -> None:
    if isinstance(statement, ast.ClassDef):
        source.classes[statement.name] = statement
    elif isinstance(statement, ast.ImportFrom):
        ours = statement.level == 0 and (statement.module or "").split(".")[0] == "agentmesh"
        for alias in statement.names:
            source.names.add(alias.asname or alias.name)
            if ours:
                source.ours[alias.asname or alias.name] = alias.name
    elif isinstance(statement, ast.Import):
        for alias in statement.names:
            source.names.add(alias.asname or alias.name.partition(".")[0])
            if alias.name == "agentmesh":
                source.ours[alias.asname or alias.name] = alias.name
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        source.names |= set(_targets(statement))


def _add_value(found: ClassSource, statement: ast.Assign | ast.AnnAssign) -> None:
    """`topic` and `version` in plain text; any other name may be a method made elsewhere."""
    for name in _targets(statement):
        if name == "topic":
            found.topic = _text(statement.value)
        elif name == "version":
            found.version = _text(statement.value)
        elif not name.startswith("_"):
            found.methods.add(name)


def _targets(statement: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    yield from (each.id for each in targets if isinstance(each, ast.Name))


def _text(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
