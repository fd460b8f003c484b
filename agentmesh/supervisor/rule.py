"""Planning without a language model."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from agentmesh.catalog.lexical import preferred
from agentmesh.contracts import Decision, Outcome, PlannedCall, Registration
from agentmesh.supervisor.clauses import is_chinese
from agentmesh.supervisor.plan import Plan, Step, make_plan

TEXTS = ("text", "answer", "summary", "markdown")
"""Properties of a result that say it in words."""
MOST_LISTED = 20

CHINESE = {
    "no model": "（没有配置语言模型，这个计划由规则生成。要启用模型，请设置 OPENAI_API_KEY 和 AGENTMESH_MODEL。）",
    "nothing fits": "没有找到能完成这个目标的智能体。",
    "unfit": "{title}（{topic}）看起来合适，但缺少它需要的 {missing}，也没有智能体能提供。",
    "alive": "目前在线的智能体：",
    "nobody": "目前没有智能体在线。",
    "failed": "{title}（{topic}）没有完成（{type}）：{value}",
    "skipped": "{title}（{topic}）没有调用：它需要 {giver} 的结果中的 {missing}。",
    "empty": "{title} 没有返回内容。",
    "heading": "{title}：\n{text}",
}
ENGLISH = {
    "no model": "(No language model is configured: this plan was made by rule. To use one, set OPENAI_API_KEY and "
    "AGENTMESH_MODEL.)",
    "nothing fits": "No agent was found that fits this goal.",
    "unfit": "{title} ({topic}) seems to fit, but nothing gives {missing}, which it needs.",
    "alive": "These agents are alive:",
    "nobody": "No agent is alive.",
    "failed": "{title} ({topic}) did not finish ({type}): {value}",
    "skipped": "{title} ({topic}) was not called: it needs {missing} from the result of {giver}.",
    "empty": "{title} returned nothing.",
    "heading": "{title}:\n{text}",
}


class RulePlanner:
    """`Planner` without a model: clauses to skills by their words, order by their schemas.

    Deterministic. The plan is made with the first decision and kept in its note, so that agents which come or go later
    do not change it. One call a skill; all calls whose needs are met go in one round.
    """

    async def decide(
        self,
        goal: str,
        agents: Sequence[Registration],
        rounds: Sequence[tuple[Decision, Sequence[Outcome]]],
        *,
        history: Sequence[tuple[str, str]] = (),  # noqa: ARG002 - a goal stands for itself
        key: str = "",  # noqa: ARG002 - nobody is asked
        on_text: Callable[[str], Awaitable[None]] | None = None,
    ) -> Decision:
        """The calls that can be made now, else the answer."""
        words = CHINESE if is_chinese(goal) else ENGLISH
        plan = _recorded(rounds) or make_plan(goal, agents)
        outcomes = {(one.call.topic, one.call.skill): one for _, ended in rounds for one in ended}
        asked = {(call.topic, call.skill) for decision, _ in rounds for call in decision.calls}
        ready: list[PlannedCall] = []
        for step in plan.steps:
            given = _given(plan, step, outcomes)
            if given is not None and (step.topic, step.skill) not in asked:
                number = f"{len(rounds) + 1}.{len(ready)}"
                ready.append(PlannedCall(number, step.topic, step.skill, step.input_with(given)))
        note = {"plan": msgspec.to_builtins(plan)}
        if ready:
            return Decision(calls=tuple(ready), note=note)
        said = _results(plan, outcomes, words) if plan.steps else _nothing_fits(plan, agents, words)
        answer = f"{said}\n\n{words['no model']}"
        if on_text is not None:
            await on_text(answer)
        return Decision(answer=answer, note=note)


def _recorded(rounds: Sequence[tuple[Decision, Sequence[Outcome]]]) -> Plan | None:
    """The plan in the note of the first decision, if that was one of ours."""
    note = rounds[0][0].note if rounds else None
    if not isinstance(note, Mapping) or "plan" not in note:
        return None
    return msgspec.convert(note["plan"], Plan)


def _given(plan: Plan, step: Step, outcomes: Mapping[tuple[str, str], Outcome]) -> dict[str, Any] | None:
    """What the step needs, by parameter; `None` as long as something is not there."""
    given = {}
    for name, number in step.needs.items():
        outcome = outcomes.get((plan.steps[number].topic, plan.steps[number].skill))
        if outcome is None or outcome.type != "completed" or not isinstance(outcome.value, Mapping):
            return None
        if name not in outcome.value:
            return None
        given[name] = outcome.value[name]
    return given


def _results(plan: Plan, outcomes: Mapping[tuple[str, str], Outcome], words: Mapping[str, str]) -> str:
    """The last results that there are, then what went wrong."""
    completed, wrong = [], []
    used: set[int] = set()
    for number, step in enumerate(plan.steps):
        outcome = outcomes.get((step.topic, step.skill))
        if outcome is None:
            missing = [name for name, giver in step.needs.items() if not _has(plan.steps[giver], name, outcomes)]
            givers = dict.fromkeys(plan.steps[step.needs[name]].title for name in missing)
            told = {"giver": ", ".join(givers), "missing": _names(missing)}
            wrong.append(words["skipped"].format(title=step.title, topic=step.topic, **told))
        elif outcome.type != "completed":
            told = {"type": outcome.type, "value": _text(outcome.value)}
            wrong.append(words["failed"].format(title=step.title, topic=step.topic, **told))
        else:
            completed.append((number, step, outcome))
            used.update(step.needs.values())
    last = [(step, outcome) for number, step, outcome in completed if number not in used]
    parts = [_text(outcome.value) or words["empty"].format(title=step.title) for step, outcome in last]
    if len(last) > 1:
        parts = [
            words["heading"].format(title=step.title, text=text) for (step, _), text in zip(last, parts, strict=True)
        ]
    return "\n\n".join([*parts, *wrong])


def _has(giver: Step, name: str, outcomes: Mapping[tuple[str, str], Outcome]) -> bool:
    outcome = outcomes.get((giver.topic, giver.skill))
    return outcome is not None and isinstance(outcome.value, Mapping) and name in outcome.value


def _text(value: Any) -> str:
    """A result in words, if it has any, else as JSON."""
    if isinstance(value, Mapping):
        said = (value.get(name) for name in TEXTS)
        found = next((text for text in said if isinstance(text, str) and text.strip()), None)
        value = found if found is not None else value
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _nothing_fits(plan: Plan, agents: Sequence[Registration], words: Mapping[str, str]) -> str:
    lines = [words["nothing fits"]]
    lines += [
        words["unfit"].format(title=one.title, topic=one.topic, missing=_names(one.missing)) for one in plan.unfit
    ]
    alive = preferred(agents)
    lines.append(words["alive" if alive else "nobody"])
    for one in alive[:MOST_LISTED]:
        description = " ".join(one.card.description.split())[:120]
        lines.append(f"- {one.card.name or one.topic} ({one.topic}): {description}")
    if len(alive) > MOST_LISTED:
        lines.append("- …")
    return "\n".join(lines)


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
