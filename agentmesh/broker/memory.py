"""`memory://NAME`: the embedded broker over a store in memory, shared within a process."""

import asyncio
from typing import Final

from agentmesh.broker.blobs import MemoryBlobs, remote_blobs
from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.shared import Shared
from agentmesh.broker.embedded.store import Store
from agentmesh.clock import Clock
from agentmesh.contracts import Blobs
from agentmesh.errors import ConfigError

_shared: Final[Shared[EmbeddedBroker]] = Shared()
_stores: Final[dict[str, Store]] = {}


async def open_memory(name: str, clock: Clock) -> EmbeddedBroker:
    """The mesh of that name: its messages and logs live as long as the process. Without a name it is nobody else's, and
    lives until it is closed."""
    if not name:
        return EmbeddedBroker(Store(None), clock)
    store = _stores.get(name)
    if store is None:
        store = _stores[name] = Store(None)
    return _shared.open(f"memory://{name}", lambda on_close: EmbeddedBroker(store, clock, on_close=on_close))
