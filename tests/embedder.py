"""The embedder with which the whole suite runs: the default, or with TEST_EMBEDDER=none words alone, or with
TEST_EMBEDDER=openai a server of this process, which speaks OpenAI's protocol and has the vectors of the default.
"""

import asyncio
import json
import os
from collections.abc import Iterable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from agentmesh.catalog.embedders.use import UniversalSentenceEncoder


@cache
def settings() -> dict[str, str]:
    """For the environment of whatever runs in this suite."""
    match os.environ.get("TEST_EMBEDDER", ""):
        case "":
            return {}
        case "none":
            return {"AGENTMESH_EMBEDDER": "none"}
        case "openai":
            return {"AGENTMESH_EMBEDDER": "openai:use", "OPENAI_BASE_URL": _served(), "OPENAI_API_KEY": "none"}
        case other:
            raise SystemExit(f"TEST_EMBEDDER={other}: it is none, openai, or not set.")


def _served() -> str:
    """The base URL of a server that lives as long as this process."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Embeddings)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1"


class JsonHandler(BaseHTTPRequestHandler):
    """Answers with JSON, and prints nothing: tests read what is printed."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        status, content = self.replied(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def replied(self, body: Any) -> tuple[int, Any]:
        """The status and the content for what was sent."""
        raise NotImplementedError

    def log_message(self, *_: Any) -> None:
        pass


def embeddings(vectors: Iterable[Any]) -> dict[str, Any]:
    """An answer of `/embeddings` with these vectors."""
    data = [{"object": "embedding", "index": n, "embedding": each.tolist()} for n, each in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 1, "total_tokens": 1}}


class _Embeddings(JsonHandler):
    def replied(self, body: Any) -> tuple[int, Any]:
        if self.path != "/v1/embeddings":
            return 404, {"error": {"message": "there are embeddings here, and nothing else"}}
        return 200, embeddings(asyncio.run(UniversalSentenceEncoder().embed(body["input"])))
