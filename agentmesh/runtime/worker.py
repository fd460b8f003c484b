"""A worker: leases the tasks of one agent, runs its handlers, and ends each task in one transaction."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from agentmesh.clock import sleep
from agentmesh.contracts import Append
from agentmesh.errors import (
    BrokerUnavailable,
    CallFailed,
    InvalidInput,
    InvalidOutput,
    LeaseLost,
    MeshError,
    PayloadCorrupt,
    Retryable,
)
from agentmesh.fold import fold
from agentmesh.log import get_logger
from agentmesh.message import Draft, from_json
from agentmesh.runtime.attempt import Attempt, Slots
from agentmesh.runtime.client import Client
from agentmesh.runtime.context import BlockingContext, Context
from agentmesh.runtime.reading import read_all
from agentmesh.runtime.watch import watched
from agentmesh.scheduling.retry import Again, Dead, after_raised, rule_for
from agentmesh.trace.spans import Processing

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from agentmesh.runtime.declaration import Declaration, Skill

_POLL: Final = 60.0
_PAUSE: Final = 1.0
_GRACE: Final = 5.0
_MESSAGE: Final = 2000

Verdict = Draft | tuple[str, Again | Dead] | None
"""How an attempt ends: a terminal entry; an error with what follows from it; or nothing to say."""


class Worker:
    """Serves one declared agent until it is stopped. `name` tells this worker from all others."""

    def __init__(self, declaration: "Declaration", client: Client, name: str) -> None:
        self.declaration = declaration
        self.name = name
        self._client = client
        self._delivery = declaration.delivery
        self._slots = Slots(declaration.delivery.concurrency)
        self._attempts: dict[str, Attempt] = {}
        self._stopping = False
        self._gone = False
        self._idle = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._given_up: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to lease."""
        self._loops = [asyncio.create_task(self._lease()), asyncio.create_task(self._keep())]

    async def stop(self, drain: float) -> None:
        """Lease no more, give what runs `drain` seconds to end, then stop it and give it back for others to do."""
        self._stopping = True
        lease, keep = self._loops
        lease.cancel()
        try:
            await asyncio.gather(lease, return_exceptions=True)  # whose own cancellation is not ours
            await self._drain(drain)
        finally:
            self._gone = True
            for attempt in list(self._attempts.values()):  # there are some if the draining was cut short
                attempt.stop("released")
            keep.cancel()
        await asyncio.gather(keep, return_exceptions=True)

    async def _drain(self, seconds: float) -> None:
        """Wait for what runs, but for no person; what is left then is given back."""
        for attempt in list(self._attempts.values()):
            if attempt.asking:
                attempt.stop("released")
        if self._attempts and seconds > 0:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()
        attempts = list(self._attempts.values())
        for attempt in attempts:
            attempt.stop("released")
        tasks = [attempt.task for attempt in attempts if attempt.task]
        if tasks:
            await asyncio.wait(tasks, timeout=_GRACE)

    async def _lease(self) -> None:
        broker, topic, lanes = self._client.broker, self.declaration.topic, (self.declaration.version,)
        while not self._stopping:
            free = await self._slots.wait()
            try:
                leases = await broker.lease([topic], free, _POLL, worker=self.name, lanes=lanes)
            except MeshError as error:
                self._logger().warning("cannot lease", error=str(error))
                await sleep(self._client.clock, _PAUSE)
                continue
            for lease in leases:
                attempt = Attempt(self._client, lease, self._slots, self._delivery.timeout, self._give_up)
                self._attempts[lease.token] = attempt
                attempt.task = asyncio.create_task(self._work(attempt))

    async def _keep(self) -> None:
        """Renew the leases three times in their length, and hear of cancellations and losses at once."""
        third = self._delivery.lease / 3
        while True:
            try:
                held = [token for token, attempt in self._attempts.items() if not attempt.reason]
                news = await self._client.broker.extend(self.name, held, third)
            except MeshError as error:
                self._logger().warning("cannot renew leases", error=str(error))
                await sleep(self._client.clock, min(third, _PAUSE))
                continue
            for token, what in news.items():
                attempt = self._attempts.get(token)
                if attempt:
                    attempt.stop(what)
            await asyncio.sleep(0)  # let those that were just acknowledged leave

    async def _work(self, attempt: Attempt) -> None:
        verdict: Verdict = None
        with Processing(attempt.message, attempt.lease.attempt, self.name) as span:
            try:
                verdict = await self._attempt(attempt)
            except asyncio.CancelledError:
                attempt.reason = attempt.reason or "released"
            if span.is_recorded:
                _tell(span, attempt.reason, verdict)
            if not attempt.concluded:
                await self._finish(attempt, verdict)

    def _give_up(self, attempt: Attempt) -> None:
        """The handler goes on after it was cancelled: end the attempt without it."""
        self._logger().warning("a handler ignores its cancellation", call=attempt.message.id, reason=attempt.reason)
        verdict = self._timed_out(attempt) if attempt.reason == "timeout" else None
        task = asyncio.create_task(self._finish(attempt, verdict))
        self._given_up.add(task)
        task.add_done_callback(self._given_up.discard)

    async def _finish(self, attempt: Attempt, verdict: Verdict) -> None:
        attempt.conclude()
        try:
            await self._end(attempt, verdict)
        finally:
            self._attempts.pop(attempt.lease.token, None)
            if not self._attempts:
                self._idle.set()

    def _timed_out(self, attempt: Attempt) -> Verdict:
        return self._raised(attempt, TimeoutError(f"took longer than {self._delivery.timeout:g} s"))

    async def _attempt(self, attempt: Attempt) -> Verdict:
        """Run the handler once, and say what came of it."""
        try:
            body = await self._prepare(attempt)
            return None if body is None else await self._carry_out(attempt, body)
        except asyncio.CancelledError:
            if attempt.reason == "timeout":
                return self._timed_out(attempt)
            raise
        except Exception as error:
            return self._raised(attempt, error)

    async def _prepare(self, attempt: Attempt) -> bytes | bytearray | None:
        """The input, and what earlier attempts recorded; None if the call has ended meanwhile."""
        try:
            if attempt.lease.attempt > 1 and not await self._recall(attempt):
                return None
            return await self._client.bodies.body(attempt.message)
        except BrokerUnavailable as error:  # the blob store may be back later
            raise Retryable(str(error)) from error

    async def _recall(self, attempt: Attempt) -> bool:
        """Read what earlier attempts recorded; False if the call has ended meanwhile."""
        entries = await read_all(self._client.broker, attempt.message.log)
        state = fold(entries, self._client.clock.now())
        for key, step in state.steps.items():
            attempt.steps[key] = await self._client.bodies.data(attempt.message.tenant, "step", step)
        return state.terminal is None

    async def _carry_out(self, attempt: Attempt, body: bytes | bytearray) -> Verdict:
        skill = self._skill(attempt)
        try:
            value = from_json(body)
        except PayloadCorrupt as error:
            return _failed(InvalidInput(str(error)))
        result = skill.dump(await self._run(attempt, skill, skill.parse(value)))
        try:
            return self._client.bodies.weighed(Draft("completed", {"result": result}), attempt.lease)
        except PayloadCorrupt as error:
            return _failed(InvalidOutput(str(error)))

    def _skill(self, attempt: Attempt) -> "Skill":
        name = attempt.message.skill
        skill = self.declaration.skills.get(name)
        if skill is None:
            raise MeshError(f"This version of {self.declaration.topic} has no skill {name!r}.")
        return skill

    async def _run(self, attempt: Attempt, skill: "Skill", arguments: dict[str, Any]) -> Any:
        if skill.context:
            context = Context(attempt)
            loop = asyncio.get_running_loop()
            arguments[skill.context] = context if skill.is_async else BlockingContext(context, loop)
        if skill.is_async:
            return await watched(skill.handler(**arguments), self._blocked)
        return await _in_thread(lambda: skill.handler(**arguments))

    def _raised(self, attempt: Attempt, error: Exception) -> Verdict:
        """A handler's error: another attempt if the declaration or the handler wants one, else `failed`."""
        retry = rule_for(self._delivery.retry, type(error))
        if retry is None and isinstance(error, Retryable):
            retry = self._delivery.retry
        if retry is None:
            if not isinstance(error, MeshError):
                self._logger().warning("handler raised", call=attempt.message.id, exc_info=error)
            return _failed(error)
        after = error.after if isinstance(error, Retryable) else None
        text = f"{type(error).__name__}: {error}"[:_MESSAGE]
        now, lease = self._client.clock.now(), attempt.lease
        return text, after_raised(retry, text, lease.raised + 1, now, after, task=attempt.message.id)

    async def _end(self, attempt: Attempt, verdict: Verdict) -> None:
        """Write how it ended, together with the end of the task. Tried until it is stored or the lease is lost."""
        while attempt.reason != "lost":
            try:
                await self._write_end(attempt, verdict)
            except LeaseLost:
                return
            except BrokerUnavailable as error:
                if self._gone:
                    return  # the mesh is closed: the next process hands the task out again
                self._logger().warning("cannot store a result yet", call=attempt.message.id, error=str(error))
                await sleep(self._client.clock, _PAUSE)
            else:
                return

    async def _write_end(self, attempt: Attempt, verdict: Verdict) -> None:
        broker, lease = self._client.broker, attempt.lease
        if attempt.reason == "released":
            await broker.nack(lease)
        elif attempt.reason in ("cancelled", "deadline") or verdict is None:
            await broker.ack(lease)
        elif isinstance(verdict, Draft):
            bodies = self._client.bodies
            ready = bodies.weighed(verdict, lease) if isinstance(verdict.data, dict) else verdict
            terminal = await bodies.stored(attempt.message.tenant, ready)
            await broker.ack(lease, [Append(attempt.message.log, [terminal])])
        else:
            error, following = verdict
            if isinstance(following, Again):
                await broker.nack(lease, error=error, not_before=following.not_before)
            else:
                await broker.nack(lease, dead=following.reason)

    def _blocked(self, seconds: float) -> None:
        self._logger().warning(
            "a handler held the event loop; make it a plain function, or await what blocks", seconds=round(seconds, 2)
        )

    def _logger(self) -> "FilteringBoundLogger":
        return get_logger(topic=self.declaration.topic)


