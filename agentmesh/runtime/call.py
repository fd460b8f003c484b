"""A handle on a call or a run: its events, its result, and what one can do to it, from any process."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from agentmesh import errors
from agentmesh.errors import CallFailed, CallNotFound, Conflict
from agentmesh.fold import CallState, fold
from agentmesh.ids import kind_of
from agentmesh.message import DEFAULT_TENANT, Draft, Event
from agentmesh.runtime.reading import read_all

if TYPE_CHECKING:
    from agentmesh.runtime.client import Client
    from agentmesh.runtime.hub import Follower

_PAGE: Final = 1000


class Call:
    """A call or a run, by its id. The handle holds nothing: any other with the same id sees the same."""

    def __init__(self, client: "Client", call_id: str, topic: str) -> None:
        self.id = call_id
        self.topic = topic
        self._client = client

    def __repr__(self) -> str:
        return f"<Call {self.id} on {self.topic}>"

    async def events(self, after: int = -1) -> AsyncGenerator[Event, None]:
        """What happened past the offset `after`, then what happens, up to the event that ends the call.

        The replay leaves out the partial output of attempts that were replaced; live, a new `accepted` means: discard
        what was partial. Raises `CallNotFound`.
        """
        async with aclosing(self.watch(after)) as events:
            async for tenant, event in events:
                yield await self._client.bodies.resolved(tenant, event)

    async def watch(self, after: int = -1) -> AsyncGenerator[tuple[str, Event], None]:
        """As `events`, each with the call's tenant; data that lies in the blob store is left there."""
        state = await self.state()
        tenant = _tenant(state)
        for event in list(state.events):
            if event.offset > after:
                yield tenant, event
        if state.terminal:
            return
        async with self._client.hub.follow(self.id, state.next - 1) as follower:
            while not state.terminal:
                for event in await self._advance(follower, state):
                    if event.offset > after:
                        yield tenant, event

    async def result(self, returns: Any = None) -> Any:
        """Wait for the end; returns the value as JSON data, or as the type `returns`.

        Raises `CallFailed` or the subclass that says how the call ended, and `CallNotFound`.
        """
        return await self._result(returns, ask=False)

    async def cancel(self, by: str = "") -> None:
        """Cancel the call and the calls it made; returns once that is recorded. One that has ended stays as it is."""
        state = await self.state()
        if state.terminal:
            return
        who = by or self._client.principal or "the caller"
        await self._client.broker.append(self.id, [Draft("cancelled", {"by": who}, id="cancelled")])
        for child in state.children():
            try:
                await (await self._client.attach(child)).cancel(by=who)
            except CallNotFound:
                continue  # it was recorded, and not published any more

    async def answer(self, text: str, question: str | None = None) -> None:
        """Answer an open question of the call; the first answer counts.

        Raises `Conflict` if nothing is asked, if `question` is not open, or if several are open and none is named.
        """
        state = await self.state()
        waiting = state.questions
        if question is None and len(waiting) == 1:
            question = next(iter(waiting))
        if question is None or question not in waiting:
            open_ones = "; ".join(f"{key}: {value}" for key, value in waiting.items()) or "none"
            raise Conflict(f"{self.id} has no such open question. Open: {open_ones}.")
        answered = Draft("answered", {"question": question, "text": text}, id=f"answer-{question}")
        await self._client.broker.append(self.id, [answered])

    async def state(self) -> CallState:
        """The fold of everything in the log now. Raises `CallNotFound`."""
        entries = await read_all(self._client.broker, self.id)
        state = fold(entries, self._client.clock.now())
        if state.submitted is None:
            raise CallNotFound(self.id)
        return state

    async def wait(self, returns: Any = None) -> Any:
        """As `result`, but a question raises `InputRequired`; the call goes on waiting for its answer."""
        return await self._result(returns, ask=True)

    async def _result(self, returns: Any, *, ask: bool) -> Any:
        state = CallState()
        async with self._client.hub.follow(self.id, -1) as follower:
            while not state.terminal:
                await self._advance(follower, state)
                if ask and state.questions and not state.terminal:
                    question, text = next(iter(state.questions.items()))
                    raise errors.InputRequired(self.id, question, text)
        return self._value(await self._client.bodies.resolved(_tenant(state), state.terminal), returns)

    async def _advance(self, follower: "Follower", state: CallState) -> list[Event]:
        """Wait for more, or for the deadline, and take it in; returns the events of it that are shown."""
        entries = await follower.next(state.deadline + 1 if state.deadline else None)
        if not entries:  # the deadline; what was stored before it may not have come yet
            entries = await self._client.broker.read(self.id, state.next - 1, _PAGE)
        events = [event for event in map(state.add, entries) if event]
        if not entries and (expired := state.expire(self._client.clock.now())):
            events.append(expired)
        if state.terminal and state.terminal.type != "cancelled":
            seconds = max(0, state.terminal.time - state.events[0].time) / 1000
            self._client.saw(self.topic, seconds, state.terminal.type == "completed")
        return events

    def _value(self, event: Event, returns: Any) -> Any:
        if event.type == "completed":
            value = event.data["result"]
            if returns is None:
                return value
            from agentmesh.schema import convert

            return convert(value, returns)
        raise failure(event, self.id, self.topic)


def _tenant(state: CallState) -> str:
    """Whose call it is; the fold lets nothing but `submitted` begin one."""
    return str((state.submitted or {}).get("tenant", DEFAULT_TENANT))


def failure(event: Event, call_id: str, topic: str) -> CallFailed:
    """The error that a terminal event other than `completed` stands for."""
    data = event.data or {}
    kind: type[CallFailed] = CallFailed
    if event.type == "failed":
        name = str(data.get("error", ""))
        known = getattr(errors, name, None)
        if isinstance(known, type) and issubclass(known, CallFailed):
            kind, text = known, str(data.get("message", ""))
        else:
            kind = errors.RunFailed if kind_of(call_id) == "run" else CallFailed
            text = f"{name}: {data.get('message', '')}"
    elif event.type == "cancelled":
        kind, text = errors.CallCancelled, f"cancelled by {data.get('by', '')}"
    elif event.type == "timed_out":
        kind, text = errors.CallTimedOut, "its deadline passed"
    else:
        kind = errors.CallDeadLettered
        text = f"{data.get('reason', '')}, after {data.get('attempts', 0)} attempts"
    return kind(f"{call_id} on {topic}: {text}", call_id=call_id, topic=topic, reason=text)
