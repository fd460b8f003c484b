"""Forty goals and the plans they are to get: goals/goals.yaml, over the agents of goals/cards.yaml."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentmesh.card import AgentCapabilities, AgentCard, AgentSkill, skills_extension
from agentmesh.catalog import Hit, Index
from agentmesh.catalog.embedders.use import UniversalSentenceEncoder
from agentmesh.clock import ManualClock
from agentmesh.contracts import Decision, Outcome, PlannedCall, Registration
from agentmesh.supervisor.retrieval import Over, Search, by_words
from agentmesh.supervisor.rule import RulePlanner

HERE = Path(__file__).parent / "goals"
NOW = datetime(2026, 11, 16, 10).astimezone()
Rounds = list[tuple[Decision, Sequence[Outcome]]]


def registration(told: Mapping[str, Any]) -> Registration:
    skills = [
        AgentSkill(
            id=one["id"],
            description=one["description"],
            examples=tuple(one.get("examples", ())),
            tags=tuple(one.get("tags", ())),
        )
        for one in told["skills"]
    ]
    schemas = {one["id"]: (one.get("input"), one.get("output"), False) for one in told["skills"]}
    card = AgentCard(
        name=told["name"],
        description=told["description"],
        version="1.0.0",
        skills=tuple(skills),
        capabilities=AgentCapabilities(extensions=(skills_extension(schemas),)),
    )
    return Registration(told["topic"], "1.0.0", card)


def read(name: str) -> Any:
    return yaml.load((HERE / name).read_text(encoding="utf-8"), yaml.CSafeLoader)


def sample(schema: Any, root: Mapping[str, Any]) -> Any:
    """A value that an agent with this output schema may return."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    match schema.get("type"):
        case "object":
            return {name: sample(each, root) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [sample(schema["items"], root)] if "items" in schema else []
        case "string":
            return "https://files.example.com/1" if schema.get("format") == "uri" else "some text"
        case "boolean":
            return True
    return 1


async def run(planner: RulePlanner, goal: str, team: Sequence[Registration], answers: Sequence[str]) -> Rounds:
    """The rounds of a goal whose calls all succeed; what is asked is answered in order."""
    outputs = {(one.topic, skill.id): one.card.schemas(skill.id)[1] or {} for one in team for skill in one.card.skills}
    rounds: Rounds = []
    left = list(answers)
    while len(rounds) < 10:
        decision = await planner.decide(goal, team, rounds)
        outcomes = []
        if decision.question:
            said = left.pop(0) if left else ""
            outcomes = [Outcome(PlannedCall(f"{len(rounds) + 1}.0", "", "", decision.question), "answered", said)]
        elif not decision.calls:
            break
        for call in decision.calls:
            schema = outputs[call.topic, call.skill]
            outcomes.append(Outcome(call, "completed", sample(schema, schema)))
        rounds.append((decision, outcomes))
    return rounds


def misfit(goal: Mapping[str, Any], rounds: Rounds) -> str:
    """In what a plan differs from the table; "" if in nothing."""
    calls = [decision.calls for decision, _ in rounds if decision.calls]
    planned = [sorted(f"{call.topic}.{call.skill}" for call in each) for each in calls]
    if planned != [sorted(each) for each in goal["plan"]]:
        return f"planned {planned}"
    asked = sum(not decision.calls for decision, _ in rounds)
    if asked != len(goal.get("answers", ())):
        return f"asked {asked} questions"
    return ""


def wrong_inputs(goal: Mapping[str, Any], rounds: Rounds) -> list[str]:
    made = {f"{call.topic}.{call.skill}": call.input for decision, _ in rounds for call in decision.calls}
    return [
        f"{skill}: {name}={made.get(skill, {}).get(name)!r} instead of {value!r}"
        for skill, parameters in goal.get("input", {}).items()
        for name, value in parameters.items()
        if made.get(skill, {}).get(name) != value
    ]


def by_meaning(agents: Sequence[Registration]) -> Search:
    index = Index(UniversalSentenceEncoder())

    async def search(query: str, limit: int) -> Sequence[Hit]:
        await index.put(agents)
        return await index.search(query, limit)

    return search


@pytest.mark.parametrize("over", [by_meaning, by_words])
async def test_nine_of_ten_goals_plan_as_the_table_says(over: Over) -> None:
    team = [registration(one) for one in read("cards.yaml")]
    goals = read("goals.yaml")
    search = over(team)
    planner = RulePlanner(lambda agents: search, ManualClock(round(NOW.timestamp() * 1000)))
    misses, wrong = [], []
    for goal in goals:
        rounds = await run(planner, goal["goal"], team, goal.get("answers", ()))
        if differs := misfit(goal, rounds):
            misses.append(f"{goal['goal']}: {differs}")
        elif inputs := wrong_inputs(goal, rounds):
            wrong.append(f"{goal['goal']}: {'; '.join(inputs)}")
    print(f"{len(goals) - len(misses)} of {len(goals)} goals; {len(wrong)} of them with other inputs")
    print("\n".join(["Misses:", *misses, "Other inputs:", *wrong]))
    assert len(misses) <= len(goals) / 10
