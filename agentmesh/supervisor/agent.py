"""Supervisor: an agent whose handler is the loop of goal, decision, calls, results.

Its journal is the log of its own call. Every decision is a recorded step before it is acted on, and every call it makes
has an id that follows from the step, so that a supervisor that starts again asks for nothing that was answered and
dispatches nothing twice.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from agentmesh.card import PLANS
from agentmesh.contracts import Decision, Delivery, Outcome, PlannedCall, Registration, Retry
from agentmesh.errors import BudgetExceeded, CallFailed, LeaseLost, MeshError, ModelUnavailable, Retryable
from agentmesh.ids import child_call
from agentmesh.runtime.agent import Agent, skill
from agentmesh.runtime.context import Context
from agentmesh.supervisor import session
from agentmesh.trace.spans import executing, invoking, round_span

_YES: Final = frozenset({"yes", "y", "ok", "approve", "approved", "是", "好", "可以", "同意", "批准"})

Rounds = list[tuple[Decision, Sequence[Outcome]]]


class Budget(msgspec.Struct, frozen=True):
    """What a run may use up. `in_flight`: calls at once; `same`: how often the very same call is made; `tokens`: of the
    model, in and out (0: no limit). The time is bounded by the run's deadline."""

    rounds: int = 20
    calls: int = 256
    in_flight: int = 32
    same: int = 2
    tokens: int = 0


class Supervisor(Agent):
    """Reaches a goal in plain words: finds the agents that fit, calls them, and answers from what they return."""

    topic = "SupervisorAgentTask"
    delivery = Delivery(concurrency=64, timeout=0, retry=Retry(lost=0))
    budget = Budget()

    @skill(tags=[PLANS])
    async def run(self, goal: str, *, ctx: Context) -> str:
        """Reach the goal and answer in its language."""
        with invoking(type(self).__name__, ctx.session):
            answer = await self._answer(goal, ctx)
        if ctx.session:
            await session.finish(ctx.client, ctx.tenant, ctx.session, ctx.call_id, answer)
        return answer

    async def _answer(self, goal: str, ctx: Context) -> str:
        agents = await _agents(ctx)
        earlier = await _history(ctx)
        rounds: Rounds = []
        while True:
            with round_span(len(rounds) + 1):
                decision = await self._decide(goal, agents, rounds, earlier, ctx)
                if decision.answer:
                    return decision.answer
                outcomes: Sequence[Outcome] = ()
                self._check_budget(rounds, decision)
                if decision.calls:
                    outcomes = await self._carry_out(decision.calls, rounds, agents, ctx)
                elif decision.question:
                    outcomes = [await _ask(decision.question, len(rounds) + 1, ctx)]
            rounds.append((decision, outcomes))

    async def _decide(
        self,
        goal: str,
        agents: Sequence[Registration],
        rounds: Rounds,
        earlier: Sequence[tuple[str, str]],
        ctx: Context,
    ) -> Decision:
        """The next decision: the one that was recorded, else the planner's, recorded."""
        step = f"round-{len(rounds) + 1}"

        async def ask() -> Any:
            key = f"{ctx.call_id}-{step}"
            try:
                decision = await ctx.planner.decide(goal, agents, rounds, history=earlier, key=key, on_text=ctx.emit)
            except ModelUnavailable as error:
                if error.broke_off:  # a new attempt voids the half of an answer that was shown
                    raise Retryable(str(error), after=1) from error
                raise
            return msgspec.to_builtins(decision)

        return msgspec.convert(await ctx.once(step, ask), Decision)

    async def _carry_out(
        self, calls: Sequence[PlannedCall], rounds: Rounds, agents: Sequence[Registration], ctx: Context
    ) -> Sequence[Outcome]:
        """Make the calls of one decision, many at once; the outcomes are in their order."""
        number = len(rounds) + 1
        planned = {"round": number, "calls": [_describe(ctx, call) for call in calls]}
        await ctx.journal("planned", planned, id=f"planned-{number}")
        free = asyncio.Semaphore(self.budget.in_flight)
        made = Counter(_content(outcome.call) for _, outcomes in rounds for outcome in outcomes)
        cards = {each.topic: each.card for each in agents}

        async def carry_out(call: PlannedCall) -> Outcome:
            made[_content(call)] += 1
            times = made[_content(call)] - 1
            if times >= self.budget.same:
                return Outcome(call, "failed", f"Not made: it was made {times} times before. Use the results you have.")
            async with free:
                card = cards.get(call.topic)
                if card and card.confirms(call.skill):
                    refused = await _refused(call, ctx)
                    if refused:
                        return refused
                with executing(f"{call.topic}.{call.skill}", child_call(ctx.call_id, call.id)) as span:
                    outcome = await _make(call, ctx)
                    if outcome.type != "completed":
                        span.fail(outcome.type, str(outcome.value))
                return outcome

        return await asyncio.gather(*(carry_out(call) for call in calls))

    def _check_budget(self, rounds: Rounds, decision: Decision) -> None:
        """Raise when acting on this decision and asking for the next one would use up more than the run may."""
        budget = self.budget
        decisions = [each for each, _ in rounds] + [decision]
        for what, used, most in (
            ("rounds", len(decisions) + 1, budget.rounds),
            ("calls", sum(len(each.calls) for each in decisions), budget.calls),
            ("tokens", sum(map(_tokens, decisions)), budget.tokens),
        ):
            if most and used > most:
                ended = [f"{one.call.topic}.{one.call.skill} {one.type}" for _, ended in rounds for one in ended]
                reached = ", ".join(f"{text} × {count}" for text, count in Counter(ended).most_common(10)) or "nothing"
                raise BudgetExceeded(f"No answer within {most} {what}. Reached so far: {reached}.")


