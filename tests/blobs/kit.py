"""Words that the tests of blob stores are written in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentmesh.contracts import Blobs

HOUR = 3_600_000
BODY = bytes(range(256)) * 10_000


@dataclass
class Kind:
    """A store under test. `file` finds a blob's file, where it has files of this machine."""

    blobs: Blobs
    file: Callable[[str], Path] | None = None


def put(blobs: Blobs, body: bytes, now: int, tenant: str = "acme") -> str:
    state = blobs.hash(tenant)
    state.update(body)
    blobs.put(state.hexdigest(), body, now)
    return state.hexdigest()


def read(blobs: Blobs, digest: str) -> bytes:
    return b"".join(blobs.open(digest))


def digests(blobs: Blobs) -> set[str]:
    return {blob.digest for blob in blobs.list()}
