"""A skill: a method of an agent with validators made of its types, and of what agent.yaml adds to them."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agentmesh.errors import DeclarationError, InvalidInput
from agentmesh.runtime.agent import SkillMark
from agentmesh.schema import Checked, Misfit, Parameters, Returns, failure, merge

if TYPE_CHECKING:
    from agentmesh.runtime.agent_file import SkillPart

SKILL_ID: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}\Z")


@dataclass(slots=True, kw_only=True)
class Skill:
    """One thing an agent can do.

    `parse` turns a call's input into the handler's keyword arguments, raising `InvalidInput`; `dump` turns what it
    returned into JSON data, raising `InvalidOutput`. `context` names the parameter that the `Context` goes to.
    """

    id: str
    handler: Callable[..., Any]
    parse: Callable[[Any], dict[str, Any]]
    dump: Callable[[Any], Any]
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    confirm: bool = False
    is_async: bool = True
    context: str | None = None


class Contradictions(Exception):
    """The types and the YAML disagree: of each, whether it is about `input` or `output`, and what."""

    def __init__(self, found: list[tuple[str, Misfit]], method: str) -> None:
        super().__init__(f"{method} and its YAML contradict each other")
        self.found = found
        self.method = method


def make_skill(handler: Callable[..., Any], skill_id: str, mark: SkillMark, part: "SkillPart | None" = None) -> Skill:
    """The skill that a bound method is, with what `@skill` and the YAML say of it.

    Raises `DeclarationError` for a method that cannot be a skill, and `Contradictions`.
    """
    _check(handler, skill_id)
    parameters, returns = Parameters(handler, mark.namespace), Returns(handler, mark.namespace)
    source = merge(parameters.schema, part.input) if part and part.input is not None else None
    result = merge(returns.schema or {}, part.output) if part and part.output is not None else None
    found = [("input", each) for each in source.contradictions] if source else []
    found += [("output", each) for each in result.contradictions] if result else []
    if found:
        raise Contradictions(found, place_of(handler))
    return Skill(
        id=skill_id,
        handler=handler,
        parse=_parser(parameters, part.input if part and source and source.stricter else None),
        dump=_dumper(returns, part.output if part and result and result.stricter else None),
        input_schema=source.schema if source else parameters.schema,
        output_schema=result.schema if result else returns.schema,
        name=(part and part.name) or mark.name or skill_id,
        description=_first(part and part.description, mark.description, inspect.getdoc(handler), ""),
        tags=tuple(_first(part and part.tags, mark.tags)),
        examples=tuple(_first(part and part.examples, mark.examples)),
        confirm=_first(part and part.confirm, mark.confirm),
        is_async=any(map(inspect.iscoroutinefunction, (handler, inspect.unwrap(handler)))),
        context=parameters.context,
    )


def place_of(handler: Callable[..., Any]) -> str:
    """Where a method is: `TravelAgent.plan, agent.py:12`."""
    function = inspect.unwrap(handler)
    name = function.__qualname__.rpartition("<locals>.")[2]
    code = getattr(function, "__code__", None)
    return f"{name}, {Path(code.co_filename).name}:{code.co_firstlineno}" if code else name


def _check(handler: Callable[..., Any], skill_id: str) -> None:
    function = inspect.unwrap(handler)
    code = getattr(function, "__code__", None)
    problem = ""
    if not SKILL_ID.match(skill_id):
        problem = f"{skill_id!r} cannot be a skill's id: use a letter, then letters, digits, '_' or '-', 64 at most."
    elif not inspect.isroutine(handler):
        problem = "a skill is a method."
    elif inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        problem = "a skill returns its result once: stream with `await ctx.emit(text)` instead of yield."
    if problem:
        name = getattr(function, "__qualname__", skill_id).rpartition("<locals>.")[2]
        path, line = (code.co_filename, code.co_firstlineno) if code else ("", 0)
        raise DeclarationError(problem, path=path, line=line, field=name)


def _first(*values: Any) -> Any:
    """The first that says something."""
    return next(value for value in values if value is not None)


def _parser(parameters: Parameters, declared: dict[str, Any] | None) -> Callable[[Any], dict[str, Any]]:
    """The types' parser; with a stricter schema declared, both count and all mistakes of both are told."""
    if declared is None:
        return parameters.parse
    checked = Checked(declared)

    def parse(value: Any) -> dict[str, Any]:
        value = {} if value is None else value
        misfits = checked.misfits(value)
        if not misfits:
            return parameters.parse(value)
        places = {each.pointer for each in misfits}
        more = [each for each in parameters.misfits(value) if each.pointer not in places]
        raise failure(InvalidInput, "The input", [*misfits, *more])

    return parse


def _dumper(returns: Returns, declared: dict[str, Any] | None) -> Callable[[Any], Any]:
    if declared is None:
        return returns.dump
    checked = Checked(declared)
    return lambda value: checked.dump(returns.dump(value))
