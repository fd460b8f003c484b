"""What a remote agent's replies to one request amount to."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agentmesh.a2a.rocketmq.envelope import Reply, read_chunk
from agentmesh.a2a.rocketmq.rpc import read_answer
from agentmesh.a2a.rocketmq.tasks import RESULT
from agentmesh.errors import PayloadCorrupt

ENDED: Final = frozenset({"completed", "failed", "canceled", "rejected", "input-required", "auth-required"})
"""States after which nothing comes before somebody does something."""


class News(msgspec.Struct, frozen=True):
    """What is told at once: a `progress` text with its `fraction`, a piece of `output`, or an artifact's `data`."""

    kind: str
    text: str = ""
    fraction: float | None = None
    name: str = ""
    data: Any = None
    content_type: str = ""


class Heard:
    """The replies to one request so far.

    `state` is the task's, "" before any; `said` what its last status says. `task` and `context` are the remote ids,
    `follow_up` the topic and LiteTopic for follow-ups. `over`: no more replies will come. A repeated stream is told
    apart by the numbers of its chunks: of each number the first counts.
    """

    def __init__(self) -> None:
        self.state = ""
        self.said = ""
        self.task = ""
        self.context = ""
        self.follow_up: tuple[str, str] | None = None
        self.over = False
        self.artifacts: dict[str, list[dict[str, Any]]] = {}
        self._next = 0

    def begin(self) -> None:
        """Another request begins."""
        self.state, self.over, self._next = "", False, 0

    @property
    def ended(self) -> bool:
        """Whether the task's state says that nothing comes."""
        return self.state in ENDED

    def add(self, reply: Reply) -> list[News]:
        """Take in the next reply. Raises `RpcError` if it is an error, `PayloadCorrupt` if it cannot be read."""
        self.task = reply.task_id or self.task
        self.context = reply.context_id or self.context
        if reply.server_work_agent_response_topic and reply.server_lite_topic:
            self.follow_up = reply.server_work_agent_response_topic, reply.server_lite_topic
        news: list[News] = []
        if reply.response_body:
            body, number = read_chunk(reply.response_body)
            if number is None or number >= self._next:
                self._next = self._next if number is None else number + 1
                news = self._result(read_answer(body))
        self.over = self.over or reply.end
        return news

    def value(self) -> Any:
        """The result: the data of the only data part, else the text; else text, data and the names of files together.

        An artifact named `result` is the result alone.
        """
        texts: list[str] = []
        data: list[Any] = []
        files: list[str] = []
        chosen = [self.artifacts[RESULT]] if RESULT in self.artifacts else self.artifacts.values()
        for part in (part for parts in chosen for part in parts):
            kind = _kind(part)
            if kind == "text":
                texts.append(str(part["text"]))
            elif kind == "data":
                data.append(part["data"])
            else:
                files.append(_file(part)[0])
        if not texts and not data and not files:
            return self.said or None
        if not data and not files:
            return "".join(texts)
        if len(data) == 1 and not texts and not files:
            return data[0]
        return {"text": "".join(texts), "data": data, "files": files}

    def _result(self, result: Any) -> list[News]:
        if not isinstance(result, dict):
            raise PayloadCorrupt(f"{str(result)[:100]!r} is no Task, Message or update of A2A.")
        kind = result.get("kind")
        if kind == "artifact-update":
            self._about(result.get("taskId"), result.get("contextId"))
            return self._artifact(result.get("artifact"), append=result.get("append") is True)
        if kind == "status-update":
            self._about(result.get("taskId"), result.get("contextId"))
            return self._status(result.get("status"))
        if kind == "message":
            self._about(result.get("taskId"), result.get("contextId"))
            self.state = "completed"
            self.artifacts = {RESULT: _parts(result)}
            return []
        self._about(result.get("id"), result.get("contextId"))
        artifacts = result.get("artifacts")
        known = dict(self.artifacts)
        news = []
        for artifact in artifacts if isinstance(artifacts, list) else ():
            told = self._artifact(artifact, append=False)
            news += [each for each in told if each.kind == "artifact" and not _holds(known, each)]
        return news + self._status(result.get("status"))

    def _about(self, task: Any, context: Any) -> None:
        self.task = task if isinstance(task, str) and task else self.task
        self.context = context if isinstance(context, str) and context else self.context

    def _status(self, status: Any) -> list[News]:
        if not isinstance(status, dict) or not isinstance(status.get("state"), str):
            raise PayloadCorrupt(f"{str(status)[:100]!r} is no status of a task.")
        self.state, self.said = status["state"], ""
        message = status.get("message")
        if not isinstance(message, dict):
            return []
        self.said = "".join(str(part["text"]) for part in _parts(message) if _kind(part) == "text")
        metadata = message.get("metadata")
        fraction = metadata.get("fraction") if isinstance(metadata, dict) else None
        known = float(fraction) if isinstance(fraction, int | float) and 0 <= fraction <= 1 else None
        return [News("progress", self.said, known)] if self.said and self.state == "working" else []

    def _artifact(self, artifact: Any, *, append: bool) -> list[News]:
        if not isinstance(artifact, dict):
            return []
        name = str(artifact.get("artifactId") or artifact.get("name") or "")
        parts = _parts(artifact)
        if not append:
            self.artifacts[name] = []
        self.artifacts.setdefault(name, []).extend(parts)
        return [] if name == RESULT else [_news(name, part) for part in parts]


def _holds(artifacts: dict[str, list[dict[str, Any]]], news: News) -> bool:
    """Whether this artifact was told before."""
    return any(each == news for name, parts in artifacts.items() for part in parts for each in [_news(name, part)])


def _parts(holder: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of a message or an artifact that can be read."""
    parts = holder.get("parts")
    return [part for part in parts if isinstance(part, dict) and _kind(part)] if isinstance(parts, list) else []


def _kind(part: Mapping[str, Any]) -> str:
    return next((each for each in ("text", "data", "file") if part.get(each) is not None), "")


def _news(name: str, part: dict[str, Any]) -> News:
    kind = _kind(part)
    if kind == "text":
        return News("output", str(part["text"]))
    if kind == "data":
        return News("artifact", name=name, data=part["data"], content_type="application/json")
    title, content, content_type = _file(part)
    return News("artifact", name=title or name, data=content, content_type=content_type)


def _file(part: Mapping[str, Any]) -> tuple[str, Any, str]:
    """Name, content and its type; of a file that lies elsewhere, the place as JSON data."""
    file = part["file"] if isinstance(part["file"], dict) else {}
    name, content_type = str(file.get("name") or ""), str(file.get("mimeType") or "application/octet-stream")
    if isinstance(file.get("bytes"), str):
        try:
            return name, base64.b64decode(file["bytes"], validate=True), content_type
        except (binascii.Error, ValueError):
            return name, {"error": "its content is not base64"}, "application/json"
    return name, {"uri": str(file.get("uri") or "")}, "application/json"