async def _agents(ctx: Context) -> list[Registration]:
    """The agents that were alive when the run began, supervisors left out: the same on every attempt."""

    async def find() -> list[list[str]]:
        return [[each.topic, each.version] for each in await ctx.client.registry.list() if PLANS not in _tags(each)]

    wanted = await ctx.once("agents", find)
    listed = {(each.topic, each.version): each for each in await ctx.client.registry.list(alive=False)}
    found = []
    for topic, version in wanted:
        if (topic, version) in listed:
            found.append(listed[topic, version])
        else:
            ctx.log.warning("an agent of this run is gone", agent=topic, version=version)
    return found


async def _history(ctx: Context) -> list[tuple[str, str]]:
    """What was said in the session before; the same on every attempt."""
    if not ctx.session:
        return []
    turns = await ctx.once("history", lambda: session.history(ctx.client, ctx.tenant, ctx.session, ctx.call_id))
    return [(goal, answer) for goal, answer in turns]


async def _make(call: PlannedCall, ctx: Context) -> Outcome:
    """Make one call. Its failure is a result too."""
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
    await ctx.journal("call_finished", {"call": described["call"], "type": outcome.type}, id=f"finished-{call.id}")
    return outcome


async def _ask(question: str, number: int, ctx: Context) -> Outcome:
    """Put the question of a decision to whoever made the call."""
    text = await ctx.ask(question, key=f"question-{number}")
    return Outcome(PlannedCall(f"{number}.0", "", "", question), "answered", text)


async def _refused(call: PlannedCall, ctx: Context) -> Outcome | None:
    """Have a person approve a call whose skill is declared `confirm: true`; the outcome if they do not."""
    question = f"Call {call.topic}.{call.skill}? Answer yes or no."
    answer = await ctx.approve(question, call.skill, call.input, key=f"approve-{call.id}")
    if answer.strip().lower() in _YES:
        return None
    return Outcome(call, "failed", f"Not made: it needs a person's approval, and the answer was: {answer}")


def _describe(ctx: Context, call: PlannedCall) -> dict[str, Any]:
    return {"call": child_call(ctx.call_id, call.id), "topic": call.topic, "skill": call.skill, "input": call.input}


def _content(call: PlannedCall) -> bytes:
    return msgspec.json.encode((call.topic, call.skill, call.input), order="deterministic")


def _tags(registration: Registration) -> set[str]:
    return {tag for each in registration.card.skills for tag in each.tags}


def _tokens(decision: Decision) -> int:
    """What a model-made decision says it cost."""
    said = decision.note.get("said") if isinstance(decision.note, Mapping) else None
    return said.get("input_tokens", 0) + said.get("output_tokens", 0) if isinstance(said, Mapping) else 0
