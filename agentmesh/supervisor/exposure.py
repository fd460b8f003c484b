"""Which skills a language model is offered: all of them while they are few, else a shortlist that only grows."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from agentmesh.catalog import Hit
from agentmesh.catalog.versions import preferred
from agentmesh.contracts import Decision, Function, Outcome, Registration
from agentmesh.supervisor.clauses import clauses, is_a_wish, trimmed
from agentmesh.supervisor.functions import MOST_FUNCTIONS, Offer, function_name, offer, offers
from agentmesh.supervisor.retrieval import Kept, Key, Over, by_words
from agentmesh.supervisor.tokens import tokens_of

MOST_TOKENS = 16_000
"""Of all functions, in each request."""
FIRST = 48
"""Functions of a shortlist before anything was found for a step."""
A_STEP = 8
"""Functions for a clause of the goal, for what the model says, and for each `find_agents`."""
LONGEST_QUERY = 1000
LONGEST_DESCRIBED = 200

FIND = Function(
    "find_agents",
    "Find agents for a task that no function here is for. Those that are found become functions of their own.",
    {
        "type": "object",
        "properties": {"query": {"type": "string", "description": "What the agent has to be able to do, in words."}},
        "required": ["query"],
    },
)

Rounds = Sequence[tuple[Decision, Sequence[Outcome]]]


class Offered(msgspec.Struct, frozen=True):
    """What a model is offered in a round: skills by the names of their functions, in their order.

    `new` are the skills that this round adds to what is recorded; `short` says that there are others.
    """

    offers: dict[str, Offer]
    new: list[Key] = []
    short: bool = False

    def functions(self) -> list[Function]:
        """The functions as they go into the request."""
        return [*([FIND] if self.short else ()), *(one.function for one in self.offers.values())]


class Cost(msgspec.Struct, frozen=True):
    """What the functions of a round are: how many, and about how many tokens they add to its request."""

    functions: int
    tokens: int


class Costs(msgspec.Struct, frozen=True):
    """What a catalog costs in each round: with every skill as a function, with a shortlist as it is at first, of
    functions that cost as much as they do on average, and with the longest that one may become. `short` says which of
    both it is."""

    everything: Cost
    first: Cost
    most: Cost
    short: bool


class Exposure:
    """What of a catalog a model sees.

    While all skills are few enough (`most` functions, `tokens` by `tokens_of`), all are offered, in the order of their
    names. Else a shortlist is: first what fits the goal and each of its clauses, then what fits the steps that the
    model speaks of, and what it finds with `find_agents`. It only grows, at its end, so that the requests of a run
    begin alike and are cached; what each decision added is in its note, so that a run that is taken up again offers
    the same.
    """

    def __init__(
        self,
        over: Over = by_words,
        *,
        most: int = MOST_FUNCTIONS,
        tokens: int = MOST_TOKENS,
        first: int = FIRST,
        is_strict: bool = False,
    ) -> None:
        self._over = Kept(over)
        self._most = most
        self._tokens = tokens
        self._first = first
        self._is_strict = is_strict

    async def offered(self, goal: str, agents: Sequence[Registration], rounds: Rounds, said: str = "") -> Offered:
        """What is offered in the next round; `said` is what the model said in the last one."""
        notes = [decision.note for decision, _ in rounds if isinstance(decision.note, Mapping)]
        if not any("offered" in note for note in notes):
            everything = self.everything(agents)
            if everything is not None:
                return Offered(everything)
        before = [key for note in notes for key in _noted(note)]
        if not before:
            found = await self._for_goal(goal, agents)
        else:
            found = await self._found([said], agents) if said.strip() else []
        taken = self._within([*before, *(key for key in found if key not in before)], agents)
        kept = {(one.topic, one.skill) for one in taken.values()}
        return Offered(taken, [key for key in found if key in kept and key not in before], short=True)

    async def find(
        self, query: str, agents: Sequence[Registration], offered: Offered, added: Sequence[Key]
    ) -> tuple[list[Key], str]:
        """What `find_agents` finds: the skills that are neither offered nor `added` yet, and what the model is told."""
        hits = await self._over(agents)(query[:LONGEST_QUERY], A_STEP) if query.strip() else []
        fitting = [hit for hit in hits if hit.fits] or hits[:3]
        keys = [(hit.topic, hit.skill) for hit in fitting]
        shown = [*((one.topic, one.skill) for one in offered.offers.values()), *added]
        taken = self._within([*shown, *(key for key in keys if key not in shown)], agents)
        there = {(one.topic, one.skill) for one in taken.values()}
        told = [_told(hit) for hit in fitting if (hit.topic, hit.skill) in there]
        if not told:
            wrong = "There is no room for more functions." if fitting else "No agent fits."
            return [], json.dumps({"found": [], "note": wrong})
        return [key for key in keys if key in there and key not in shown], json.dumps(
            {"found": told}, ensure_ascii=False
        )

    def everything(self, agents: Sequence[Registration]) -> dict[str, Offer] | None:
        """All skills, if they may all be offered."""
        if len({(one.topic, skill.id) for one in agents for skill in one.card.skills}) > self._most:
            return None
        every = offers(agents, is_strict=self._is_strict)
        return every if tokens_of(one.function for one in every.values()) <= self._tokens else None

    def costs(self, agents: Sequence[Registration]) -> Costs:
        """What these agents cost in each round."""
        each = [tokens_of([one.function]) for one in offers(agents, is_strict=self._is_strict).values()]
        every = Cost(len(each), sum(each))
        return Costs(
            every,
            self._shortlist(every, self._first, self._tokens // 2),
            self._shortlist(every, self._most - 1, self._tokens),
            short=every.functions > self._most or every.tokens > self._tokens,
        )

    def _shortlist(self, every: Cost, functions: int, tokens: int) -> Cost:
        """At most so many functions and tokens of these, and `find_agents`."""
        average = every.tokens / max(1, every.functions)
        find = tokens_of([FIND])
        count = min(functions, every.functions, int((tokens - find) / max(1.0, average)))
        return Cost(count + 1, round(count * average) + find)

    async def _for_goal(self, goal: str, agents: Sequence[Registration]) -> list[Key]:
        """The skills for a goal and for each of its clauses, in the order of their names."""
        steps = [trimmed(clause) for clause in clauses(goal[:LONGEST_QUERY]) if is_a_wish(clause)]
        found = await self._found(steps, agents) if len(steps) > 1 else []
        if goal.strip():
            hits = await self._over(agents)(goal[:LONGEST_QUERY], self._first)
            found += [(hit.topic, hit.skill) for hit in hits]
        kept = list(dict.fromkeys(found))[: self._first]
        taken = self._within(kept, agents, self._tokens // 2)
        return [(one.topic, one.skill) for _, one in sorted(taken.items())]

    async def _found(self, queries: Iterable[str], agents: Sequence[Registration]) -> list[Key]:
        search = self._over(agents)
        hits = [hit for query in queries for hit in await search(query[:LONGEST_QUERY], A_STEP) if hit.fits]
        return list(dict.fromkeys((hit.topic, hit.skill) for hit in hits))

    def _within(self, keys: Sequence[Key], agents: Sequence[Registration], tokens: int = 0) -> dict[str, Offer]:
        """The offers of these skills, in order, as far as functions and tokens go; those of agents that are gone are
        left out."""
        topics = {topic for topic, _ in keys}
        cards = {one.topic: one.card for one in preferred(one for one in agents if one.topic in topics)}
        room = (tokens or self._tokens) - tokens_of([FIND])
        taken: dict[str, Offer] = {}
        for topic, skill in keys:
            card = cards.get(topic)
            if card is None or card.skill(skill) is None:
                continue
            made = offer(topic, skill, card, is_strict=self._is_strict)
            cost = tokens_of([made.function])
            if len(taken) + 2 > self._most or cost > room:
                continue
            room -= cost
            taken[made.function.name] = made
        return taken


def _noted(note: Mapping[str, Any]) -> list[Key]:
    """The skills that a decision added: before its request, then by what the model found."""
    return [(topic, skill) for topic, skill in [*note.get("offered", ()), *note.get("found", ())]]


def _told(hit: Hit) -> dict[str, Any]:
    """What the model is told of a hit: the function's name, and what the agent says of itself, cut."""
    skill = hit.card.skill(hit.skill)
    described = f"{hit.card.description} {skill.description if skill else ''}".strip()
    return {"function": function_name(hit.topic, hit.skill), "description": described[:LONGEST_DESCRIBED]}