def _failed(error: Exception) -> Draft:
    """`InvalidInput` and the like are this call's own; those of a call that the handler made are just its failure."""
    of_a_child = isinstance(error, CallFailed) and error.call_id
    name = "CallFailed" if of_a_child else type(error).__name__
    return Draft("failed", {"error": name, "message": str(error)[:_MESSAGE]})


def _tell(span: Processing, reason: str, verdict: Verdict) -> None:
    """How the attempt ended, on its span."""
    if isinstance(verdict, Draft):
        span.set(agentmesh__outcome=verdict.type)
        if verdict.type == "failed":
            span.fail(verdict.data["error"], verdict.data["message"])
    elif verdict is None:
        span.set(agentmesh__outcome=reason or "dropped")
    else:
        error, following = verdict
        span.set(agentmesh__outcome="retrying" if isinstance(following, Again) else "dead_lettered")
        span.fail(error.partition(":")[0], error)


async def _in_thread(function: Callable[[], Any]) -> Any:
    """Run a plain function in a thread of its own, which does not keep the process alive if it hangs."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def finish(value: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def run() -> None:
        try:
            value, error = function(), None
        except BaseException as raised:
            value, error = None, raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, value, error)

    run_here = contextvars.copy_context().run
    threading.Thread(target=run_here, args=(run,), name="agentmesh-handler", daemon=True).start()
    return await future
