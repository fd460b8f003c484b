"""Answering one request of a foreign client, until the end of what it asked for has been told.

Nothing is kept here that must survive: the request stays unacknowledged meanwhile, and whoever gets it next begins
anew. The call that it makes has an id that follows from the request, so that it is made once.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Final

from agentmesh.a2a.rocketmq import rpc
from agentmesh.a2a.rocketmq.asked import SkillLike, Wish, choose, read_task_id, read_wish
from agentmesh.a2a.rocketmq.envelope import Reply, Request, chunk, write_reply
from agentmesh.a2a.rocketmq.rpc import Asked, RpcError
from agentmesh.a2a.rocketmq.tasks import Telling, task_of
from agentmesh.broker.rocketmq.client import Outgoing, Producer
from agentmesh.clock import sleep
from agentmesh.errors import (
    BrokerUnavailable,
    CallNotFound,
    ConfigError,
    Conflict,
    MeshError,
    PayloadTooLarge,
    RegistryUnavailable,
    TopicNotFound,
    Unauthorized,
)
from agentmesh.fold import CallState
from agentmesh.ids import LITE_TOPIC, digest, kind_of
from agentmesh.log import get_logger
from agentmesh.message import INLINE_LIMIT, QUESTIONS, TERMINAL, Claim, Event, to_json
from agentmesh.runtime.call import Call
from agentmesh.runtime.client import Client

BY: Final = "a rocketmq-a2a client"
"""Who cancelled a call, where such a client did."""

_PAUSE: Final = 1.0
_LATER: Final = (BrokerUnavailable, RegistryUnavailable, TopicNotFound)
_UNTOLD: Final = frozenset({"delta", "step"})


class Unreachable(Exception):
    """Nobody can be told anything at the address that the request gives."""


class Line:
    """The way back to whoever asked. `follow_ups`: the topic and LiteTopic that replies give for them."""

    def __init__(self, producer: Producer, request: Request, follow_ups: tuple[str, str]) -> None:
        self._producer = producer
        self._request = request
        self._topic, self._lite_topic = follow_ups
        self._told = 0

    async def answer(self, body: str, task: str | None = None, context: str | None = None) -> None:
        """The only reply. Raises `RpcError` for one that is too large, `Unreachable`, `BrokerUnavailable`."""
        await self._send(self._reply(body, task, context, stream=False, end=True))

    async def tell(self, body: str, task: str | None = None, context: str | None = None) -> None:
        """The next chunk of a stream. Raises as `answer`."""
        await self._send(self._reply(chunk(body, self._told), task, context, stream=True, end=False))
        self._told += 1

    async def end(self, task: str | None = None, context: str | None = None) -> None:
        """The stream's end. Raises as `answer`."""
        await self._send(self._reply(None, task, context, stream=True, end=True))

    def _reply(self, body: str | None, task: str | None, context: str | None, *, stream: bool, end: bool) -> Reply:
        return Reply(
            response_body=body,
            request_id=self._request.request_id,
            stream=stream,
            end=end,
            context_id=context,
            task_id=task,
            server_work_agent_response_topic=self._topic,
            server_lite_topic=self._lite_topic,
        )

    async def _send(self, reply: Reply) -> None:
        raw = write_reply(reply)
        if len(raw) > INLINE_LIMIT:
            raise too_large(len(raw))
        request = self._request
        try:
            await self._producer.send(Outgoing(request.reply_topic, raw, lite_topic=request.lite_topic))
        except (ConfigError, Unauthorized, PayloadTooLarge) as error:
            raise Unreachable(str(error)) from error


