"""One call of a remote agent: the request, what comes back, and the questions in between."""

import asyncio
import contextlib
from typing import Any, Final

from agentmesh.a2a.rocketmq.envelope import Request, write_request
from agentmesh.a2a.rocketmq.heard import Heard, News
from agentmesh.a2a.rocketmq.interface import Interface
from agentmesh.a2a.rocketmq.link import Link, Replies
from agentmesh.a2a.rocketmq.rpc import INVALID_PARAMS, RpcError, write_call
from agentmesh.clock import sleep
from agentmesh.errors import BrokerUnavailable, CallFailed, InvalidInput, MeshError, PayloadCorrupt, Retryable
from agentmesh.ids import body_digest
from agentmesh.runtime.context import Context

_LONGEST: Final = 30.0
"""Seconds between two looks at a task, at most."""

_GOODBYE: Final = 3.0
"""Seconds for telling a remote agent that its task is cancelled."""


class Exchange:
    """With the agent `name` at `interface`. Requests have ids that follow from the call's, and are sent once if nothing
    fails: an attempt that comes after another one hears the replies to what that one sent.
    """

    def __init__(self, name: str, interface: Interface, link: Link, ctx: Context, *, streaming: bool) -> None:
        self._name = name
        self._interface = interface
        self._link = link
        self._ctx = ctx
        self._method = "message/stream" if streaming else "message/send"
        self._heard = Heard()

    async def run(self, message: dict[str, Any]) -> Any:
        """The result. Raises `CallFailed`, `InvalidInput`, `Retryable` while the cluster is away."""
        try:
            async with self._link.replies(self._ctx.call_id) as replies:
                try:
                    return await self._converse(replies, message)
                except asyncio.CancelledError:
                    if self._ctx.cancelled:
                        await asyncio.shield(self._cancel())
                    raise
        except BrokerUnavailable as error:
            raise Retryable(f"{self._name} cannot be reached: {error}") from error

    async def _converse(self, replies: Replies, message: dict[str, Any]) -> Any:
        number = 0
        await self._ask(replies, number, self._method, {"message": message})
        while self._heard.state in ("input-required", "auth-required"):
            if self._heard.state == "auth-required":
                raise CallFailed(f"{self._name} wants to know who asks, which is not supported: {self._heard.said}")
            number += 1
            answer = await self._ctx.ask(self._heard.said or f"{self._name} asks for more.", key=f"question-{number}")
            parts = [{"kind": "text", "text": answer}]
            following = {**message, "parts": parts, "messageId": self._request_id(number), "taskId": self._heard.task}
            if self._heard.context:
                following["contextId"] = self._heard.context
            await self._ask(replies, number, self._method, {"message": following})
        if self._heard.state == "completed":
            return self._heard.value()
        said = f": {self._heard.said}" if self._heard.said else ""
        raise CallFailed(f"{self._name} ended the task as {self._heard.state}{said}")

    async def _ask(self, replies: Replies, number: int, method: str, params: dict[str, Any]) -> None:
        """Request `number`, and all replies to it."""
        request_id = self._request_id(number)
        self._heard.begin()
        await self._ctx.once(f"request-{number}", lambda: self._send(request_id, method, params))
        await self._hear(replies, request_id)
        looked = 0
        while not self._heard.ended:  # the stream broke off, or the agent does not wait for the result
            if not self._heard.task:
                raise CallFailed(f"{self._name} ended its answer without a result, and without a task to ask for.")
            await sleep(self._ctx.client.clock, min(2.0**looked - 1, _LONGEST))
            looked += 1
            self._heard.begin()
            request_id = self._request_id(number, f"get {self._ctx.attempt} {looked}")
            await self._send(request_id, "tasks/get", {"id": self._heard.task})
            await self._hear(replies, request_id)

    async def _hear(self, replies: Replies, request_id: str) -> None:
        try:
            while not (self._heard.over or self._heard.ended):
                for news in self._heard.add(await replies.next(request_id)):
                    await self._tell(news)
        except RpcError as error:
            kind = InvalidInput if error.code == INVALID_PARAMS else CallFailed
            raise kind(f"{self._name} refused ({error.code}): {error.message}") from error
        except PayloadCorrupt as error:
            raise CallFailed(f"{self._name} sent what is no answer of A2A 0.3: {error}") from error

    async def _tell(self, news: News) -> None:
        if news.kind == "progress":
            await self._ctx.progress(news.text, news.fraction)
        elif news.kind == "output":
            await self._ctx.emit(news.text)
        else:
            await self._ctx.artifact(news.name, news.data, news.content_type)

    async def _send(self, request_id: str, method: str, params: dict[str, Any]) -> None:
        body = write_call(request_id, method, params)
        lite_topic = self._ctx.call_id
        raw = write_request(Request(body, self._link.reply_topic, lite_topic, request_id), self._interface.topic)
        await self._link.send(raw, None if method.startswith("message/") else self._heard.follow_up)

    async def _cancel(self) -> None:
        """Tell the remote agent; as far as it can be told."""
        if self._heard.task:
            with contextlib.suppress(MeshError, TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await self._send(self._request_id(0, "cancel"), "tasks/cancel", {"id": self._heard.task})

    def _request_id(self, number: int, what: str = "") -> str:
        return body_digest(f"{self._ctx.call_id} {number} {what}".encode())
