"""A plan without a model: which skills a goal needs, by its clauses, and in which order, by their schemas."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from agentmesh.catalog.versions import preferred
from agentmesh.contracts import Registration
from agentmesh.supervisor.arguments import only, text_parameters
from agentmesh.supervisor.chain import Chain, Draft, Link
from agentmesh.supervisor.clauses import clauses, is_a_wish, refers_back, trimmed, wanted
from agentmesh.supervisor.functions import WHOLE_INPUT
from agentmesh.supervisor.retrieval import Fit, Key, Search, fits

AS_GOOD = 0.8
"""Scores this close do not tell skills apart: if the first cannot be called, the next one may do."""
ALIKE = 0.9
"""Scores this close say that both are meant."""
MOST_RANKED = 1000


class Need(msgspec.Struct, frozen=True):
    """An argument that an earlier step gives: its number, and the property of its result."""

    step: int
    property: str


class Step(msgspec.Struct, frozen=True):
    """A call to make. `needs`: parameter → what gives it."""

    topic: str
    skill: str
    title: str
    input: dict[str, Any]
    needs: dict[str, Need] = {}
    wrapped: bool = False

    def input_with(self, given: Mapping[str, Any]) -> Any:
        """The input, once what it needs is there."""
        whole = self.input | dict(given)
        return whole.get(WHOLE_INPUT) if self.wrapped else whole


class Question(msgspec.Struct, frozen=True):
    """A parameter that a person has to tell: its schema, the steps that take it, and the text that did not say it."""

    name: str
    schema: dict[str, Any]
    steps: list[int]
    title: str
    text: str
    tries: int = 0


class Unfit(msgspec.Struct, frozen=True):
    """A skill that fits the words and could not be used: nothing gives these parameters."""

    topic: str
    title: str
    missing: list[str]


class Plan(msgspec.Struct, frozen=True):
    """Steps, each after those it needs, and what has to be asked before they are taken."""

    steps: list[Step] = []
    unfit: list[Unfit] = []
    questions: list[Question] = []


class Wish(msgspec.Struct, frozen=True):
    """One thing that a goal asks for: the skills that may do it, best first, and the words for it."""

    candidates: list[Fit]
    text: str


async def make_plan(goal: str, agents: Iterable[Registration], search: Search, now: datetime) -> Plan:
    """The plan for a goal; the same for the same goal, agents and day.

    Each clause goes to the skill that fits it best. A skill whose required parameter another's result has comes after
    that one; both then get the whole goal, since they work on one matter. What stays empty is asked for, if a person
    can tell; else the skill is not used.
    """
    chain = Chain(preferred(agents), goal, now)
    words = wanted(goal)
    if words:
        chain.rank = {(hit.topic, hit.skill): hit.score for hit in await search(words, MOST_RANKED)}
    chosen: dict[Key, Draft] = {}
    wishes = await _wishes(goal, search, chain)
    before: list[Key] = []
    for wish in wishes:
        made = _first(chain, wish, goal.strip())
        if made is None:
            continue
        key = next(reversed(made))
        chosen |= {each: draft for each, draft in made.items() if each not in chosen or len(made) > 1}
        chosen[key] = _linked(chain, key, wish.text, before, chosen)
        before.append(key)
    unfit = [Unfit(key[0], chain.skill(key).title, missing) for key, missing in chain.unfit.items()]
    return _numbered(chosen, [] if chosen else unfit)


def _first(chain: Chain, wish: Wish, goal: str) -> dict[Key, Draft] | None:
    """The calls for a wish by the first candidate that can be called: one that is sure if need be after a question, or
    after others that give what it takes."""
    for ask in (False, True):
        for fit in wish.candidates:
            made = chain.drafts(fit.key, wish.text, ask=ask) if fit.sure or not ask else None
            if made is not None and len(made) > 1:
                made = (chain.drafts(fit.key, goal, ask=ask) or made) if fit.sure else None
            if made is not None:
                return _with_both(chain, wish, fit, goal) or made
    return None


def _with_both(chain: Chain, wish: Wish, chosen: Fit, goal: str) -> dict[Key, Draft] | None:
    """The calls of a candidate that fits as well as the chosen one and needs its result: they do what both do. Skills
    of one agent are alternatives: to find a hotel is not to book it."""
    for fit in wish.candidates:
        if fit.key[0] != chosen.key[0] and fit.score >= chosen.score * ALIKE:
            made = chain.drafts(fit.key, goal, ask=False)
            if made is not None and chosen.key in made:
                return made
    return None


def _linked(chain: Chain, key: Key, text: str, before: Sequence[Key], chosen: Mapping[Key, Draft]) -> Draft:
    """The call with what earlier wishes give it: the words of the last one, if it is about them, lists and objects.

    Only calls that do not come after it themselves can give it anything."""
    draft = chosen[key]
    links = dict(draft.links)
    earlier = [each for each in before if each != key and not _needs(each, key, chosen)]
    texts = text_parameters(draft.skill.parameters)
    last = chain.skill(earlier[-1]) if earlier else None
    if last and len(texts) == 1 and refers_back(text, last.gives(), draft.skill.said):
        worded = last.gives_words()
        if worded:
            links[next(iter(texts))] = Link(earlier[-1], worded)
    links = chain.optional_links(draft, earlier) | links
    values = {name: value for name, value in draft.values.items() if name not in links}
    return msgspec.structs.replace(draft, values=values, links=links)


def _needs(key: Key, other: Key, chosen: Mapping[Key, Draft]) -> bool:
    """Whether the call of `key` comes after that of `other`."""
    return any(link.giver == other or _needs(link.giver, other, chosen) for link in chosen[key].links.values())


def _numbered(chosen: Mapping[Key, Draft], unfit: list[Unfit]) -> Plan:
    """The plan, in an order in which each step comes after those it needs."""
    order: list[Key] = []

    def put(key: Key) -> None:
        if key not in order:
            for link in chosen[key].links.values():
                put(link.giver)
            order.append(key)

    for key in chosen:
        put(key)
    steps: list[Step] = []
    questions: dict[str, Question] = {}
    for number, key in enumerate(order):
        draft = chosen[key]
        skill = draft.skill
        needs = {name: Need(order.index(link.giver), link.property) for name, link in draft.links.items()}
        steps.append(Step(skill.topic, skill.skill, skill.title, draft.values, needs, skill.wrapped))
        for name in draft.asks:
            unasked = Question(name, only(name, skill.parameters), [], skill.title, draft.text)
            asked = questions.get(name, unasked)
            questions[name] = msgspec.structs.replace(asked, steps=[*asked.steps, number])
    return Plan(steps, unfit, list(questions.values()))


async def _wishes(goal: str, search: Search, chain: Chain) -> list[Wish]:
    """What the goal asks for, in order.

    A clause that fits nothing, or says too little, belongs to the one before it (the first ones: to the one after
    them); clauses that go to one skill are one wish.
    """
    texts: dict[Key, str] = {}
    candidates: dict[Key, list[Fit]] = {}
    current: Key | None = None
    waiting = ""
    pieces = clauses(goal)
    for clause in pieces if len(pieces) > 1 else ():
        fitting = await _fitting(clause, goal, search, chain) if is_a_wish(clause) else []
        if fitting:
            current = fitting[0].key
            candidates.setdefault(current, fitting)
        if current is None:
            waiting += clause
        else:
            texts[current] = texts.get(current, "") + waiting + clause
            waiting = ""
    if not texts:
        fitting = await _fitting(goal, goal, search, chain)
        return [Wish(fitting, goal.strip())] if fitting else []
    if len(texts) == 1:
        return [Wish(fitting, goal.strip()) for fitting in candidates.values()]
    return [Wish(candidates[key], trimmed(text)) for key, text in texts.items()]


async def _fitting(text: str, goal: str, search: Search, chain: Chain) -> list[Fit]:
    """The skills that fit a text about equally well, best first; none if none fits.

    Its arguments do not count, except in a goal of which nothing else is left that fits: “Will it snow in Oslo?”.
    """

    def evidence(key: Key) -> float:
        return chain.filled(key, trimmed(text)).evidence

    found = await fits(search, wanted(text), evidence)
    if not found and text == goal:
        found = await fits(search, goal, evidence)
    return [fit for fit in found if fit.score >= found[0].score * AS_GOOD]
