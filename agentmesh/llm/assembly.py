"""Putting a reply together from the chunks of a chat completion, as OpenAI and its many likenesses send them."""

import json
from collections.abc import Mapping
from typing import Any

from agentmesh.contracts import FunctionCall, Reply


class Assembly:
    """A reply that grows by chunks; a whole completion counts as one chunk.

    `begun`: something came. `finished`: the endpoint said why it stopped, so nothing is missing.
    """

    def __init__(self) -> None:
        self.begun = False
        self.finished = False
        self._text: list[str] = []
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._tokens = (0, 0)

    def add(self, chunk: Any) -> str:
        """Take in one chunk; returns the text it brought. Whatever does not look like a chunk is passed over."""
        if not isinstance(chunk, Mapping):
            return ""
        self._count(chunk.get("usage"))
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
            return ""
        choice = choices[0]
        self.begun = True
        whole = isinstance(choice.get("message"), Mapping)
        self.finished = self.finished or whole or bool(choice.get("finish_reason"))
        delta = choice["message"] if whole else choice.get("delta")
        if not isinstance(delta, Mapping):
            return ""
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, Mapping):
                self._add_call(call)
        text = _text(delta.get("content")) or _text(delta.get("refusal"))
        self._text.append(text)
        return text

    def reply(self) -> Reply:
        """The reply so far. Every call has an id, and no two have the same."""
        calls: dict[str, FunctionCall] = {}
        for number, call in enumerate(self._calls):
            name = call.id if call.id and call.id not in calls else f"call_{number}"
            while name in calls:
                name += "_"
            calls[name] = FunctionCall(name, call.name, "".join(call.arguments))
        return Reply("".join(self._text), tuple(calls.values()), *self._tokens)

    def _add_call(self, delta: Mapping[str, Any]) -> None:
        """Pieces of one call share an index; without one, a new id or, for want of ids, a name begins a new call."""
        function = delta.get("function")
        function = function if isinstance(function, Mapping) else {}
        identity, name, index = _text(delta.get("id")), _text(function.get("name")), delta.get("index")
        if isinstance(index, int):
            call = self._by_index.get(index)
        else:
            call = self._calls[-1] if self._calls and not (name and not identity) else None
        if call is None or (identity and call.id and identity != call.id):
            call = _Call()
            self._calls.append(call)
            if isinstance(index, int):
                self._by_index[index] = call
        call.id = call.id or identity
        call.name = call.name or name
        arguments = function.get("arguments")
        if arguments is not None:
            call.arguments.append(_text(arguments) if isinstance(arguments, str) else json.dumps(arguments))

    def _count(self, usage: Any) -> None:
        if isinstance(usage, Mapping):
            counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
            self._tokens = tuple(n if isinstance(n, int) else 0 for n in counts)  # type: ignore[assignment]


class _Call:
    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


def _text(value: Any) -> str:
    """A string, or the strings in a list of content parts; half characters, which no encoding takes, become "?"."""
    if isinstance(value, list):
        return "".join(_text(part.get("text")) for part in value if isinstance(part, Mapping))
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
