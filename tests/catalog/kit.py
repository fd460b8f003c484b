"""Words that the tests of the catalog are written in."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
from embedder import JsonHandler, embeddings

from agentmesh.card import AgentCapabilities, AgentCard, AgentExtension, AgentProvider, AgentSkill
from agentmesh.catalog.filters import DISCOVERY_EXTENSION
from agentmesh.contracts import Registration

DATA = Path(__file__).parent / "data"
CARDS, QUERIES = DATA / "cards.jsonl", DATA / "queries.jsonl"


class Letters:
    """An embedder that goes by words, each of which has a direction of its own; it counts what it embeds."""

    def __init__(self, name: str = "letters/64") -> None:
        self.name = name
        self.embedded: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Any:
        self.embedded += texts
        return np.array([sum((_direction(word) for word in text.lower().split()), _direction("")) for text in texts])


def _direction(word: str) -> Any:
    seed = int.from_bytes(hashlib.blake2b(word.encode(errors="replace"), digest_size=8).digest())
    return np.random.default_rng(seed).standard_normal(64).astype(np.float32)


def agent(
    topic: str,
    description: str = "",
    *skills: AgentSkill,
    name: str = "",
    version: str = "1.0.0",
    alive: bool = True,
    provider: str = "",
    streaming: bool = False,
    push: bool = False,
    told: dict[str, Any] | None = None,
    **card: Any,
) -> Registration:
    """An agent; without skills, one with the skill `do`. `told` goes into the extension for discovery."""
    extensions = (AgentExtension(uri=DISCOVERY_EXTENSION, params=told),) if told is not None else ()
    made = AgentCard(
        name=name or topic,
        description=description,
        version=version,
        provider=AgentProvider(organization=provider) if provider else None,
        capabilities=AgentCapabilities(streaming=streaming, push_notifications=push, extensions=extensions),
        skills=skills or (AgentSkill(id="do"),),
        **card,
    )
    return Registration(topic, version, made, alive=alive)


TULIPS = agent("TulipTask", "Sells tulips from Holland.")
OAKS = agent("OakTask", "Plants oaks along roads.")
ROSES = agent("RoseTask", "Prunes roses in gardens.")


@contextmanager
def embeddings_server(*answers: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An endpoint for embeddings on loopback: its base URL, and the requests it got. Each of `answers` is a status for
    one request; after those it answers with the vectors of `Letters`, in the wrong order.
    """
    requests: list[dict[str, Any]] = []
    statuses = list(answers)

    class Handler(JsonHandler):
        def replied(self, body: Any) -> tuple[int, Any]:
            requests.append(body | {"path": self.path, "authorization": self.headers.get("authorization", "")})
            status = statuses.pop(0) if statuses else 200
            answer = embeddings(
                sum((_direction(word) for word in text.lower().split()), _direction("")) for text in body["input"]
            )
            answer["data"].reverse()
            return status, answer if status == 200 else {"error": {"message": "no"}}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
