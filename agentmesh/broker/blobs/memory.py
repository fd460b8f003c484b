"""Blobs in this process, for `memory://`: as durable as everything else there."""

import os
import threading
from collections.abc import Iterator

from agentmesh.broker.blobs.files import PIECE, keyed_hash
from agentmesh.contracts.blobs import Blob, Hash, check_digest
from agentmesh.errors import PayloadCorrupt


class MemoryBlobs:
    """`Blobs` for the threads of one process."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._bodies: dict[str, tuple[bytes, int]] = {}
        self._lock = threading.Lock()

    def hash(self, tenant: str) -> Hash:
        return keyed_hash(self._secret, tenant)

    def put(self, digest: str, body: bytes | memoryview, now: int) -> None:
        check_digest(digest)
        with self._lock:
            self._bodies[digest] = bytes(body), now

    def open(self, digest: str) -> Iterator[bytes]:
        check_digest(digest)
        with self._lock:
            found = self._bodies.get(digest)
        if found is None:
            raise PayloadCorrupt(f"Blob {digest} is not there.")
        body = found[0]
        return (body[start : start + PIECE] for start in range(0, len(body), PIECE))

    def delete(self, digest: str, before: int) -> bool:
        check_digest(digest)
        with self._lock:
            found = self._bodies.get(digest)
            if found and found[1] < before:
                del self._bodies[digest]
            return digest not in self._bodies

    def list(self) -> Iterator[Blob]:
        with self._lock:
            found = [Blob(digest, len(body), touched) for digest, (body, touched) in self._bodies.items()]
        return iter(found)

    def tidy(self, before: int) -> None:
        """Nothing is left behind in memory."""
