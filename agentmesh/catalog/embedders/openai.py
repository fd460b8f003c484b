"""Embeddings of any endpoint that speaks OpenAI's protocol, through the `openai` package."""

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from agentmesh.errors import ModelUnavailable

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray
    from openai import AsyncOpenAI

_BATCH: Final = 64


class OpenAIEmbeddings:
    """`Embedder` on `/embeddings` at any `base_url`.

    `base_url` and `api_key` default to OPENAI_BASE_URL and OPENAI_API_KEY; an endpoint of one's own needs no key. A
    request may take `timeout` seconds; connection errors, 408, 409, 429 and 5xx are tried again `max_retries` times.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 20.0,
        max_retries: int = 2,
    ) -> None:
        self._model = model
        self._base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._api_key = api_key or os.environ.get("OPENAI_API_KEY") or ""
        self._timeout = timeout
        self._max_retries = max_retries
        self._client: AsyncOpenAI | None = None

    @property
    def name(self) -> str:
        host = urlsplit(self._base_url or "https://api.openai.com/v1")
        return f"openai:{self._model}@{host.netloc.rpartition('@')[2]}{host.path}"

    async def embed(self, texts: Sequence[str]) -> "NDArray[float32]":
        import numpy as np

        parts = [await self._ask(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)]
        return np.asarray([vector for part in parts for vector in part], np.float32)

    async def aclose(self) -> None:
        """Close the connections. The next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _ask(self, texts: Sequence[str]) -> list[list[float]]:
        client = await asyncio.to_thread(self._connected)  # the first time, that is half a second of imports
        import openai

        try:
            answer = await client.embeddings.create(
                model=self._model, input=[text or " " for text in texts], encoding_format="float"
            )
            ordered = sorted(answer.data, key=lambda each: each.index)
        except openai.OpenAIError as error:
            raise self._unavailable(
                type(error).__name__ + (f" {s}" if (s := getattr(error, "status_code", "")) else "")
            ) from None
        except (AttributeError, TypeError, ValueError) as error:
            raise self._unavailable("an answer that is none") from error
        return [each.embedding for each in ordered]

    def _connected(self) -> "AsyncOpenAI":
        import openai

        if self._client is None:
            if not (self._api_key or self._base_url):
                raise ModelUnavailable("No embedder: set OPENAI_API_KEY, or OPENAI_BASE_URL for one of your own.")
            self._client = openai.AsyncOpenAI(
                base_url=self._base_url,
                api_key=self._api_key or "none",
                timeout=openai.Timeout(self._timeout, connect=min(10.0, self._timeout)),
                max_retries=self._max_retries,
            )
        return self._client

    def _unavailable(self, wrong: str) -> ModelUnavailable:
        return ModelUnavailable(
            f"The embedder {self.name} failed: {wrong}. Check the model's name (AGENTMESH_EMBEDDER), the base URL "
            "(OPENAI_BASE_URL) and OPENAI_API_KEY."
        )
