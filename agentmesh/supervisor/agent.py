"""Supervisor: an agent whose handler is the loop of goal, decision, calls, results.

Its journal is the log of its own call. Every decision is a recorded step before it is acted on, and every call it makes
has an id that follows from the step, so that a supervisor that starts again asks for nothing that was answered and
dispatches nothing twice.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from agentmesh.contracts import Decision, Delivery, Outcome, PlannedCall, Registration, Retry
from agentmesh.errors import BudgetExceeded, CallFailed, LeaseLost, MeshError
from agentmesh.ids import child_call
from agentmesh.runtime.agent import Agent, skill
from agentmesh.runtime.context import Context

MAX_ROUNDS: Final = 20
MAX_CALLS: Final = 200

Rounds = list[tuple[Decision, Sequence[Outcome]]]


class Supervisor(Agent):
    """Reaches a goal in plain words: finds the agents that fit, calls them, and answers from what they return."""

    topic = "SupervisorAgentTask"
    delivery = Delivery(concurrency=64, timeout=0, retry=Retry(lost=0))

    @skill(tags=["supervisor"])
    async def run(self, goal: str, *, ctx: Context) -> str:
        """Reach the goal and answer in its language."""
        agents = await _agents(ctx)
        rounds: Rounds = []
        calls = 0
        while True:
            number = len(rounds) + 1
            decision = await self._decide(goal, agents, rounds, ctx)
            if not decision.calls:
                return decision.answer
            calls += len(decision.calls)
            if number > MAX_ROUNDS or calls > MAX_CALLS:
                raise BudgetExceeded(f"no answer after {number} rounds and {calls} calls")
            planned = [_describe(ctx, call) for call in decision.calls]
            await ctx.journal("planned", {"round": number, "calls": planned}, id=f"planned-{number}")
            outcomes = await asyncio.gather(*(_carry_out(call, ctx) for call in decision.calls))
            rounds.append((decision, outcomes))

    async def _decide(self, goal: str, agents: Sequence[Registration], rounds: Rounds, ctx: Context) -> Decision:
        """The next decision: the one that was recorded, else the planner's, recorded."""
        step = f"round-{len(rounds) + 1}"

        async def ask() -> Any:
            key = f"{ctx.call_id}-{step}"
            return msgspec.to_builtins(await ctx.planner.decide(goal, agents, rounds, key=key, on_text=ctx.emit))

        return msgspec.convert(await ctx.once(step, ask), Decision)


async def _agents(ctx: Context) -> list[Registration]:
    """The agents that were alive when the run began, supervisors left out: the same on every attempt."""

    async def find() -> list[list[str]]:
        alive = await ctx.registry.list()
        return [[each.topic, each.version] for each in alive if "supervisor" not in _tags(each)]

    found = []
    for topic, version in await ctx.once("agents", find):
        try:
            found.append(await ctx.registry.get(topic, version))
        except MeshError:
            ctx.log.warning("an agent of this run is gone", agent=topic, version=version)
    return found


def _tags(registration: Registration) -> set[str]:
    return {tag for each in registration.card.skills for tag in each.tags}


def _describe(ctx: Context, call: PlannedCall) -> dict[str, Any]:
    return {
        "call": child_call(ctx.call_id, call.id),
        "topic": call.topic,
        "skill": call.skill,
        "input": call.input,
    }


async def _carry_out(call: PlannedCall, ctx: Context) -> Outcome:
    """Make one planned call. Its failure is a result too."""
    described = _describe(ctx, call)
    await ctx.journal("call_started", described, id=f"started-{call.id}")
    try:
        value = await ctx.call(call.topic, call.input, skill=call.skill, key=call.id)
        outcome = Outcome(call, "completed", value)
    except LeaseLost:
        raise
    except CallFailed as error:
        outcome = Outcome(call, error.kind, error.reason)
    except MeshError as error:
        outcome = Outcome(call, "failed", str(error))
    finished = {"call": described["call"], "type": outcome.type}
    await ctx.journal("call_finished", finished, id=f"finished-{call.id}")
    return outcome
