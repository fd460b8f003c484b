"""A real HTTP server for cards, that says what a test tells it to and remembers what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from agentmesh.card import BINDING

WELL_KNOWN = "/.well-known/agent-card.json"


def card(name: str = "旅行 Planner", version: str = "1.0.0", **fields: Any) -> dict[str, Any]:
    """A foreign card of A2A 1.0."""
    interface = {"url": "https://agents.example/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    skill = {"id": "plan", "name": "规划", "description": "Plans a trip.", "tags": ["travel"]}
    return {"name": name, "version": version, "supportedInterfaces": [interface], "skills": [skill], **fields}


def our_card(topic: str, version: str = "1.0.0") -> dict[str, Any]:
    interface = {"url": f"agentmesh:{topic}", "protocolBinding": BINDING, "protocolVersion": "1"}
    return card(topic, version, supportedInterfaces=[interface])


def old_card(name: str = "Old") -> dict[str, Any]:
    """A card of A2A 0.3."""
    return {
        "name": name,
        "version": "0.9",
        "protocolVersion": "0.3.0",
        "url": "https://old.example/a2a",
        "preferredTransport": "JSONRPC",
        "capabilities": {},
        "skills": [{"id": "greet", "name": "Greet", "description": "Says hello.", "tags": ["hello"]}],
    }


@dataclass
class Answer:
    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = -1
    """After so many bytes of the body the connection ends; −1: never."""

    def raw(self) -> bytes:
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body, ensure_ascii=False).encode()
        return b"" if self.status in (304, 404) else body


@dataclass
class Asked:
    path: str
    headers: dict[str, str]


class CardServer:
    """`answers` by path; what is not there is 404. With `silent` it takes connections and says nothing."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[Asked] = []
        self.silent = False
        self.port = 0
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, body: Any, path: str = WELL_KNOWN, **fields: Any) -> None:
        self.answers[path] = Answer(body, **fields)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody answers at its port any more."""
        assert self._server
        self._server.close()
        for writer in [*self._open]:
            writer.close()
        await self._server.wait_closed()

    async def until_asked(self, times: int) -> list[Asked]:
        """Wait until it was asked so often."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: len(self.asked) >= times)
        return self.asked

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._reply(head.decode(), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _reply(self, head: str, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        path = first.split(" ")[1]
        async with self._news:
            self.asked.append(Asked(path, headers))
            self._news.notify_all()
        if self.silent:
            return
        answer = self.answers.get(path, Answer(status=404))
        etag = answer.headers.get("etag")
        if etag and headers.get("if-none-match") == etag:
            answer = Answer(status=304, headers=answer.headers)
        raw = answer.raw()
        told = {"content-length": str(len(raw)), **answer.headers}
        lines = [f"HTTP/1.1 {answer.status} Whatever", *(f"{name}: {value}" for name, value in told.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode() + (raw if answer.cut < 0 else raw[: answer.cut]))
        await writer.drain()
        if answer.cut >= 0:
            writer.close()


@asynccontextmanager
async def card_server() -> AsyncIterator[CardServer]:
    server = CardServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
