"""A language model behind any endpoint that speaks OpenAI's chat completions, through the `openai` package."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentmesh.contracts import Function, Reply
from agentmesh.errors import ModelUnavailable
from agentmesh.llm.assembly import Assembly
from agentmesh.trace.spans import chatting

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI, AsyncStream

OnText = Callable[[str], Awaitable[None]]

ADVICE = {
    400: "Its limits may be smaller than this request, or the model does not take functions.",
    401: "Check OPENAI_API_KEY.",
    403: "Check that OPENAI_API_KEY may use this model.",
    404: "Check the model's name (AGENTMESH_MODEL) and the base URL (OPENAI_BASE_URL, usually ending in /v1).",
    413: "The request is too large for it.",
    429: "Its rate or quota is used up: try again later, or raise the limit.",
}
ELSEWHERE = "Check the base URL (OPENAI_BASE_URL) and whether the endpoint is up."


class OpenAIChat:
    """`ChatModel` on chat completions: streamed, with functions, at any `base_url`.

    `base_url` and `api_key` default to OPENAI_BASE_URL and OPENAI_API_KEY; an endpoint of one's own needs no key.
    `timeout` is how long the endpoint may be silent and `patience` how long one answer may take altogether, retries
    included, in seconds. Connection errors, 408, 409, 429 and 5xx are tried again up to `max_retries` times, after what
    `Retry-After` says (up to 2 minutes) or a growing pause; an empty answer is asked for once more. `options` goes into
    every request, such as `{"temperature": 0}`.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        timeout: float = 120.0,
        patience: float = 600.0,
        max_retries: int = 3,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self._base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._api_key = api_key or os.environ.get("OPENAI_API_KEY") or ""
        self._timeout = timeout
        self._patience = patience
        self._max_retries = max_retries
        self._options = dict(options or {})
        self._counts_tokens = True
        self._client: AsyncOpenAI | None = None
        self._connecting = threading.Lock()

    async def complete(
        self,
        messages: Sequence[Mapping[str, Any]],
        functions: Sequence[Function] = (),
        *,
        key: str = "",
        on_text: OnText | None = None,
    ) -> Reply:
        """Ask for the next message; the reply has text, calls, both, or nothing. Raises `ModelUnavailable`.

        A stream that breaks off is not taken up again here: part of its text was shown already.
        """
        await asyncio.to_thread(self._connected)  # the first time, that is half a second of imports
        body = self._body(messages, functions)
        with chatting(self.model, self._base_url or "") as span:
            reply = await self._in_time(body, key, on_text)
            span.set(
                gen_ai__usage__input_tokens=reply.input_tokens,
                gen_ai__usage__output_tokens=reply.output_tokens,
            )
            return reply

    async def _in_time(self, body: dict[str, Any], key: str, on_text: OnText | None) -> Reply:
        try:
            async with asyncio.timeout(self._patience) as limit:
                return await self._ask(body, key, on_text)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise self._unavailable(f"did not finish its answer in {self._patience:g} s.", ELSEWHERE) from error

    async def aclose(self) -> None:
        """Close the connections. The next request opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _body(self, messages: Sequence[Mapping[str, Any]], functions: Sequence[Function]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": list(messages), "stream": True}
        if functions:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {"name": f.name, "description": f.description, "parameters": f.parameters}
                    | ({"strict": True} if f.strict else {}),
                }
                for f in functions
            ]
        return body | self._options

    async def _ask(self, body: dict[str, Any], key: str, on_text: OnText | None) -> Reply:
        """One request and its answer, whole. SDK errors become `ModelUnavailable`; those of `on_text` pass."""
        import openai

        assembly = Assembly()
        try:
            async with aclosing(self._chunks(body, key)) as chunks:
                async for chunk in chunks:
                    text = assembly.add(chunk)
                    if text and on_text is not None:
                        await on_text(text)
        except openai.APIStatusError as error:
            if self._counts_tokens and error.status_code in (400, 422) and "stream_options" in str(error):
                self._counts_tokens = False  # an older endpoint; asking without is all it takes
                return await self._ask(body, key, on_text)
            raise self._refused(error) from self._cause(error)
        except openai.APITimeoutError as error:
            raise self._unavailable(f"did not answer within {self._timeout:g} s.", ELSEWHERE) from error
        except openai.APIConnectionError as error:
            if assembly.begun:
                raise self._broke_off() from error
            raise self._unavailable("cannot be reached.", ELSEWHERE) from error
        except openai.OpenAIError as error:
            raise self._unavailable(f"failed: {self._safe(str(error))}.", ELSEWHERE) from self._cause(error)
        if not assembly.begun:
            raise self._unavailable("answered without a completion.", ELSEWHERE)
        if not assembly.finished:
            raise self._broke_off()
        return assembly.reply()

    async def _chunks(self, body: dict[str, Any], key: str) -> AsyncGenerator[Any, None]:
        """The answer's chunks as plain data; one chunk when the endpoint does not stream."""
        from openai import AsyncStream

        if self._counts_tokens:
            body = {"stream_options": {"include_usage": True}, **body}
        stream = await self._connected().post(
            "/chat/completions",
            body=body,
            options={"headers": {"Idempotency-Key": key}} if key else {},
            cast_to=object,
            stream=True,
            stream_cls=AsyncStream[object],
        )
        async with stream:
            kind = stream.response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind.endswith("json") or kind.startswith("text/html"):
                yield await self._whole(stream)
                return
            try:
                async for chunk in stream:
                    yield chunk
            except ValueError as error:
                raise self._unavailable("sent something that is not JSON.", ELSEWHERE) from error

    async def _whole(self, stream: "AsyncStream[object]") -> Any:
        try:
            await stream.response.aread()
            answer = stream.response.json()
        except ValueError as error:
            raise self._unavailable("sent something that is not JSON.", ELSEWHERE) from error
        except Exception as error:  # the SDK lets errors of its HTTP library through here, and that library has changed
            raise self._broke_off() from error
        if isinstance(answer, Mapping) and answer.get("error"):
            raise self._unavailable(f"failed: {self._safe(_said(answer['error']))}.", ELSEWHERE)
        return answer

    def _connected(self) -> "AsyncOpenAI":
        import openai

        with self._connecting:
            if self._client is None:
                if not (self._api_key or self._base_url):
                    raise ModelUnavailable(
                        "No language model: set OPENAI_API_KEY, or OPENAI_BASE_URL for one of your own."
                    )
                self._client = openai.AsyncOpenAI(
                    base_url=self._base_url,
                    api_key=self._api_key or "none",
                    timeout=openai.Timeout(self._timeout, connect=min(10.0, self._timeout)),
                    max_retries=self._max_retries,
                )
            return self._client

    def _refused(self, error: "APIStatusError") -> ModelUnavailable:
        status = error.status_code
        said = self._safe(_said(error.body))
        advice = ADVICE.get(status, ELSEWHERE if status >= 500 else "Check the model's settings.")
        return self._unavailable(f"answered {status}{f': {said}' if said else ''}.", advice)

    def _unavailable(self, wrong: str, advice: str) -> ModelUnavailable:
        return ModelUnavailable(f"The model {self.model!r} at {_shown(self._base_url)} {wrong} {advice}")

    def _broke_off(self) -> ModelUnavailable:
        where = f"The model {self.model!r} at {_shown(self._base_url)}"
        return ModelUnavailable(f"{where} broke off in the middle of its answer. Try again.", broke_off=True)

    def _safe(self, text: str) -> str:
        """What an endpoint said, short and without the key, in case it echoes it."""
        if self._api_key:
            text = text.replace(self._api_key, "…")
        text = " ".join(text.split())
        return (text if len(text) <= 300 else text[:299] + "…").rstrip(".")

    def _cause(self, error: Exception) -> Exception | None:
        return None if self._api_key and self._api_key in f"{error}{getattr(error, 'body', '')}" else error


def _said(body: object) -> str:
    """The message in an error's body, which the SDK has taken out of its `error` already where there was one."""
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body.get("error") or ""
    text = body if isinstance(body, str) else ""
    return "" if text.lstrip().startswith("<") else text


def _shown(base_url: str | None) -> str:
    """The base URL without what may be secret in it."""
    if not base_url:
        return "api.openai.com"
    url = urlsplit(base_url)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
