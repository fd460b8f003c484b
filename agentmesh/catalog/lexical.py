"""Search by words: BM25 over Latin stems and CJK n-grams, as the share of a text's words that a skill covers.

BM25: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009). Two things differ. A term's frequency is
the number of a skill's texts (name, description, each tag, each example) that hold it, so that repeating a word in one
text gains nothing. The score is divided by the best that any skill could reach for the query, so that it says how much
of the query was understood, and a threshold can say that nothing fits.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from agentmesh.catalog.hit import Hit
from agentmesh.contracts import Registration

if TYPE_CHECKING:
    from agentmesh.card import AgentCard, AgentSkill

K1 = 1.2
B = 0.5
UNIGRAM_WEIGHT = 0.15
"""A single CJK character says less than a pair; alone between function words, it counts in full."""
LONGEST_TEXT = 2000
MOST_TEXTS = 64

_CJK = "㐀-䶿一-鿿豈-﫿぀-ヿ가-힯"
_WORD = re.compile(rf"[{_CJK}]+|[^\W_{_CJK}]+")
_IS_CJK = re.compile(f"[{_CJK}]")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CHINESE_FUNCTION_WORDS = re.compile(
    "帮我|帮忙|请问|告诉|给我|需要|想要|可以|能否|是否|一个|一下|一份|一些|做个|什么|怎么样|怎么|怎样|如何|哪些|我们|"
    "[的了吗呢吧啊呀我你您他她它请帮把是个和与及]"
)
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a an the of to in on for and or with by from at as is are be will do does can could would should i me my you
        your it its this that these those what which who how when where why please help want need tell give make get
        let us we if about any some there here not no so than then agent agents task skill
        """,
    )
)
_SUFFIX = re.compile("(?<=...)(?:ations?|ators?|ating|ate[ds]?|ings?|ers?|ie[ds]|e[ds]?|s|y)$")


def terms(text: str) -> dict[str, float]:
    """The terms of a text, each with its weight: stems of words, single characters and pairs of CJK characters."""
    found: dict[str, float] = {}
    text = _CAMEL.sub(" ", unicodedata.normalize("NFKC", text[:LONGEST_TEXT])).casefold()
    for word in _WORD.findall(_CHINESE_FUNCTION_WORDS.sub(" ", text)):
        if not _IS_CJK.match(word):
            if word not in _FUNCTION_WORDS:
                found[_stem(word)] = 1.0
            continue
        for character in word:
            found.setdefault(character, 1.0 if len(word) == 1 else UNIGRAM_WEIGHT)
        found.update((word[at : at + 2], 1.0) for at in range(len(word) - 1))
    return found


class LexicalCatalog:
    """The skills of these agents, ready to be searched; of several versions of an agent, the one to call."""

    def __init__(self, registrations: Iterable[Registration]) -> None:
        self._skills: list[tuple[Registration, str]] = []
        self._lengths: list[int] = []
        self._postings: dict[str, list[tuple[int, int]]] = {}
        for registration in preferred(registrations):
            for skill in registration.card.skills:
                counts = Counter(term for text in _texts(registration.card, skill) for term in terms(text))
                for term, count in counts.items():
                    self._postings.setdefault(term, []).append((len(self._skills), count))
                self._skills.append((registration, skill.id))
                self._lengths.append(counts.total())
        self._average = sum(self._lengths) / len(self._lengths) if self._lengths else 1.0

    def search(self, query: str, limit: int = 5) -> list[Hit]:
        """The skills that share words with the query, best first, equals by topic and skill."""
        scores: dict[int, float] = {}
        best = 0.0
        for term, weight in terms(query).items():
            postings = self._postings.get(term, ())
            weight *= math.log(1 + (len(self._skills) + 1) / (max(1, len(postings)) + 1))
            best += weight
            for number, count in postings:
                length = K1 * (1 - B + B * self._lengths[number] / self._average)
                scores[number] = scores.get(number, 0.0) + weight * count / (count + length)
        hits = [self._hit(number, score / best) for number, score in scores.items()]
        return sorted(hits, key=lambda hit: (-hit.score, hit.topic, hit.skill))[: max(0, limit)]

    def _hit(self, number: int, score: float) -> Hit:
        registration, skill = self._skills[number]
        return Hit(registration.topic, skill, round(score, 6), registration.card, registration.alive)


def search(query: str, registrations: Iterable[Registration], limit: int = 5) -> list[Hit]:
    """One search in agents that are not searched again; else keep a `LexicalCatalog`."""
    return LexicalCatalog(registrations).search(query, limit)


def preferred(registrations: Iterable[Registration]) -> list[Registration]:
    """One registration a topic, by topic: an alive one before a dead, then the highest version."""
    best: dict[str, Registration] = {}
    for one in sorted(registrations, key=lambda one: (one.alive, _version(one.version))):
        best[one.topic] = one
    return [best[topic] for topic in sorted(best)]


def _version(version: str) -> list[tuple[int, str]]:
    """An order in which 1.10 comes after 1.9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.+-]", version)]


def _texts(card: "AgentCard", skill: "AgentSkill") -> Iterable[str]:
    schema = card.schemas(skill.id)[0]
    parameters = schema.get("properties") if schema else None
    lists: Sequence[Iterable[str]] = (skill.tags, skill.examples, parameters if isinstance(parameters, dict) else ())
    yield from (card.name, card.description, skill.id, skill.name, skill.description)
    for texts in lists:
        yield from list(texts)[:MOST_TEXTS]


def _stem(word: str) -> str:
    """A light stem: forecast, forecasts and forecasting are one; plan, planner and planning too."""
    word = _SUFFIX.sub("", word)
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word
