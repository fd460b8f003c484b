"""Following a call or a run to its end: its events, those of the calls it makes, and its questions."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

from agentmesh.cli.exits import INTERRUPTED, exit_code_of_end, report
from agentmesh.cli.lines import read_line
from agentmesh.cli.opening import is_alive
from agentmesh.cli.output import can_ask, dumps, err, is_rich, json_document, markdown, one_line
from agentmesh.cli.view import JsonView, Lines, View, is_of_a_run
from agentmesh.errors import CallFailed, Conflict, InputRequired
from agentmesh.fold import CallState
from agentmesh.ids import LITE_TOPIC, kind_of
from agentmesh.message import QUESTIONS

if TYPE_CHECKING:
    from agentmesh.mesh import Mesh
    from agentmesh.runtime.call import Call

_BATCHES: Final = 100
_POLL: Final = 60.0


async def watch(mesh: "Mesh", call: "Call", *, title: str = "", as_json: bool, after: int = -1, owned: bool) -> int:
    """Show the call until its end, then its result; returns the exit code.

    Ctrl-C cancels the call if it is `owned`, else merely stops watching. Raises `InputRequired` for a question that
    nobody is there to answer.
    """
    view = choose_view(call, title, as_json=as_json)
    try:
        await _say_if_nobody_serves(mesh, call, view)
        await _follow(mesh, call, view, after, ask=can_ask() and not as_json)
    except asyncio.CancelledError:
        view.close()
        return await _interrupted(call, view, owned=owned)
    finally:
        view.close()
    return await conclude(call, as_json=as_json)


def choose_view(call: "Call", title: str, *, as_json: bool) -> View:
    """JSON if asked for; a live view of a run on a terminal; else lines."""
    if as_json:
        return JsonView()
    if kind_of(call.id) == "run" and is_rich():
        from agentmesh.cli.live import LiveView
        from agentmesh.cli.output import out

        return LiveView(out(), title or "run", call.id)
    return Lines()


async def conclude(call: "Call", *, as_json: bool) -> int:
    """Write the result of a call that has ended to stdout, or its error to stderr; returns the exit code."""
    end = (await call.state()).terminal
    assert end is not None
    code = exit_code_of_end(end)
    try:
        result = await call.result()
    except CallFailed as error:
        report(error, as_json=as_json)
        return code
    if as_json:
        return code
    if kind_of(call.id) == "run":
        markdown(result if isinstance(result, str) else dumps(result, indent=2))
    else:
        json_document(result)
    return code


async def _follow(mesh: "Mesh", call: "Call", view: View, after: int, *, ask: bool) -> None:
    if after >= 0:  # what was asked before is not among the events
        await _answer_questions(call, view, ask=ask)
    async with _children(mesh, view) as subscribe, aclosing(call.events(after)) as events:
        async for event in events:
            view.event(event)
            if event.type == "call_started" and is_of_a_run(event):
                await subscribe(event.data["call"])
            elif event.type in QUESTIONS:
                await _answer_questions(call, view, ask=ask)


@asynccontextmanager
async def _children(mesh: "Mesh", view: View) -> AsyncIterator[Callable[[str], Awaitable[None]]]:
    """Shows the events of the calls that are subscribed: one poll brings those of all that have something new."""
    inbox = mesh.broker.inbox(f"cli-{os.getpid()}")
    states: dict[str, CallState] = {}

    async def subscribe(call_id: str) -> None:
        if call_id not in states and kind_of(call_id) == "call" and LITE_TOPIC.match(call_id):
            states[call_id] = CallState()
            await inbox.subscribe(call_id, -1)

    async def poll() -> None:
        while True:
            batches = await inbox.poll(_BATCHES, _POLL)
            for batch in batches:
                for entry in batch.entries:
                    if event := states[batch.lite_topic].add(entry):
                        view.child(batch.lite_topic, event)
            await inbox.commit({batch.lite_topic: batch.entries[-1].offset for batch in batches if batch.entries})

    task = asyncio.create_task(poll())
    try:
        yield subscribe
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await inbox.close()


async def _say_if_nobody_serves(mesh: "Mesh", call: "Call", view: View) -> None:
    if (await call.state()).terminal is None and not await is_alive(mesh, call.topic):
        view.note(f"{call.id} waits: nothing here serves {call.topic} (agentmesh up does; Ctrl-C ends the wait)")


async def _answer_questions(call: "Call", view: View, *, ask: bool) -> None:
    """Ask the person at the terminal what the call asks. Raises `InputRequired` if there is none."""
    asked: set[str] = set()
    while True:
        state = await call.state()
        question = next((each for each in state.questions if each not in asked), None)
        if question is None or state.terminal:
            return
        text = one_line(state.questions[question], 2000)
        if not ask:
            raise InputRequired(call.id, question, text)
        view.pause()
        asked.add(question)
        _show_question(text, state, question)
        answer = await read_line()
        if not answer:
            raise InputRequired(call.id, question, text)
        try:
            await call.answer(answer, question)
        except Conflict:
            view.note("It was answered or has ended in the meantime.")


def _show_question(text: str, state: CallState, question: str) -> None:
    """The question; with what is to be approved, if it is about that."""
    for event in state.events:
        if event.type == "approval_required" and event.data.get("question") == question:
            err().print(f"  input: {one_line(dumps(event.data.get('input')), 2000)}", soft_wrap=True)
    err().print(f"? {text}", style="bold", soft_wrap=True)


async def _interrupted(call: "Call", view: View, *, owned: bool) -> int:
    task = asyncio.current_task()
    if task:
        task.uncancel()
    if not owned:
        view.note(f"detached; agentmesh attach {call.id} shows it again")
        return INTERRUPTED
    view.note(f"cancelling {call.id} (Ctrl-C again leaves it to go on)")
    await call.cancel()
    view.note(f"cancelled {call.id}")
    return INTERRUPTED
