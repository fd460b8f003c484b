"""What OpenAI refuses in a chat completion request, as far as programs get it wrong."""

import re
from collections.abc import Mapping
from typing import Any

MOST_FUNCTIONS = 128
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}\Z")
_ROLES = ("system", "developer", "user", "assistant", "tool")


def problem(body: Any) -> str:
    """What is wrong with the body of a request, in words; "" if nothing is."""
    if not isinstance(body, Mapping):
        return "The body is not a JSON object."
    if not isinstance(body.get("model"), str) or not body["model"]:
        return "you must provide a model parameter"
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return "'messages' must be a list of at least one message."
    return (_functions(body["tools"]) if "tools" in body else "") or _messages(messages)


def _functions(tools: Any) -> str:
    if not isinstance(tools, list) or not 0 < len(tools) <= MOST_FUNCTIONS:
        return f"'tools' must be a list of 1 to {MOST_FUNCTIONS} functions."
    names = set()
    for at, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, Mapping) and tool.get("type") == "function" else None
        if not isinstance(function, Mapping):
            return f"tools[{at}] is not a function."
        name = function.get("name")
        if not isinstance(name, str) or not _NAME.match(name):
            return f"tools[{at}].function.name {name!r} does not match '^[a-zA-Z0-9_-]{{1,64}}$'."
        if name in names:
            return f"tools[{at}].function.name {name!r} is there twice."
        names.add(name)
        schema = function.get("parameters", {"type": "object", "properties": {}})
        if not isinstance(schema, Mapping) or schema.get("type") != "object":
            return f"Invalid schema for function {name!r}: schema must be a JSON Schema of 'type: \"object\"'."
        if not isinstance(schema.get("properties", {}), Mapping):
            return f"Invalid schema for function {name!r}: 'properties' is not an object."
    return ""


def _messages(messages: list[Any]) -> str:
    """Every call of an assistant's message is answered by a tool's message before anybody else speaks."""
    waiting: set[str] = set()
    for at, message in enumerate(messages):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in _ROLES:
            return f"messages[{at}].role must be one of {', '.join(_ROLES)}."
        if role == "tool":
            call = message.get("tool_call_id")
            if call not in waiting:
                return f"messages[{at}] with role 'tool' must answer a preceding message with 'tool_calls': {call!r}."
            waiting.discard(call)
        elif waiting:
            return f"messages[{at}]: these tool_call_ids have no tool message: {', '.join(sorted(waiting))}."
        wrong = _content(at, message)
        if wrong:
            return wrong
        if role == "assistant" and "tool_calls" in message:
            wrong, waiting = _calls(at, message["tool_calls"])
            if wrong:
                return wrong
    if waiting:
        return f"The messages end, and these tool_call_ids have no tool message: {', '.join(sorted(waiting))}."
    return ""


def _content(at: int, message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str | list) or (content is None and message.get("tool_calls")):
        return ""
    return f"messages[{at}].content must be a string or a list of parts."


def _calls(at: int, calls: Any) -> tuple[str, set[str]]:
    where = f"messages[{at}].tool_calls"
    if not isinstance(calls, list) or not calls:
        return f"{where} must be a list of at least one call.", set()
    ids: set[str] = set()
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or call.get("type") != "function":
            return f"{where} holds something that is not a function call.", ids
        if not isinstance(call.get("id"), str) or not call["id"] or call["id"] in ids:
            return f"{where} need ids of their own.", ids
        if not isinstance(function.get("name"), str) or not _NAME.match(function["name"]):
            return f"{where}: {function.get('name')!r} does not match '^[a-zA-Z0-9_-]{{1,64}}$'.", ids
        if not isinstance(function.get("arguments"), str):
            return f"{where}: 'arguments' must be a string of JSON.", ids
        ids.add(call["id"])
    return "", ids
