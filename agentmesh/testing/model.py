"""A language model that says what a script tells it to, behind a real OpenAI-compatible HTTP server."""

import asyncio
import inspect
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

from agentmesh.testing.rules import problem


@dataclass(frozen=True)
class Request:
    """A request as it came; the names of `headers` are in lower case, `body` is the JSON data."""

    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far."""
        return list(self.body["messages"])

    @property
    def functions(self) -> list[dict[str, Any]]:
        """The functions that were offered: name, description and parameters of each."""
        return [tool["function"] for tool in self.body.get("tools", [])]


@dataclass(frozen=True)
class Text:
    """The model says this. A plain `str` in a script means the same."""

    text: str


@dataclass(frozen=True, init=False)
class Calls:
    """The model calls functions: `Calls(("add", {"a": 1}), ("add", '{"a": 2}'), text="Let me see.")`.

    Arguments are JSON data, or a string that is sent as it is.
    """

    calls: tuple[tuple[str, Any], ...]
    text: str

    def __init__(self, *calls: tuple[str, Any], text: str = "") -> None:
        object.__setattr__(self, "calls", calls)
        object.__setattr__(self, "text", text)


@dataclass(frozen=True)
class Raw:
    """Exactly this answer: status, headers and body (JSON data, a string or bytes)."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HalfStream:
    """The first half of saying `text`, and then the connection breaks."""

    text: str = "This will not be"


@dataclass(frozen=True)
class Hang:
    """No answer, until the client goes away or the server is closed."""


@dataclass(frozen=True)
class Close:
    """The connection is closed without an answer."""


Answer: TypeAlias = str | Text | Calls | Raw | HalfStream | Hang | Close
Item: TypeAlias = Answer | Callable[[Request], Answer | Awaitable[Answer]]
"""What to do about the next request: an answer, or a function of the request that gives one."""


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)


class ModelServer:
    """An OpenAI-compatible endpoint on loopback that plays `script`, one item a request, in the order they come.

        async with ModelServer([Calls(("WeatherAgentTask-forecast", {"city": "杭州"})), "It will rain."]) as server:
            chat = OpenAIChat("any", server.url, "any-key")

    It is as strict as OpenAI: a request with calls that nobody answered, answers that nobody called for, bad or too
    many functions gets 400 and takes nothing from the script; `refused` says why. So does a request after the script's
    end. Everything that was asked is in `requests`. With `with` instead of `async with` it runs in a thread of its own,
    for programs that are started by a test. `script` may be endless. An error that a function of the script raises,
    such as a failed assertion, is raised again at the end of the `with` block.
    """

    def __init__(self, script: Iterable[Item]) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.refused: list[str] = []
        self._script = iter(script)
        self._failure: BaseException | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None

    async def __aenter__(self) -> "ModelServer":
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()
        if self._thread is None:
            self._tell(error)

    def __enter__(self) -> "ModelServer":
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._until_stopped(ready)), daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._thread is not None
        self._stop()
        self._thread.join()
        self._tell(error)

    def _tell(self, error: BaseException | None) -> None:
        if self._failure is not None and error is None:
            raise self._failure

    async def _until_stopped(self, ready: threading.Event) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        async with self:
            ready.set()
            await stopped.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its answer: there is no keep-alive."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            async for piece in self._answer(reader):
                writer.write(piece)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the server closes
        finally:
            self._open.discard(task)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        method, path, headers = await _head(reader)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if (method, path) != ("POST", "/v1/chat/completions"):
            yield _whole(404, _error(f"Invalid URL ({method} {path})"))
            return
        try:
            data = json.loads(body)
        except ValueError:
            data = None
        request = Request(path, headers, data)
        self.requests.append(request)
        item: Answer | None = None
        refusal = problem(data)
        if not refusal:
            item, refusal = await self._next(request)
        if item is None:
            self.refused.append(refusal)
            yield _whole(400, _error(refusal))
            return
        async for piece in _play(item, request, reader, f"call_{len(self.requests)}_"):
            yield piece

    async def _next(self, request: Request) -> tuple[Answer | None, str]:
        """The script's answer to the request, or why there is none."""
        item = next(self._script, None)
        try:
            while callable(item):
                given = item(request)
                item = await given if inspect.isawaitable(given) else given
        except Exception as error:
            self._failure = self._failure or error
            return None, f"The script raised {error!r}."
        return item, "The script of this ModelServer is at its end."


