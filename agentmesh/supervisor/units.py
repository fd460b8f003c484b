"""The words around a number, and those of a parameter: whether they are about the same."""

import re
from functools import cache

_WORD = re.compile(r"[a-z]+|[㐀-鿿]|%")
_SAME = (
    "people person persons guest guests passenger passengers adult adults attendees head 人 位 名",
    "day days 天 日 daily",
    "night nights 晚",
    "week weeks 周",
    "month months 月",
    "year years 年",
    "hour hours 小 时",
    "minute minutes min mins 分 钟",
    "degree degrees celsius temperature 度 温",
    "percent percentage % 百 比",
    "gram grams g 克",
    "kilogram kilograms kg 公 斤",
    "money price budget amount cost dollar dollars euro euros yuan 元 块 预 算 金 额",
    "room rooms 间",
    "piece pieces count number quantity copies 个 件 份 数 量",
)
_EMPTY = frozenset("a an the of in to for and or from at on is how many much by with look ahead".split())  # noqa: SIM905
_EMPTY |= frozenset("的了是为在和或到从")


@cache
def _canonical() -> dict[str, str]:
    return {word: words.split()[0] for words in _SAME for word in words.split()}


def words_of(text: str) -> frozenset[str]:
    """The words of a parameter's name and description that tell it from others."""
    return frozenset(_words(text))


def alike(words: frozenset[str], before: str, after: str) -> float:
    """How much of the text right around a number is about a parameter with these words; what follows counts more."""
    own = {_canonical().get(word, word) for word in words}
    near = {_canonical().get(word, word) for word in _words(after)[:4]}
    ahead = {_canonical().get(word, word) for word in _words(before)[-4:]}
    return 2.0 * len(own & near) + 1.5 * len(own & ahead)


def _words(text: str) -> list[str]:
    return [_singular(word) for word in _WORD.findall(text.lower()) if word not in _EMPTY]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
