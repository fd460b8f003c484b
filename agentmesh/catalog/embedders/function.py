"""A function as an embedder."""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray


class FunctionEmbedder:
    """`Embedder` on a function from a list of texts to their vectors; one that is not async runs in a thread.

    `name` stands for what it computes: a function that computes something else needs another name.
    """

    def __init__(self, function: Callable[[list[str]], Any], name: str) -> None:
        self.name = name
        self._function = function

    async def embed(self, texts: Sequence[str]) -> "NDArray[float32]":
        import numpy as np

        if inspect.iscoroutinefunction(self._function):
            made = await self._function(list(texts))
        else:
            made = await asyncio.to_thread(self._function, list(texts))
        return np.asarray(made, np.float32)
