"""Which skills a text asks for: what a search finds, and what their parameters take from the text."""

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from agentmesh.catalog import Hit, Index
from agentmesh.contracts import Registration

Search = Callable[[str, int], Awaitable[Sequence[Hit]]]
"""A query and how many hits at most → the skills that are near, best first."""

Over = Callable[[Sequence[Registration]], Search]
"""Agents → a search in just these."""

Key = tuple[str, str]
"""A topic and a skill."""

SURE: Final = 0.65
"""The probability from which on a skill is worth a question to a person, and calls of others that nobody spoke of."""
_SEARCHES_KEPT: Final = 4


class Fit(msgspec.Struct, frozen=True):
    """A skill for a text: `likely` is the log-odds that it fits; `sure` says that it does by its words alone."""

    key: Key
    score: float
    likely: float
    sure: bool


def by_words(agents: Sequence[Registration]) -> Search:
    """A search by words alone."""
    index = Index()
    put = False

    async def search(query: str, limit: int) -> Sequence[Hit]:
        nonlocal put
        if not put:
            await index.put(agents)
            put = True
        return await index.search(query, limit)

    return search


class Kept:
    """The searches over the agents of the last runs: most runs have the same, and an index over thousands takes
    seconds to make."""

    def __init__(self, over: Over) -> None:
        self._over = over
        self._kept: OrderedDict[tuple[tuple[str, str], ...], Search] = OrderedDict()

    def __call__(self, agents: Sequence[Registration]) -> Search:
        who = tuple((one.topic, one.version) for one in agents)
        search = self._kept.pop(who, None) or self._over(agents)
        self._kept[who] = search
        while len(self._kept) > _SEARCHES_KEPT:
            self._kept.popitem(last=False)
        return search


async def fits(search: Search, query: str, evidence: Callable[[Key], float], limit: int = 8) -> list[Fit]:
    """The skills for a query that fit it, best first. `evidence` is how much a text's arguments speak for a skill."""
    if not query.strip():
        return []
    found = []
    for hit in await search(query, limit):
        key = (hit.topic, hit.skill)
        fit = Fit(key, hit.score, _log_odds(hit.why.probability) + evidence(key), hit.why.probability >= SURE)
        if fit.likely >= 0:
            found.append(fit)
    return sorted(found, key=lambda fit: (-fit.likely, fit.key))


def _log_odds(probability: float) -> float:
    kept = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(kept / (1 - kept))
