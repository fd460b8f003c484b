"""Vectors on disk, by the text they were made of, so that a restart embeds nothing again."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentmesh.catalog.vector_file import VectorFile
from agentmesh.log import get_logger

if TYPE_CHECKING:
    from numpy import float16, float32
    from numpy.typing import NDArray

LIMIT: Final = 1_000_000_000
"""Bytes of vectors that are kept of one embedder; beyond it the older half goes."""
_IN_MEMORY: Final = 20_000
"""Vectors that are kept in memory where there is no folder to write to."""


class VectorCache:
    """Vectors by embedder and text, in a file an embedder under `folder`; several processes may share it.

    A folder that cannot be read or written costs one warning; what is new is then kept in memory, as it is without a
    folder.
    """

    def __init__(self, folder: Path | None = None, limit: int = LIMIT) -> None:
        self._folder = folder
        self._limit = limit
        self._files: dict[str, VectorFile] = {}
        self._memory: dict[tuple[str, bytes], NDArray[float16]] = {}

    async def get(self, embedder: str, texts: Sequence[str]) -> "list[NDArray[float32] | None]":
        """The vector of each text, None where there is none yet."""
        keys = [_key(text) for text in texts]
        found = [self._remembered(embedder, key) for key in keys]
        if self._folder:
            missing = [at for at, vector in enumerate(found) if vector is None]
            try:
                kept = await asyncio.to_thread(self._file(embedder).read, [keys[at] for at in missing])
            except OSError as error:
                self._give_up(error)
            else:
                for at, vector in zip(missing, kept, strict=True):
                    found[at] = vector
        return found

    async def put(self, embedder: str, texts: Sequence[str], vectors: "NDArray[float32]") -> None:
        """Keep the vectors of these texts."""
        keys = [_key(text) for text in texts]
        if self._folder:
            try:
                await asyncio.to_thread(self._file(embedder).append, keys, vectors)
                return
            except OSError as error:
                self._give_up(error)
        import numpy as np

        for key, vector in zip(keys, vectors.astype(np.float16), strict=True):
            if len(self._memory) >= _IN_MEMORY:
                self._memory.pop(next(iter(self._memory)))
            self._memory[embedder, key] = vector

    def _remembered(self, embedder: str, key: bytes) -> "NDArray[float32] | None":
        import numpy as np

        vector = self._memory.get((embedder, key))
        return None if vector is None else vector.astype(np.float32)

    def _file(self, embedder: str) -> VectorFile:
        assert self._folder
        if embedder not in self._files:
            self._files[embedder] = VectorFile(self._folder, embedder, self._limit)
        return self._files[embedder]

    def _give_up(self, error: OSError) -> None:
        if self._folder:
            get_logger(folder=str(self._folder)).warning("vectors are kept in memory alone", error=str(error))
        self._folder = None


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=16).digest()
