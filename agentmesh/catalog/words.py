"""The words of a text: stems of Latin words, single CJK characters and pairs of them."""

import re
import unicodedata
from collections.abc import Collection, Set
from functools import lru_cache
from operator import add
from typing import Final, Literal, NamedTuple

Script = Literal["latin", "cjk"]

UNIGRAM_WEIGHT: Final = 0.15
"""A single CJK character says less than a pair; alone between function words, it counts in full."""
LONGEST_TEXT: Final = 2000
_SHORT: Final = 60
_LONGEST_WORD: Final = 40

_LATIN: Final[frozenset[Script]] = frozenset(["latin"])
_FIRST_CJK: Final = "\u2e80"
_CJK = "㐀-䶿一-鿿豈-﫿぀-ヿ가-힯"
_CJK_RUN = re.compile(rf"[{_CJK}]+")
_LATIN_WORD = re.compile(rf"[^\W_{_CJK}]+")
_WORD = re.compile(rf"{_CJK_RUN.pattern}|{_LATIN_WORD.pattern}")
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


class Term(NamedTuple):
    """A term of a query: how much it counts, and how it was written."""

    weight: float
    written: str


def terms(query: str) -> dict[str, Term]:
    """The terms of a query, of which no more than `LONGEST_TEXT` characters are read."""
    found: dict[str, Term] = {}
    for word in _words(query):
        if not _is_cjk(word):
            if stem := _stem(word):
                found.setdefault(stem, Term(1.0, word))
            continue
        for character in word:
            found.setdefault(character, Term(1.0 if len(word) == 1 else UNIGRAM_WEIGHT, character))
        for at in range(len(word) - 1):
            found[word[at : at + 2]] = Term(1.0, word[at : at + 2])
    return found


def stems(text: str) -> Set[str]:
    """The terms of a text by themselves, which is faster; those of short texts, which come again, are remembered."""
    return _remembered_stems(text) if len(text) <= _SHORT else _stems(text)


@lru_cache(1 << 13)
def _remembered_stems(text: str) -> frozenset[str]:
    return frozenset(_stems(text))


def _stems(text: str) -> set[str]:
    folded = _folded(text)
    found = set(map(_stem, _LATIN_WORD.findall(folded)))
    if not folded.isascii():
        for run in _CJK_RUN.findall(folded):
            found.update(run)
            found.update(map(add, run, run[1:]))
    found.discard("")
    return found


def scripts(found: Collection[str]) -> frozenset[Script]:
    """The scripts that a good part of these terms is in: a CJK character counts as half a word, a Latin word as one."""
    if found and all(map(str.isascii, found)):
        return _LATIN
    cjk = len([term for term in found if len(term) == 1 and term >= _FIRST_CJK]) / 2
    latin = len([term for term in found if term < _FIRST_CJK and not term.isdecimal()])
    there: set[Script] = set()
    if cjk >= max(0.5, latin / 4):
        there.add("cjk")
    if latin >= max(1, cjk / 4):
        there.add("latin")
    return frozenset(there)


def _words(text: str) -> list[str]:
    return _WORD.findall(_folded(text))


def _folded(text: str) -> str:
    """As much of a text as is read, in lower case, its words apart."""
    text = text[:LONGEST_TEXT]
    if not text.isascii():
        text = _CHINESE_FUNCTION_WORDS.sub(" ", unicodedata.normalize("NFKC", text))
    folded = text.casefold()
    return folded if folded == text else _CAMEL.sub(" ", text).casefold()


def _is_cjk(word: str) -> bool:
    return not word.isascii() and _IS_CJK.match(word) is not None


@lru_cache(1 << 16)
def _stem(word: str) -> str:
    """A light stem: forecast, forecasts and forecasting are one; plan, planner and planning too. None for a word that
    says nothing by itself.
    """
    if word in _FUNCTION_WORDS:
        return ""
    word = _SUFFIX.sub("", word[:_LONGEST_WORD])
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word
