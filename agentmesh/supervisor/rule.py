"""Planning without a language model."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from agentmesh.clock import Clock, SystemClock
from agentmesh.contracts import Decision, Outcome, PlannedCall, Registration
from agentmesh.supervisor.arguments import checked, fill
from agentmesh.supervisor.clauses import is_chinese
from agentmesh.supervisor.dates import days_in
from agentmesh.supervisor.plan import Plan, Question, Step, Unfit, make_plan
from agentmesh.supervisor.references import not_null
from agentmesh.supervisor.retrieval import Kept, Over, by_words
from agentmesh.supervisor.wording import CHINESE, ENGLISH, nothing_fits, question_text, results

MOST_TRIES = 2
"""How often one thing is asked."""

Rounds = Sequence[tuple[Decision, Sequence[Outcome]]]


class RulePlanner:
    """`Planner` without a model: clauses to skills by retrieval, order by their schemas, arguments by their types.

    `over` makes the search in the agents of a run; by default, one by words. `clock` says what “tomorrow” is, in the
    machine's time zone. The plan is made with the first decision and kept in the notes, so that agents which come or go
    later do not change it. What it has to know from a person is asked before anything is called; then all calls whose
    needs are met go in one round, one a skill.
    """

    def __init__(self, over: Over = by_words, clock: Clock | None = None) -> None:
        self._over = Kept(over)
        self._clock = clock or SystemClock()
        checked({})  # what it imports takes a while: here, where nobody waits for the loop

    async def decide(
        self,
        goal: str,
        agents: Sequence[Registration],
        rounds: Rounds,
        *,
        history: Sequence[tuple[str, str]] = (),  # noqa: ARG002 - a goal stands for itself
        key: str = "",  # noqa: ARG002 - nobody is asked
        on_text: Callable[[str], Awaitable[None]] | None = None,
    ) -> Decision:
        """The next question, else the calls that can be made now, else the answer."""
        words = CHINESE if is_chinese(goal) else ENGLISH
        now = datetime.fromtimestamp(self._clock.now() / 1000, UTC).astimezone()
        plan = _recorded(rounds)
        if plan is None:
            plan = await make_plan(goal, agents, self._over(agents), now)
        said = _answered(rounds)
        if said is not None and plan.questions:
            plan = _told(plan, said, now)
        note = {"plan": msgspec.to_builtins(plan)}
        if plan.questions:
            question = plan.questions[0]
            return Decision(question=question_text(question, words, said if question.tries and said else ""), note=note)
        outcomes = {(one.call.topic, one.call.skill): one for _, ended in rounds for one in ended}
        calls = _ready(plan, outcomes, rounds)
        if calls:
            return Decision(calls=calls, note=note)
        told = results(plan, outcomes, words) if plan.steps else nothing_fits(plan, agents, words)
        answer = f"{told}\n\n{words['no model']}"
        if on_text is not None:
            await on_text(answer)
        return Decision(answer=answer, note=note)


def _recorded(rounds: Rounds) -> Plan | None:
    """The plan in the note of the last decision that has one: those of a model have none."""
    for decision, _ in reversed(rounds):
        if isinstance(decision.note, Mapping) and "plan" in decision.note:
            return msgspec.convert(decision.note["plan"], Plan)
    return None


def _answered(rounds: Rounds) -> str | None:
    """What was said to the question of the last decision, if that was one."""
    if not rounds or not rounds[-1][0].question:
        return None
    return next((str(outcome.value) for outcome in rounds[-1][1]), "")


def _told(plan: Plan, said: str, now: datetime) -> Plan:
    """The plan with the answer to its first question: it is asked once more if the answer does not tell, and what needs
    it is left out after that."""
    question, *others = plan.questions
    value = _value(question, said, now)
    if value is not None:
        steps = [
            msgspec.structs.replace(step, input=step.input | {question.name: value}) if at in question.steps else step
            for at, step in enumerate(plan.steps)
        ]
        return Plan(steps, plan.unfit, others)
    if question.tries + 1 < MOST_TRIES:
        return Plan(plan.steps, plan.unfit, [msgspec.structs.replace(question, tries=question.tries + 1), *others])
    return _without(plan, question)


def _value(question: Question, said: str, now: datetime) -> Any:
    """What the answer gives for the parameter; a time alone is on the day that the goal named."""
    texts = [said, f"{question.text}\n{said}"]
    schema = not_null(question.schema["properties"][question.name], question.schema)
    if schema.get("format") == "date-time" and not days_in(said, now.date()):
        texts.reverse()
    for text in texts:
        found = fill(question.schema, text, now).values.get(question.name)
        if found is not None:
            return found
    return None


def _without(plan: Plan, question: Question) -> Plan:
    """The plan without the steps that take what nobody told, and without those that need them."""
    gone = set(question.steps)
    for at, step in enumerate(plan.steps):
        if any(need.step in gone for need in step.needs.values()):
            gone.add(at)
    kept = [at for at in range(len(plan.steps)) if at not in gone]
    unfit = [Unfit(plan.steps[at].topic, plan.steps[at].title, [question.name]) for at in question.steps]
    return Plan(
        [_renumbered(plan.steps[at], kept) for at in kept],
        [*plan.unfit, *unfit],
        [
            msgspec.structs.replace(each, steps=[kept.index(at) for at in each.steps if at in kept])
            for each in plan.questions[1:]
            if set(each.steps) & set(kept)
        ],
    )


def _renumbered(step: Step, kept: Sequence[int]) -> Step:
    needs = {name: msgspec.structs.replace(need, step=kept.index(need.step)) for name, need in step.needs.items()}
    return msgspec.structs.replace(step, needs=needs)


def _ready(plan: Plan, outcomes: Mapping[tuple[str, str], Outcome], rounds: Rounds) -> tuple[PlannedCall, ...]:
    """The calls that were not made yet and whose needs are met."""
    made = {(call.topic, call.skill) for decision, _ in rounds for call in decision.calls}
    ready: list[PlannedCall] = []
    for step in plan.steps:
        given = _given(plan, step, outcomes)
        if given is not None and (step.topic, step.skill) not in made:
            number = f"{len(rounds) + 1}.{len(ready)}"
            ready.append(PlannedCall(number, step.topic, step.skill, step.input_with(given)))
    return tuple(ready)


def _given(plan: Plan, step: Step, outcomes: Mapping[tuple[str, str], Outcome]) -> dict[str, Any] | None:
    """What the step needs, by parameter; `None` as long as something is not there."""
    given = {}
    for name, need in step.needs.items():
        giver = plan.steps[need.step]
        outcome = outcomes.get((giver.topic, giver.skill))
        if outcome is None or outcome.type != "completed" or not isinstance(outcome.value, Mapping):
            return None
        if need.property not in outcome.value:
            return None
        given[name] = outcome.value[need.property]
    return given
