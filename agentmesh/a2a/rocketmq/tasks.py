"""A call of ours as A2A 0.3 tells it: a Task, and the updates of a stream (specification 0.3, sections 6.1, 7.2)."""

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from agentmesh.message import JSON, QUESTIONS, TERMINAL, Event

RESULT: Final = "result"
"""The artifact that is a call's result."""

OUTPUT: Final = "output"
"""The artifact that is what the call streamed."""

_STATES: Final = {
    "submitted": "submitted",
    "accepted": "working",
    "progress": "working",
    "retrying": "working",
    "answered": "working",
    "input_required": "input-required",
    "approval_required": "input-required",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "canceled",
    "timed_out": "failed",
    "dead_lettered": "failed",
}


def task_of(call_id: str, context: str, events: Iterable[Event]) -> dict[str, Any]:
    """The Task after these events, without its history. The partial output is not part of it."""
    status: dict[str, Any] = {"state": "submitted"}
    artifacts: list[dict[str, Any]] = []
    for event in events:
        status = _status(call_id, context, event) or status
        artifacts += _artifacts(event)
    task: dict[str, Any] = {"kind": "task", "id": call_id, "contextId": context, "status": status}
    return {**task, "artifacts": artifacts} if artifacts else task


class Telling:
    """The events of a call, one after the other, as the updates of a stream."""

    def __init__(self, call_id: str, context: str) -> None:
        self._about = {"taskId": call_id, "contextId": context}
        self._call_id = call_id
        self._context = context
        self._begun = False

    def updates(self, event: Event, *, final: bool = False) -> list[dict[str, Any]]:
        """What is told of the event; the last of them is the stream's last if it is `final`.

        A new attempt takes the partial output of the one before back: its first piece does not append.
        """
        told = [self._artifact(each, append=False) for each in _artifacts(event)]
        if event.type == "accepted":
            self._begun = False
        elif event.type == "delta":
            told.append(self._artifact(_artifact(OUTPUT, [_text(str(event.data["text"]))]), append=self._begun))
            self._begun = True
        status = _status(self._call_id, self._context, event)
        if status:
            told.append({"kind": "status-update", **self._about, "status": status, "final": final})
        return told

    def _artifact(self, artifact: dict[str, Any], *, append: bool) -> dict[str, Any]:
        last = {} if artifact["artifactId"] == OUTPUT else {"lastChunk": True}
        return {"kind": "artifact-update", **self._about, "artifact": artifact, "append": append, **last}


def _status(call_id: str, context: str, event: Event) -> dict[str, Any] | None:
    """The status after an event; None for one that does not tell any."""
    state = _STATES.get(event.type)
    if state is None:
        return None
    time = datetime.fromtimestamp(event.time / 1000, UTC).isoformat(timespec="milliseconds")
    status: dict[str, Any] = {"state": state, "timestamp": time.replace("+00:00", "Z")}
    text = _said(event)
    if text is not None:
        status["message"] = {
            "kind": "message",
            "role": "agent",
            "messageId": f"{call_id}-{event.offset}",
            "taskId": call_id,
            "contextId": context,
            "parts": [_text(text)],
        }
        fraction = event.data.get("fraction") if event.type == "progress" else None
        if fraction is not None:
            status["message"]["metadata"] = {"fraction": fraction}
    return status


def _said(event: Event) -> str | None:
    """What an event says to a person."""
    data = event.data
    if event.type == "progress":
        return str(data["message"])
    if event.type in QUESTIONS:
        return str(data["text"])
    if event.type == "retrying":
        return f"It is tried again: {data['error']}"
    if event.type not in TERMINAL or event.type == "completed":
        return None
    if event.type == "failed":
        return f"{data['error']}: {data['message']}"
    if event.type == "cancelled":
        return f"It was cancelled by {data['by']}."
    if event.type == "timed_out":
        return "Its deadline passed."
    return f"{data['reason']}, after {data['attempts']} attempts"


def _artifacts(event: Event) -> list[dict[str, Any]]:
    if event.type == "completed":
        return [_artifact(RESULT, [_part(RESULT, JSON, event.data["result"])])]
    if event.type == "artifact":
        data = event.data
        name = str(data["name"])
        return [_artifact(name, [_part(name, str(data["content_type"]), data["data"])])]
    return []


def _artifact(name: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    return {"artifactId": name, "name": name, "parts": parts}


def _part(name: str, content_type: str, data: Any) -> dict[str, Any]:
    """A data part holds an object: what is none is put into one."""
    if isinstance(data, bytes | bytearray):
        content = base64.b64encode(data).decode()
        return {"kind": "file", "file": {"bytes": content, "mimeType": content_type, "name": name}}
    if isinstance(data, str):
        return _text(data)
    return {"kind": "data", "data": data if isinstance(data, dict) else {RESULT: data}}


def _text(text: str) -> dict[str, Any]:
    return {"kind": "text", "text": text}
