"""What a handler sees of its call, and how it speaks into the call's LiteTopic."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agentmesh.errors import ConfigError, Conflict
from agentmesh.fold import CallState
from agentmesh.ids import child_call, digest
from agentmesh.log import get_logger
from agentmesh.message import JSON, QUESTIONS, TERMINAL, Draft, Event, to_json
from agentmesh.runtime.call import Call, failure

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from agentmesh.contracts import ChatModel, Planner
    from agentmesh.runtime.attempt import Attempt
    from agentmesh.runtime.client import Client
    from agentmesh.runtime.memory import Memory

_ENDS: Final = frozenset({"result", "failure"})
_FOLLOWED: Final = TERMINAL | QUESTIONS


class Context:
    """The call that a handler works on.

    `call`, `ask` and `once` are steps: their results are recorded, and a handler that runs again after a crash gets
    them back without doing them again. A step is known by its number in the order of calls, or by its `key`; the
    number is taken when the method is called in the handler's own task, so elsewhere `key=` is required. `progress`,
    `emit` and `artifact` belong to the attempt: what a lost attempt said is not shown any more. All of them raise
    `LeaseLost` when another attempt has taken over; the handler is being cancelled then.
    """

    def __init__(self, attempt: "Attempt") -> None:
        self._attempt = attempt
        self._count = 0
        self._memory: Memory | None = None
        self._log: FilteringBoundLogger | None = None

    @property
    def call_id(self) -> str:
        """The same for every attempt: the idempotency key to hand on to systems outside."""
        return self._attempt.message.id

    @property
    def run_id(self) -> str:
        """The run that this call is part of; empty outside runs."""
        return self._attempt.message.run

    @property
    def tenant(self) -> str:
        return self._attempt.message.tenant

    @property
    def principal(self) -> str:
        """On whose behalf; empty when nobody said."""
        return self._attempt.message.principal

    @property
    def session(self) -> str:
        return self._attempt.message.session

    @property
    def attempt(self) -> int:
        """Counts from 1."""
        return self._attempt.lease.attempt

    @property
    def deadline(self) -> datetime:
        """When the call times out."""
        return datetime.fromtimestamp(self._attempt.message.deadline / 1000, UTC)

    @property
    def cancelled(self) -> bool:
        """Whether the call was cancelled. An async handler is cancelled as well; a plain function looks here."""
        return self._attempt.reason == "cancelled"

    @property
    def log(self) -> "FilteringBoundLogger":
        """A structlog logger bound to the call's ids."""
        if self._log is None:
            message = self._attempt.message
            self._log = get_logger(call=message.id, topic=message.topic, tenant=message.tenant, attempt=self.attempt)
        return self._log

    @property
    def memory(self) -> "Memory":
        """Keys and values kept per (tenant, principal) across calls and agents: `get`, `set`, `delete`, `items`."""
        if self._memory is None:
            from agentmesh.runtime.memory import Memory

            message = self._attempt.message
            self._memory = Memory(self._attempt.client, message.tenant, message.principal)
        return self._memory

    @property
    def client(self) -> "Client":
        """The mesh as this call's tenant sees it, for agents that are part of it: supervisors, bridges."""
        return self._attempt.client

    @property
    def planner(self) -> "Planner":
        """How the mesh plans: with its model, or by rule."""
        return self._attempt.client.planner()

    @property
    def model(self) -> "ChatModel | None":
        """The language model that the mesh is configured with; None without one."""
        return self._attempt.client.model()

    async def progress(self, message: str, fraction: float | None = None) -> None:
        """Tell how far it is; `fraction` is 0 to 1."""
        await self._attempt.write([Draft("progress", {"message": message, "fraction": fraction})])

    async def emit(self, text: str) -> None:
        """Stream a piece of the output."""
        await self._attempt.write([Draft("delta", {"text": text})])

    async def artifact(self, name: str, data: Any, content_type: str = JSON) -> None:
        """Hand over a named piece of the result: JSON data, or bytes of another content type."""
        value = {"name": name, "content_type": content_type, "data": data}
        await self._attempt.write([Draft("artifact", value)])

    async def journal(self, type: str, data: Any, *, id: str) -> None:  # noqa: A002
        """Append an entry of a type of its own, once for all attempts: a supervisor's `planned`, `call_started`, …"""
        if type in TERMINAL or type in ("submitted", "accepted", "answered", "retrying"):
            raise ConfigError(f"{type!r} entries are the mesh's own.")
        await self._attempt.write([Draft(type, data, id=id)])

    def call(
        self,
        topic: str,
        input: Any = None,  # noqa: A002
        *,
        skill: str = "",
        key: str = "",
        returns: Any = None,
        **options: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Call another agent and wait for its result: same tenant, session and trace, and never past this call's
        deadline.

        Options are those of `Mesh.start`. The handler's slot and time are given back while it waits. Raises what
        `Call.result` raises.
        """
        return self._call(self._step(key), topic, input, skill, returns, options)

    def ask(self, question: str, *, key: str = "") -> Coroutine[Any, Any, str]:
        """Ask whoever made the call, and wait for the answer, for days if need be."""
        return self._ask(self._step(key), question, "input_required", {"text": question})

    def approve(self, question: str, skill: str, input: Any, *, key: str) -> Coroutine[Any, Any, str]:  # noqa: A002
        """Ask a person whether `skill` may be called with `input`; returns what they answered."""
        asked = {"text": question, "skill": skill, "input": input}
        return self._ask(key, question, "approval_required", asked)

    def once(self, key: str, fn: Callable[[], Any]) -> Coroutine[Any, Any, Any]:
        """The result of `fn` (plain or async; JSON data), which is not run again once it is recorded."""
        return self._once(key, fn)

    def _step(self, key: str) -> str:
        if key:
            return key
        if asyncio.current_task() is not self._attempt.task:
            raise ConfigError("A step from another task needs a name that is the same on every attempt: pass key=.")
        return self.next_step()

    def next_step(self) -> str:
        """The key of the next step that has no key of its own."""
        self._count += 1
        return f"#{self._count}"

    def recorded_once(self, key: str) -> dict[str, Any] | None:
        """The step that `once(key, …)` recorded, on this attempt or an earlier one."""
        return self._recorded(key, "once", "")

    def _recorded(self, key: str, kind: str, arguments: str) -> dict[str, Any] | None:
        """What an earlier attempt, or this one, recorded of the step."""
        found = self._attempt.steps.get(key)
        if found and (found["kind"], found["digest"]) != (kind, arguments):
            raise Conflict(
                f"Step {key} of {self.call_id} was {found['kind']}({found['digest']}) on an earlier attempt "
                f"and is {kind}({arguments}) now. Handlers must take the same steps in the same order."
            )
        return found

    async def _once(self, key: str, fn: Callable[[], Any]) -> Any:
        found = self.recorded_once(key)
        if found is None:
            value = fn()
            if inspect.isawaitable(value):
                value = await value
            found = {"key": key, "kind": "once", "digest": "", "result": value}
            await self._attempt.write_step(found, end=True)
        return found["result"]

    async def _call(self, key: str, topic: str, value: Any, skill: str, returns: Any, options: dict[str, Any]) -> Any:
        step = {"key": key, "kind": "call", "digest": digest(topic, skill, to_json(value))}
        found = self._recorded(key, "call", step["digest"])
        if found is None:
            found = step | {"call": child_call(self.call_id, key)}
            await self._attempt.write_step(found, end=False)
        if not _ENDS & found.keys():
            attempt = self._attempt
            child = await attempt.client.start(
                topic, value, skill=skill, call_id=found["call"], parent=attempt.message, **options
            )
            event = await attempt.waiting(self._follow(child))
            end = {"end": event.type, "data": event.data}
            found = found | ({"result": event.data["result"]} if event.type == "completed" else {"failure": end})
            await attempt.write_step(found | {"end": event.type}, end=True)
        return _outcome(found, topic, returns)

    async def _follow(self, child: Call) -> Any:
        """The child's terminal event. Its questions are passed up to this call's log, and the answers down."""
        asked: set[str] = set()
        answers: list[asyncio.Task[None]] = []
        try:
            async with aclosing(child.watch()) as events:
                async for tenant, seen in events:
                    if seen.type not in _FOLLOWED:
                        continue
                    event = await self._attempt.client.bodies.resolved(tenant, seen)
                    if event.type in TERMINAL:
                        return event
                    if event.data["question"] not in asked:
                        asked.add(event.data["question"])
                        answers.append(asyncio.create_task(self._pass_up(child, event)))
        except asyncio.CancelledError:
            if self._attempt.reason not in ("lost", "released"):
                await asyncio.shield(child.cancel(by=self.call_id))
            raise
        finally:
            for answer in answers:
                answer.cancel()
        raise AssertionError("a call's events end with a terminal")

    async def _pass_up(self, child: Call, event: Event) -> None:
        question = event.data["question"]
        await self._attempt.write([Draft(event.type, event.data, id=f"ask-{question}")])
        text = await self._answer(question)
        try:
            await child.answer(text, question)
        except Conflict:
            return  # it was answered there in the meantime

    async def _ask(self, key: str, question: str, type: str, data: dict[str, Any]) -> str:  # noqa: A002
        step = {"key": key, "kind": "ask", "digest": digest(question)}
        found = self._recorded(key, "ask", step["digest"])
        if found is None or "result" not in found:
            name = digest(self.call_id, key)[:16]
            await self._attempt.write([Draft(type, {"question": name} | data, id=f"ask-{name}")])
            found = step | {"result": await self._attempt.waiting(self._answer(name))}
            await self._attempt.write_step(found, end=True)
        return str(found["result"])

    async def _answer(self, question: str) -> str:
        """Wait until the question is answered in this call's log."""
        attempt = self._attempt
        state = CallState()
        attempt.asking += 1
        try:
            async with attempt.client.hub.follow(attempt.message.log, -1) as follower:
                while question not in state.answers:
                    for entry in await follower.next():
                        state.add(entry)
        finally:
            attempt.asking -= 1
        return state.answers[question]


def _outcome(step: dict[str, Any], topic: str, returns: Any) -> Any:
    if "failure" in step:
        end = step["failure"]
        raise failure(Event(0, end["end"], 0, 0, end["data"]), step["call"], topic)
    if returns is None:
        return step["result"]
    from agentmesh.schema import convert

    return convert(step["result"], returns)


class BlockingContext:
    """The `Context` of a plain function, which runs in a thread: the same names, without `await`."""

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop) -> None:
        self._context = context
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._context, name)
        if name == "memory":
            return BlockingMemory(value, self._loop)
        return self._blocking(value) if name in ("progress", "emit", "artifact", "journal") else value

    def call(self, topic: str, input: Any = None, *, key: str = "", **options: Any) -> Any:  # noqa: A002
        return self._blocking(self._context.call)(topic, input, key=key or self._context.next_step(), **options)

    def ask(self, question: str, *, key: str = "") -> str:
        return str(self._blocking(self._context.ask)(question, key=key or self._context.next_step()))

    def once(self, key: str, fn: Callable[[], Any]) -> Any:
        found = self._context.recorded_once(key)
        value = found["result"] if found else fn()
        return self._blocking(self._context.once)(key, lambda: value)

    def _blocking(self, method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
        return lambda *args, **options: asyncio.run_coroutine_threadsafe(method(*args, **options), self._loop).result()


class BlockingMemory:
    """`Context.memory` of a plain function."""

    def __init__(self, memory: "Memory", loop: asyncio.AbstractEventLoop) -> None:
        self._memory = memory
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._memory, name)
        return lambda *args: asyncio.run_coroutine_threadsafe(method(*args), self._loop).result()
