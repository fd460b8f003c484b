"""Sessions: the goals and answers of one conversation, in a LiteTopic of their own."""

from collections.abc import Sequence
from typing import Final

from agentmesh.errors import CallNotFound, Conflict
from agentmesh.ids import session_log
from agentmesh.message import Draft, Entry
from agentmesh.runtime.client import Client
from agentmesh.runtime.reading import read_all

_TURNS: Final = 20


async def begin(client: Client, tenant: str, session: str, run: str, goal: str) -> None:
    """Take the session for this run. Raises `Conflict` while another run of the session is live."""
    log = session_log(tenant, session)
    entries = await _read(client, tenant, log)
    goals = [entry for entry in entries if entry.type == "goal"]
    if any(entry.data["run"] == run for entry in goals):
        return
    if goals and await _is_live(client, goals[-1].data["run"]):
        raise Conflict(
            f"Session {session!r} has a run that is not over: {goals[-1].data['run']}. "
            "Wait for its answer, or cancel it."
        )
    turn = Draft("goal", {"run": run, "goal": goal}, id=f"goal-{run}")
    drafts = await client.bodies.written(tenant, [turn])
    await client.broker.append(log, drafts, expect=len(entries), title=session)


async def finish(client: Client, tenant: str, session: str, run: str, answer: str) -> None:
    """Keep the answer; a second time is a no-op."""
    turn = Draft("answer", {"run": run, "answer": answer}, id=f"answer-{run}")
    await client.broker.append(session_log(tenant, session), await client.bodies.written(tenant, [turn]))


async def history(client: Client, tenant: str, session: str, run: str) -> list[tuple[str, str]]:
    """The last goals before this run that were answered, with their answers, oldest first."""
    entries = await _read(client, tenant, session_log(tenant, session))
    answers = {entry.data["run"]: entry.data["answer"] for entry in entries if entry.type == "answer"}
    turns = [(entry.data["run"], entry.data["goal"]) for entry in entries if entry.type == "goal"]
    return [(goal, answers[each]) for each, goal in turns if each in answers and each != run][-_TURNS:]


async def _read(client: Client, tenant: str, log: str) -> Sequence[Entry]:
    return await client.bodies.all_resolved(tenant, await read_all(client.broker, log))


async def _is_live(client: Client, run: str) -> bool:
    try:
        return (await (await client.attach(run)).state()).terminal is None
    except CallNotFound:
        return False