class Conversation:
    """One request on `topic`, whose agent has these `skills`."""

    def __init__(
        self, request: Request, topic: str, skills: Mapping[str, SkillLike], client: Client, line: Line
    ) -> None:
        self._request = request
        self._topic = topic
        self._skills = skills
        self._client = client
        self._line = line

    async def run(self) -> None:
        """Return once everything has been told. Raises `Unreachable`, and for what may be better later
        `BrokerUnavailable`, `RegistryUnavailable`, `TopicNotFound`.
        """
        asked = rpc.read_asked(self._request.body)
        try:
            if asked.error:
                raise asked.error
            await self._method(asked)(asked)
        except RpcError as error:
            await self._refuse(asked, error)
        except (Unreachable, *_LATER):
            raise
        except MeshError as error:
            await self._refuse(asked, RpcError(rpc.INTERNAL_ERROR, str(error)))
        except Exception:
            get_logger().exception("cannot answer a rocketmq-a2a client", topic=self._topic)
            await self._refuse(asked, RpcError(rpc.INTERNAL_ERROR, f"{self._topic} failed at this request."))

    def _method(self, asked: Asked) -> Callable[[Asked], Awaitable[None]]:
        methods: dict[str, Callable[[Asked], Awaitable[None]]] = {
            "message/send": self._send,
            "message/stream": self._stream,
            "tasks/get": self._get,
            "tasks/cancel": self._cancel,
            "tasks/resubscribe": self._resubscribe,
        }
        method = methods.get(asked.method)
        if method:
            return method
        if asked.method.startswith("tasks/pushNotificationConfig/"):
            raise RpcError(rpc.NO_PUSH, "There are no push notifications: follow the task by tasks/resubscribe.")
        if asked.method == "agent/getAuthenticatedExtendedCard":
            raise RpcError(rpc.NO_EXTENDED_CARD, "There is no extended card.")
        known = ", ".join(methods)
        raise RpcError(rpc.METHOD_NOT_FOUND, f"There is no method {asked.method[:80]!r}. There are {known}.")

    async def _refuse(self, asked: Asked, error: RpcError) -> None:
        body = rpc.write_error(asked.id, error)
        if asked.streams:
            await self._line.tell(body)
            await self._line.end()
        else:
            await self._line.answer(body)

    # The methods

    async def _send(self, asked: Asked) -> None:
        wish = read_wish(asked.params)
        call, after = await self._wished(wish)
        if wish.blocks:
            async with aclosing(self._events(call, after)) as events:
                async for event in events:
                    if await self._is_final(call, event):
                        break
        await self._tell_task(asked, call)

    async def _stream(self, asked: Asked) -> None:
        call, after = await self._wished(read_wish(asked.params))
        await self._follow(asked, call, after)

    async def _resubscribe(self, asked: Asked) -> None:
        await self._follow(asked, await self._known(read_task_id(asked.params)), -1)

    async def _get(self, asked: Asked) -> None:
        await self._tell_task(asked, await self._known(read_task_id(asked.params)))

    async def _cancel(self, asked: Asked) -> None:
        call = await self._known(read_task_id(asked.params))
        await call.cancel(by=BY)
        terminal = (await call.state()).terminal
        if terminal is None or terminal.type != "cancelled":
            raise RpcError(rpc.TASK_NOT_CANCELABLE, f"{call.id} has ended before.")
        await self._tell_task(asked, call)

    # What they are made of

    async def _wished(self, wish: Wish) -> tuple[Call, int]:
        """The call that a message is for, and the offset past which is what follows from it. Raises `RpcError`."""
        if wish.task:
            return await self._answered(wish)
        owner = self._client.owner("")
        call_id = f"call-{digest('rocketmq-a2a', owner, self._topic, self._request.request_id)}"
        try:
            return await self._client.attach(call_id), -1
        except CallNotFound:
            skill, value = choose(wish, self._skills, self._topic)
            call = await self._client.start(
                self._topic, value, skill=skill, call_id=call_id, session=wish.context or call_id
            )
            return call, -1

    async def _answered(self, wish: Wish) -> tuple[Call, int]:
        """A message for a task that there is: the answer to its question."""
        call = await self._known(wish.task)
        text = wish.text if wish.text is not None else to_json(wish.data[0] if wish.data else {}).decode()
        state = await call.state()
        if state.questions:
            try:
                await call.answer(text)
            except Conflict as error:
                raise RpcError(rpc.UNSUPPORTED, str(error)) from error
            state = await call.state()
        for event in reversed(state.events):
            if event.type == "answered" and event.data["text"] == text:
                return call, event.offset
        raise RpcError(rpc.UNSUPPORTED, f"{call.id} asks nothing: send a message without taskId for another task.")

    async def _known(self, task: str) -> Call:
        """The call of this id, if it is one of this agent's that this mesh may see. Raises `RpcError`."""
        if LITE_TOPIC.match(task) and kind_of(task) == "call":
            try:
                call = await self._client.attach(task)
            except CallNotFound:
                pass
            else:
                if call.topic == self._topic:
                    return call
        raise no_task(task)

    async def _follow(self, asked: Asked, call: Call, after: int) -> None:
        """Stream what happens past the offset `after`."""
        state = await call.state()
        context = _context(call, state)
        before = [event for event in state.events if event.offset <= after]
        first = task_of(call.id, context, await self._resolved(state, before))
        await self._line.tell(rpc.write_result(asked.id, first), call.id, context)
        telling = Telling(call.id, context)
        async with aclosing(self._events(call, max(after, 0))) as events:
            async for event in events:
                final = await self._is_final(call, event)
                for update in telling.updates(event, final=final):
                    await self._line.tell(rpc.write_result(asked.id, update), call.id, context)
                if final:
                    break
        await self._line.end(call.id, context)

    async def _tell_task(self, asked: Asked, call: Call) -> None:
        state = await call.state()
        context = _context(call, state)
        task = task_of(call.id, context, await self._resolved(state, state.events))
        await self._line.answer(rpc.write_result(asked.id, task), call.id, context)

    async def _events(self, call: Call, after: int) -> AsyncGenerator[Event, None]:
        """As `Call.events`, however often the broker is away. Raises `RpcError` once the call is no more."""
        while True:
            try:
                async with aclosing(call.watch(after)) as events:
                    async for tenant, event in events:
                        yield await self._whole(tenant, event)
                        after = event.offset
                return
            except BrokerUnavailable:
                await sleep(self._client.clock, _PAUSE)
            except CallNotFound as error:
                raise no_task(call.id) from error

    async def _is_final(self, call: Call, event: Event) -> bool:
        """Whether nothing follows the event before somebody does something."""
        if event.type in QUESTIONS:
            return event.data["question"] in (await call.state()).questions
        return event.type in TERMINAL

    async def _resolved(self, state: CallState, events: list[Event]) -> list[Event]:
        tenant = str((state.submitted or {}).get("tenant", ""))
        return [await self._whole(tenant, event) for event in events if event.type not in _UNTOLD]

    async def _whole(self, tenant: str, event: Event) -> Event:
        """The event with its data, if that can be told at all. Raises `RpcError`."""
        if type(event.data) is Claim and event.data.size > INLINE_LIMIT:
            raise too_large(event.data.size)
        return await self._client.bodies.resolved(tenant, event)


def too_large(size: int) -> RpcError:
    """The error for what does not fit into a message."""
    return RpcError(
        rpc.INTERNAL_ERROR,
        f"The answer has {size:,} bytes, and a RocketMQ message {INLINE_LIMIT:,} at most: let the agent hand over a "
        "reference, or call it through agentmesh.",
    )


def no_task(task: str) -> RpcError:
    """The error for a task that is not there, or is not the caller's to see."""
    return RpcError(rpc.TASK_NOT_FOUND, f"There is no task {task!r}. It never began, or its log has ended.")


def _context(call: Call, state: CallState) -> str:
    return str((state.submitted or {}).get("session") or call.id)
