"""A plan without a model: which skills a goal needs, by their words, and in which order, by their schemas."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from agentmesh.catalog import Hit, LexicalCatalog
from agentmesh.catalog.lexical import preferred
from agentmesh.contracts import Registration
from agentmesh.supervisor.arguments import fill, text_parameters, types
from agentmesh.supervisor.clauses import clauses, trimmed, wanted
from agentmesh.supervisor.functions import WHOLE_INPUT, parameters_of, resolved

FITS = 0.1
"""The share of a text's words that a skill must cover to be thought of."""
AS_GOOD = 0.6
"""Scores this close do not tell skills apart: “in Hangzhou” fits whoever has Hangzhou in an example."""
MOST_RANKED = 1000
MOST_GIVERS = 4
DEEPEST = 6

Key = tuple[str, str]
"""A topic and a skill."""


class Step(msgspec.Struct, frozen=True):
    """A call to make. `needs`: parameter → the number of the earlier step whose result has a property of that name."""

    topic: str
    skill: str
    title: str
    input: dict[str, Any]
    needs: dict[str, int] = {}
    wrapped: bool = False

    def input_with(self, given: Mapping[str, Any]) -> Any:
        """The input, once what it needs is there."""
        whole = self.input | dict(given)
        return whole.get(WHOLE_INPUT) if self.wrapped else whole


class Unfit(msgspec.Struct, frozen=True):
    """A skill that fits the words and could not be used: nothing gives these parameters."""

    topic: str
    title: str
    missing: list[str]


class Plan(msgspec.Struct, frozen=True):
    """Steps, each after those it needs."""

    steps: list[Step] = []
    unfit: list[Unfit] = []


def make_plan(goal: str, agents: Iterable[Registration]) -> Plan:
    """The plan for a goal; the same for the same goal and agents.

    Each clause goes to the skill that covers most of its words. A skill whose required parameter is a property of
    another's output comes after that one; both then get the whole goal, since they work on one matter. A skill of which
    a required parameter stays empty is not used.
    """
    alive = preferred(agents)
    catalog = LexicalCatalog(alive)
    chain = _Chain(alive, {(hit.topic, hit.skill): hit.score for hit in catalog.search(wanted(goal), MOST_RANKED)})
    chosen: dict[Key, tuple[Step, dict[str, Key]]] = {}
    for candidates, text in _wishes(goal, catalog, chain.rank):
        for candidate in candidates:
            made = chain.steps(candidate, text)
            if made is not None and len(made) > 1:
                made = chain.steps(candidate, goal.strip()) or made
            if made is not None:
                chosen |= {key: step for key, step in made.items() if key not in chosen or len(made) > 1}
                break
    return Plan(_numbered(chosen), list(chain.unfit.values()))


def _numbered(chosen: Mapping[Key, tuple[Step, dict[str, Key]]]) -> list[Step]:
    """The steps in an order in which each comes after those it needs."""
    order: list[Key] = []

    def put(key: Key) -> None:
        if key not in order:
            for giver in chosen[key][1].values():
                put(giver)
            order.append(key)

    for key in chosen:
        put(key)
    steps = []
    for key in order:
        step, needs = chosen[key]
        steps.append(msgspec.structs.replace(step, needs={name: order.index(giver) for name, giver in needs.items()}))
    return steps


def _wishes(goal: str, catalog: LexicalCatalog, rank: Mapping[Key, float]) -> list[tuple[list[Key], str]]:
    """Candidates and text, one for each thing the goal asks for.

    A clause that fits nothing belongs to the one before it (the first ones: to the one after them); clauses that go to
    one skill are one wish.
    """
    texts: dict[Key, str] = {}
    candidates: dict[Key, list[Key]] = {}
    current: Key | None = None
    waiting = ""
    for clause in clauses(goal):
        fitting = _fitting(catalog.search(wanted(clause), 8), rank)
        if fitting:
            current = fitting[0]
            candidates.setdefault(current, fitting)
        if current is None:
            waiting += clause
        else:
            texts[current] = texts.get(current, "") + waiting + clause
            waiting = ""
    if not texts:
        fitting = _fitting(catalog.search(wanted(goal), 8), rank)
        return [(fitting, goal.strip())] if fitting else []
    if len(texts) == 1:
        return [(fitting, goal.strip()) for fitting in candidates.values()]
    return [(candidates[key], trimmed(text)) for key, text in texts.items()]


def _fitting(hits: Sequence[Hit], rank: Mapping[Key, float]) -> list[Key]:
    """Those that fit about equally well, the one first that fits the whole goal best; none if none fits."""
    if not hits or hits[0].score < FITS:
        return []
    near = [(hit.topic, hit.skill) for hit in hits if hit.score >= hits[0].score * AS_GOOD]
    return sorted(near, key=lambda key: -rank.get(key, 0.0))


class _Skill(msgspec.Struct, frozen=True):
    topic: str
    skill: str
    title: str
    parameters: dict[str, Any]
    wrapped: bool
    output: dict[str, Any]


class _Chain:
    """Skills in the order that their schemas ask for. `unfit` collects those that could not be used."""

    def __init__(self, alive: Iterable[Registration], rank: Mapping[Key, float]) -> None:
        self.rank = rank
        self.unfit: dict[Key, Unfit] = {}
        self._skills: dict[Key, _Skill] = {}
        for one in alive:
            for skill in one.card.skills:
                takes, gives = one.card.schemas(skill.id)
                parameters, wrapped = parameters_of(takes)
                known = _Skill(one.topic, skill.id, one.card.name or one.topic, parameters, wrapped, gives or {})
                self._skills[one.topic, skill.id] = known

    def steps(self, key: Key, text: str, path: tuple[Key, ...] = ()) -> dict[Key, tuple[Step, dict[str, Key]]] | None:
        """The step for this skill after those it needs; `None` if a required parameter stays empty."""
        skill = self._skills[key]
        values, missing = fill(skill.parameters, text)
        made: dict[Key, tuple[Step, dict[str, Key]]] = {}
        needs: dict[str, Key] = {}
        for name in missing:
            for giver in self._givers(skill, name) if len(path) < DEEPEST else ():
                before = None if giver == key or giver in path else self.steps(giver, text, (*path, key))
                if before is not None:
                    made |= before
                    needs[name] = giver
                    break
        empty = [name for name in missing if name not in needs]
        if empty:
            self.unfit.setdefault(key, Unfit(skill.topic, skill.title, empty))
            return None
        made[key] = (Step(skill.topic, skill.skill, skill.title, values, wrapped=skill.wrapped), needs)
        return made

    def _givers(self, skill: _Skill, name: str) -> list[Key]:
        """The skills whose output has what parameter `name` of `skill` takes, those that fit the goal best first."""
        if name in text_parameters(skill.parameters) or skill.wrapped:
            return []
        taken = types(skill.parameters["properties"].get(name, {}), skill.parameters)
        givers = []
        for key, other in self._skills.items():
            properties = resolved(other.output, other.output).get("properties")
            if isinstance(properties, Mapping) and name in properties:
                given = types(properties[name], other.output)
                if not taken or not given or taken & given:
                    givers.append(key)
        return sorted(givers, key=lambda key: (-self.rank.get(key, 0.0), key))[:MOST_GIVERS]
