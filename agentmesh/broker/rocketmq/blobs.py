"""Large bodies as numbered parts in a LiteTopic each, where no store for them is named.

A broker's threads reserve the largest message as memory, so the parts stay small. A body lives 24 days after its last
`put`; nothing is removed earlier.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, Final, TypeVar

from agentmesh.broker.blobs.files import keyed_hash
from agentmesh.broker.rocketmq.listing import Listing
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.names import BLOBS
from agentmesh.contracts.blobs import Blob, Hash, check_digest
from agentmesh.errors import BrokerUnavailable, PayloadCorrupt
from agentmesh.ids import new_token
from agentmesh.message import Draft, Entry, encode_content

PART: Final = 1 << 20
"""Bytes of a part."""

_AT_ONCE: Final = 4
_PAUSE: Final = 0.01
_LOOKS: Final = 1_000
_DIGITS: Final = 58
"""Of a digest's 64, those that fit into a LiteTopic's name beside `blob-`."""

T = TypeVar("T")


class LiteBlobs:
    """`Blobs` of a cluster. Its methods are for other threads than that of `loop`."""

    def __init__(self, logs: Logs, listing: Listing, secret: str, loop: asyncio.AbstractEventLoop) -> None:
        self._logs = logs
        self._listing = listing
        self._secret = bytes.fromhex(secret)
        self._loop = loop

    def hash(self, tenant: str) -> Hash:
        return keyed_hash(self._secret, tenant)

    def put(self, digest: str, body: bytes | memoryview, now: int) -> None:  # noqa: ARG002 - the time is the broker's
        self._run(self._put(digest, memoryview(body)))

    def open(self, digest: str) -> Iterator[bytes]:
        end = self._run(self._end(_name(digest)))
        if end is None:
            raise PayloadCorrupt(f"Blob {digest} is not there: it was never put, or 24 days have passed since.")
        return self._parts(_name(digest), end.data["put"])

    def delete(self, digest: str, before: int) -> bool:  # noqa: ARG002 - it ends by itself
        check_digest(digest)
        return False

    def list(self) -> Iterator[Blob]:
        for name, digest in self._run(self._listing.titles(BLOBS)).items():
            end = self._run(self._end(name))
            if end:
                yield Blob(digest, end.data["size"], end.time)

    def tidy(self, before: int) -> None:
        """What is unfinished ends by itself."""

    async def _put(self, digest: str, body: memoryview) -> None:
        name = _name(digest)
        end = await self._end(name)
        if end is not None and end.data["size"] == len(body):
            await self._write(name, digest, "end", end.data)  # which renews its time
            return
        put, count = new_token(), 0
        for begin in range(0, len(body), PART * _AT_ONCE):
            parts = range(begin, min(begin + PART * _AT_ONCE, len(body)), PART)
            await asyncio.gather(
                *(
                    self._write(
                        name, digest, "part", {"put": put, "n": at // PART, "body": bytes(body[at : at + PART])}
                    )
                    for at in parts
                )
            )
            count += len(parts)
        await self._write(name, digest, "end", {"put": put, "parts": count, "size": len(body)})
        for _ in range(_LOOKS):  # it is there once it can be read
            if await self._end(name):
                return
            await asyncio.sleep(_PAUSE)
        raise BrokerUnavailable(f"The large body {digest} was stored and cannot be read. Is the broker's disk full?")

    async def _write(self, name: str, digest: str, kind: str, data: dict[str, Any]) -> None:
        content = encode_content(Draft(kind, data))
        await self._logs.post(name, BLOBS, content, title=digest, first=data.get("n", 0) == 0)

    async def _end(self, name: str) -> Entry | None:
        """What says that a put was finished: the last entry, unless another put is under way."""
        following = await self._logs.head(name, BLOBS)
        for at in range(following - 1, -1, -1):
            found = await self._logs.read(name, at - 1, 1, kind=BLOBS)
            if found and found[0].type == "end":
                return found[0]
        return None

    def _parts(self, name: str, put: str) -> Iterator[bytes]:
        """In order, whatever lies between them; a few wait for those before them."""
        waiting: dict[int, bytes] = {}
        after, wanted = -1, 0
        while entries := self._run(self._logs.read(name, after, _AT_ONCE, kind=BLOBS)):
            for entry in entries:
                if entry.type == "part" and entry.data["put"] == put:
                    waiting.setdefault(entry.data["n"], entry.data["body"])
            while wanted in waiting:
                yield waiting.pop(wanted)
                wanted += 1
            after = entries[-1].offset

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _name(digest: str) -> str:
    return f"blob-{check_digest(digest)[:_DIGITS]}"
