"""What a planner by rule says: results, failures, questions and that nothing fits, in the language of the goal."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentmesh.catalog.versions import preferred
from agentmesh.contracts import Outcome, Registration
from agentmesh.supervisor.choices import choices_of
from agentmesh.supervisor.plan import Need, Plan, Question
from agentmesh.supervisor.references import resolved

TEXTS = ("text", "answer", "summary", "markdown")
"""Properties of a result that say it in words."""
MOST_LISTED = 20
LONGEST_DESCRIBED = 200
"""Characters of what an agent says of a parameter."""

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
    "question": "{title} 需要 {name}{described}，请告诉我。",
    "choices": "可选：{choices}。",
    "again": "没能从“{said}”中读出来。",
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
    "question": "{title} needs {name}{described}. Which is it?",
    "choices": "Choose from: {choices}.",
    "again": "“{said}” does not tell.",
}


def results(plan: Plan, outcomes: Mapping[tuple[str, str], Outcome], words: Mapping[str, str]) -> str:
    """The last results that there are, then what went wrong."""
    completed, wrong = [], []
    used: set[int] = set()
    for number, step in enumerate(plan.steps):
        outcome = outcomes.get((step.topic, step.skill))
        if outcome is None:
            missing = [name for name, need in step.needs.items() if not _has(plan, need, outcomes)]
            givers = dict.fromkeys(plan.steps[step.needs[name].step].title for name in missing)
            told = {"giver": ", ".join(givers), "missing": _names(missing)}
            wrong.append(words["skipped"].format(title=step.title, topic=step.topic, **told))
        elif outcome.type != "completed":
            told = {"type": outcome.type, "value": _text(outcome.value)}
            wrong.append(words["failed"].format(title=step.title, topic=step.topic, **told))
        else:
            completed.append((number, step, outcome))
            used.update(need.step for need in step.needs.values())
    last = [(step, outcome) for number, step, outcome in completed if number not in used]
    parts = [_text(outcome.value) or words["empty"].format(title=step.title) for step, outcome in last]
    if len(last) > 1:
        parts = [
            words["heading"].format(title=step.title, text=text) for (step, _), text in zip(last, parts, strict=True)
        ]
    return "\n\n".join([*parts, *wrong])


def question_text(question: Question, words: Mapping[str, str], said: str = "") -> str:
    """A question for a parameter; `said` is the answer that did not tell."""
    schema = resolved(question.schema["properties"][question.name], question.schema)
    described = " ".join(str(schema.get("description") or schema.get("format") or "").split())[:LONGEST_DESCRIBED]
    parts = [words["again"].format(said=said[:80])] if said.strip() else []
    described = f" ({described})" if described else ""
    parts.append(words["question"].format(title=question.title, name=_names([question.name]), described=described))
    choices = ", ".join(map(str, choices_of(schema)))
    if choices:
        parts.append(words["choices"].format(choices=choices[:LONGEST_DESCRIBED]))
    return " ".join(parts)


def _has(plan: Plan, need: Need, outcomes: Mapping[tuple[str, str], Outcome]) -> bool:
    giver = plan.steps[need.step]
    outcome = outcomes.get((giver.topic, giver.skill))
    return outcome is not None and isinstance(outcome.value, Mapping) and need.property in outcome.value


def _text(value: Any) -> str:
    """A result in words, if it has any, else as JSON."""
    if isinstance(value, Mapping):
        said = (value.get(name) for name in TEXTS)
        found = next((text for text in said if isinstance(text, str) and text.strip()), None)
        value = found if found is not None else value
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def nothing_fits(plan: Plan, agents: Sequence[Registration], words: Mapping[str, str]) -> str:
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
