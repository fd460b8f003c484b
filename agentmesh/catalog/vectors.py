"""Vectors of texts: from the cache, else from the embedder."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from agentmesh.catalog.cache import VectorCache
from agentmesh.contracts import Embedder
from agentmesh.log import get_logger

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

_BATCH: Final = 32


class Vectors:
    """What an embedder makes of texts, kept in `cache`. Without an embedder, and with one that is broken, there are
    none: that is logged once, until it works again.
    """

    def __init__(self, embedder: Embedder | None, cache: VectorCache | None = None) -> None:
        self._embedder = embedder
        self._cache = cache or VectorCache()
        self._dimensions = 0
        self.broken = ""

    @property
    def at_all(self) -> bool:
        """Whether there is an embedder."""
        return self._embedder is not None

    async def of(self, texts: Sequence[str], *, keep: bool = True) -> "list[NDArray[float32] | None]":
        """A unit vector a text, None for those that could not be had. `keep` puts new ones into the cache."""
        found: list[NDArray[float32] | None] = [None] * len(texts)
        if self._embedder is None:
            return found
        cache = self._cache if keep else None
        if cache:
            found = list(await cache.get(self._embedder.name, texts))
        missing = list(dict.fromkeys(text for text, vector in zip(texts, found, strict=True) if vector is None))
        fresh: dict[str, NDArray[float32]] = {}
        for at in range(0, len(missing), _BATCH):
            batch = missing[at : at + _BATCH]
            try:
                made = _checked(await self._embedder.embed(batch), len(batch), self._dimensions)
            except Exception as error:
                self._tell(error)
                break
            self.broken = ""
            self._dimensions = made.shape[1]
            fresh |= zip(batch, made, strict=True)
            if cache:
                await cache.put(self._embedder.name, batch, made)
        return [fresh.get(text) if vector is None else vector for text, vector in zip(texts, found, strict=True)]

    def _tell(self, error: Exception) -> None:
        if not self.broken:
            assert self._embedder
            get_logger(embedder=self._embedder.name).warning(
                "search goes on by words alone: the embedder failed", error=f"{type(error).__name__}: {error}"
            )
        self.broken = f"{type(error).__name__}: {error}"


def _checked(made: Any, count: int, dimensions: int) -> "NDArray[float32]":
    """Unit vectors, as exact as the cache keeps them. Raises `ValueError` for what cannot be compared."""
    import numpy as np

    matrix = np.asarray(made, np.float32)
    if matrix.ndim != 2 or matrix.shape[0] != count or matrix.shape[1] == 0:
        raise ValueError(f"an array of shape {matrix.shape} came back for {count} texts")
    if dimensions and matrix.shape[1] != dimensions:
        raise ValueError(f"vectors of {matrix.shape[1]} dimensions came back, where there were {dimensions} before")
    if not np.isfinite(matrix).all():
        raise ValueError("a vector came back that is not of finite numbers")
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if not lengths.all():
        raise ValueError("a vector of length 0 came back")
    units: NDArray[float32] = (matrix / lengths).astype(np.float16).astype(np.float32)
    return units
