"""The catalog of a mesh, opened by its first search."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from agentmesh.backends import cache_folder
from agentmesh.config import Config
from agentmesh.contracts import Embedder, Registration
from agentmesh.runtime.client import Client

if TYPE_CHECKING:
    from agentmesh.catalog import Catalog, Filters, Hit, Index
    from agentmesh.supervisor.retrieval import Search


def choose_embedder(config: Config, given: Embedder | Callable[..., Any] | None) -> Embedder | None:
    """The one that was given, else that of the setting. Raises `ConfigError` for one that there is not."""
    from agentmesh.catalog import embedders

    if given is not None:
        return embedders.of(given)
    return embedders.choose(config.embedder, base_url=config.base_url, api_key=config.api_key)


class Searching:
    """Searches of one mesh. `closing` closes what is opened."""

    def __init__(self, config: Config, client: Client, embedder: Embedder | None, closing: AsyncExitStack) -> None:
        self._config = config
        self._client = client
        self._embedder = embedder
        self._closing = closing
        self._catalog: Catalog | None = None
        self._opening = asyncio.Lock()

    async def search(self, query: str, limit: int, filters: "Filters | Mapping[str, Any] | None") -> "Sequence[Hit]":
        """See `Mesh.search`."""
        from agentmesh.catalog.filters import Filters, for_tenant, read_filters

        wanted = filters if isinstance(filters, Filters) else read_filters(filters or {})
        catalog = await self._open()
        return await catalog.search(query, limit, filters=for_tenant(wanted, self._config.tenant or ""))

    def over(self, agents: Sequence[Registration]) -> "Search":
        """The search in the agents of a run: they stay the same, whoever comes and goes."""
        index: Index | None = None

        async def search(query: str, limit: int) -> "Sequence[Hit]":
            nonlocal index
            if index is None:
                index = (await self._open()).over(agents)
            return await index.search(query, limit)

        return search

    def saw(self, topic: str, seconds: float, succeeded: bool) -> None:
        """A call that this process followed has ended."""
        if self._catalog is not None:
            self._catalog.seen.add(topic, seconds, succeeded=succeeded)

    async def _open(self) -> "Catalog":
        async with self._opening:
            if self._catalog is None:
                from agentmesh.catalog import Catalog
                from agentmesh.catalog.cache import VectorCache

                client = self._client
                kept = None if self._config.broker.startswith("memory://") else cache_folder(self._config) / "vectors"
                catalog = Catalog(client.registry, client.broker, self._embedder, VectorCache(kept), client.clock)
                self._catalog = await self._closing.enter_async_context(catalog)
            return self._catalog
