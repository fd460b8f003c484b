"""What a message of A2A asks of an agent of ours: which skill, with which input."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from agentmesh.a2a.rocketmq.rpc import INVALID_PARAMS, WRONG_CONTENT_TYPE, RpcError

_LONGEST: Final = 256
_NAMES: Final = ("skill", "skillId")


class SkillLike(Protocol):
    """As much of a skill as is looked at here."""

    input_schema: dict[str, Any]


class Wish(msgspec.Struct, frozen=True):
    """A message as it was sent. `task` is the call that it goes on with, `blocks` whether the sender waits for the
    result; `text` is that of all text parts, None without any.
    """

    text: str | None
    data: tuple[dict[str, Any], ...]
    skill: str = ""
    task: str = ""
    context: str = ""
    blocks: bool = True


def read_wish(params: Mapping[str, Any]) -> Wish:
    """The message in the params of `message/send` and `message/stream`. Raises `RpcError`."""
    message = params.get("message")
    if not isinstance(message, dict):
        raise RpcError(INVALID_PARAMS, "params.message is missing: {role, parts, messageId}.")
    parts = message.get("parts")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise RpcError(INVALID_PARAMS, "params.message.parts is a list of objects.")
    texts: list[str] = []
    data: list[dict[str, Any]] = []
    for part in parts:
        kind = part.get("kind") or part.get("type") or next((each for each in ("text", "data") if each in part), "")
        content = part.get(kind) if kind in ("text", "data") else None
        if kind == "text" and isinstance(content, str):
            texts.append(content)
        elif kind == "data" and isinstance(content, dict):
            data.append(content)
        else:
            raise RpcError(
                WRONG_CONTENT_TYPE, f"A {str(kind)[:40]!r} part cannot be used: send text, or data, a JSON object."
            )
    configuration = params.get("configuration")
    blocking = configuration.get("blocking") if isinstance(configuration, dict) else None
    return Wish(
        "\n".join(texts) if texts else None,
        tuple(data),
        _named(message, params),
        _text(message, "taskId"),
        _text(message, "contextId"),
        blocking is not False,
    )


def read_task_id(params: Mapping[str, Any]) -> str:
    """The task that `tasks/…` is about. Raises `RpcError`."""
    found = _text(params, "id")
    if not found:
        raise RpcError(INVALID_PARAMS, "params.id is missing: the id of a task.")
    return found


def choose(wish: Wish, skills: Mapping[str, SkillLike], topic: str) -> tuple[str, dict[str, Any]]:
    """The skill and its input. Raises `RpcError` that says what is wanted."""
    known = sorted(skills)
    if wish.skill and wish.skill not in skills:
        text = f"{topic} has no skill {wish.skill!r}. Its skills: {', '.join(known)}."
        raise RpcError(INVALID_PARAMS, text, {"skills": known})
    if not wish.skill and len(known) != 1:
        text = f'{topic} has several skills: name one in message.metadata, as {{"skill": …}}. {", ".join(known)}.'
        raise RpcError(INVALID_PARAMS, text, {"skills": known})
    skill = wish.skill or known[0]
    return skill, _input(wish, skill, skills[skill].input_schema)


def _input(wish: Wish, skill: str, schema: dict[str, Any]) -> dict[str, Any]:
    if len(wish.data) == 1:
        return wish.data[0]
    required = schema.get("required") or []
    parameter = _only_text(schema, required)
    if not wish.data and wish.text is None and not required:
        return {}
    if wish.data or wish.text is None or parameter is None:
        raise RpcError(INVALID_PARAMS, _wanted(skill, parameter), {"skill": skill, "input": schema})
    return {parameter: wish.text}


def _only_text(schema: dict[str, Any], required: list[str]) -> str | None:
    """The required parameter that is a string, if that is the only required one."""
    if len(required) != 1:
        return None
    kind = (schema.get("properties") or {}).get(required[0])
    return required[0] if isinstance(kind, dict) and kind.get("type") == "string" else None


def _wanted(skill: str, parameter: str | None) -> str:
    if parameter is None:
        return f"{skill} wants one data part that fits its input schema: a text alone does not tell its parameters."
    return f"{skill} wants one data part that fits its input schema, or a text, which becomes its {parameter!r}."


def _named(message: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    for holder in (message.get("metadata"), params.get("metadata")):
        if isinstance(holder, dict):
            named = next((_text(holder, name) for name in _NAMES if holder.get(name)), "")
            if named:
                return named
    return ""


def _text(holder: Mapping[str, Any], name: str) -> str:
    """A short text that need not be there. Raises `RpcError` for anything else."""
    value = holder.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
        raise RpcError(INVALID_PARAMS, f"{name} is a text of {_LONGEST} characters at most.")
    return value
