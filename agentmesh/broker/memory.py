"""`memory://NAME`: the embedded broker over a store in memory, shared within a process."""

import asyncio
from typing import Final, NamedTuple

from agentmesh.broker.blobs import MemoryBlobs, remote_blobs
from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.shared import Shared
from agentmesh.broker.embedded.store import Store
from agentmesh.clock import Clock
from agentmesh.contracts import Blobs
from agentmesh.errors import ConfigError


class Kept(NamedTuple):
    """What a name stands for, as long as the process lives. `url` is where the blobs are; empty: in memory."""

    store: Store
    blobs: Blobs
    url: str


_shared: Final[Shared[EmbeddedBroker]] = Shared()
_kept: Final[dict[str, Kept]] = {}


async def open_memory(name: str, clock: Clock, blobs: str = "") -> EmbeddedBroker:
    """The mesh of that name: its messages and logs live as long as the process. Without a name it is nobody else's, and
    lives until it is closed. `blobs` is a URL for its large bodies. Raises `ConfigError` for one that cannot be used,
    or is not the one that the mesh began with.
    """
    kept = _kept.get(name)
    if kept is None:
        kept = Kept(Store(None), await asyncio.to_thread(remote_blobs, blobs) if blobs else MemoryBlobs(), blobs)
        if not name:
            return EmbeddedBroker(kept.store, clock, blobs=kept.blobs)
        kept = _kept.setdefault(name, kept)
    if blobs not in ("", kept.url):
        raise ConfigError(f"blobs={blobs!r}: memory://{name} began with {kept.url or 'blobs in memory'}.")
    store, large = kept.store, kept.blobs
    return _shared.open(
        f"memory://{name}", lambda on_close: EmbeddedBroker(store, clock, on_close=on_close, blobs=large)
    )