async def _head(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ", 2)
    pairs = (line.partition(":") for line in lines[1:] if line)
    return method, path, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _play(item: Answer, request: Request, reader: asyncio.StreamReader, ids: str) -> AsyncIterator[bytes]:
    """The bytes of an answer; its calls get ids that begin with `ids`."""
    if isinstance(item, Close):
        return
    if isinstance(item, Hang):
        await reader.read()  # until the client closes its side
        return
    if isinstance(item, Raw):
        yield _whole(item.status, item.body, item.headers)
        return
    half = isinstance(item, HalfStream)
    said = Calls(text=item) if isinstance(item, str) else item if isinstance(item, Calls) else Calls(text=item.text)
    if not request.body.get("stream"):
        answer = _whole(200, _completion(said, request.body["model"], ids))
        yield answer[: len(answer) // 2] if half else answer
        return
    yield STREAM_HEAD
    usage = bool((request.body.get("stream_options") or {}).get("include_usage"))
    events = list(_events(said, request.body["model"], ids, usage))
    for event in events[: max(2, len(events) // 2)] if half else [*events, "[DONE]"]:
        raw = f"data: {event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)}\n\n".encode()
        yield b"%x\r\n%s\r\n" % (len(raw), raw)
    if not half:
        yield b"0\r\n\r\n"


def _whole(status: int, body: Any, headers: Mapping[str, str] | None = None) -> bytes:
    kind = "text/plain; charset=utf-8"
    if not isinstance(body, str | bytes):
        kind, body = "application/json", json.dumps(body, ensure_ascii=False)
    raw = body.encode() if isinstance(body, str) else body
    named = {"content-type": kind} | {name.lower(): value for name, value in (headers or {}).items()}
    named |= {"content-length": str(len(raw)), "connection": "close"}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode("latin-1") + raw


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}


def _tool_calls(said: Calls, ids: str) -> list[dict[str, Any]]:
    return [
        {
            "index": index,
            "id": f"{ids}{index}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": given if isinstance(given, str) else json.dumps(given, ensure_ascii=False),
            },
        }
        for index, (name, given) in enumerate(said.calls)
    ]


def _usage(said: Calls) -> dict[str, int]:
    """Tokens, more or less: nothing here depends on how many."""
    return {"prompt_tokens": 10, "completion_tokens": 1 + len(said.text) // 4, "total_tokens": 11 + len(said.text) // 4}


def _completion(said: Calls, model: str, ids: str) -> dict[str, Any]:
    calls = [{key: value for key, value in call.items() if key != "index"} for call in _tool_calls(said, ids)]
    message = {"role": "assistant", "content": said.text or None} | ({"tool_calls": calls} if calls else {})
    return {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": _usage(said),
    }


def _events(said: Calls, model: str, ids: str, usage: bool) -> Iterable[dict[str, Any]]:
    """The chunks of a stream as OpenAI cuts them: the role, words, each call's head and its arguments in pieces."""
    head = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0, "model": model}
    for delta in _deltas(said, ids):
        yield head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    reason = "tool_calls" if said.calls else "stop"
    yield head | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
    if usage:
        yield head | {"choices": [], "usage": _usage(said)}


def _deltas(said: Calls, ids: str) -> Iterable[dict[str, Any]]:
    yield {"role": "assistant", "content": ""}
    size = max(8, len(said.text) // 50)
    for start in range(0, len(said.text), size):
        yield {"content": said.text[start : start + size]}
    for call in _tool_calls(said, ids):
        arguments = call["function"]["arguments"]
        yield {"tool_calls": [call | {"function": call["function"] | {"arguments": ""}}]}
        size = max(16, len(arguments) // 20)
        for start in range(0, len(arguments), size):
            yield {"tool_calls": [{"index": call["index"], "function": {"arguments": arguments[start : start + size]}}]}
