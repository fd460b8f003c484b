"""The blob store: large bodies as files, named by what is in them."""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from agentmesh.errors import PayloadCorrupt
from agentmesh.ids import DIGEST


class Blob(msgspec.Struct, frozen=True):
    """A blob that is stored: its size in bytes, and when it was put for the last time (ms UTC)."""

    digest: str
    size: int
    touched: int


class Hash(Protocol):
    """A hash that is being computed, as those of `hashlib`."""

    def update(self, data: "bytes | memoryview", /) -> None: ...

    def hexdigest(self) -> str: ...


class Blobs(Protocol):
    """Large bodies of one mesh, each in a file of its own that is named by its digest.

    Its methods block, for a body of 100 MB for a second or so: they are for threads, any number at once. They raise
    `PayloadCorrupt` for a digest that cannot be one, and `BrokerUnavailable` when the store cannot be reached or
    written to.
    """

    def hash(self, tenant: str) -> Hash:
        """A fresh hash whose hex digest names a body of this tenant. It is keyed by a secret of the mesh: a digest
        tells nobody what is in the body, and equal bodies of two tenants are two blobs.
        """
        ...

    def put(self, digest: str, body: "bytes | memoryview", now: int) -> None:
        """Store the body; it survives a power cut once this returns. One that is there is kept, and its time renewed:
        `delete` spares it from `now` (ms) on. One that is there and damaged is replaced.
        """
        ...

    def open(self, digest: str) -> Iterator[bytes]:
        """The body, in pieces of up to a megabyte, unchecked. Raises `PayloadCorrupt` if it is not there."""
        ...

    def delete(self, digest: str, before: int) -> bool:
        """Remove it unless it was put again since `before` (ms); whether it is gone. Safe beside any `put`."""
        ...

    def list(self) -> Iterator[Blob]:
        """All of them, in any order."""
        ...

    def tidy(self, before: int) -> None:
        """Remove what is left of puts that were cut short before that time (ms)."""
        ...


def check_digest(digest: str) -> str:
    """Return `digest` if it is 64 hex digits, so that no path is made of anything else; else `PayloadCorrupt`."""
    if not DIGEST.match(digest):
        raise PayloadCorrupt(f"{digest[:80]!r} is no digest of a blob: 64 hex digits are.")
    return digest
