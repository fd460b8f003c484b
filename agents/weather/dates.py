"""The dates that a sentence names, resolved against today: pure, in Chinese and English.

`resolve` gives `Dates`, a `Problem` (a date that is past or impossible, a range that is reversed or too long), or None
where the sentence names no date. It never raises.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from .date_readers import Impossible
from .date_words import DateWord, Length, find

MAX_DAYS = 60
_MAX_TEXT = 2000  # characters; who names a date says it before that
_RANGE = re.compile(r"\s*(?:一?直?到|至|~|—+|–|-+|to|through|thru|until|till)\s*", re.IGNORECASE)
_AND = re.compile(r"\s*(?:、|和|与|及|跟|&|,?\s*and)\s*", re.IGNORECASE)
_ASIDE = re.compile(
    r"\s*\(\s*(?:(?:周|星期|礼拜)[一二三四五六日天]|(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?)\s*\)",
    re.IGNORECASE,
)  # the weekday in “11月25日（周三）”
_NEXT_TO = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class Dates:
    """`start` and `end`, both included; `assumed` where the sentence did not say when to start."""

    start: date
    end: date
    assumed: bool = False


@dataclass(frozen=True)
class _Group:
    """Date words that belong together, the last of them `word`."""

    start: date
    end: date
    word: DateWord
    ranged: bool


@dataclass(frozen=True)
class Problem:
    """Why a sentence's dates cannot be used; `quote` is the part of the sentence, or the dates, that it is about."""

    kind: Literal["impossible", "past", "reversed", "too long"]
    quote: str

    def text(self, chinese: bool) -> str:
        """One sentence for the user."""
        han, english = {
            "impossible": ("日历上没有“{}”这一天。", "There is no such date as “{}”."),
            "past": ("{} 已经过去了，请说今天或以后的日子。", "{} is in the past: name a day to come."),
            "reversed": ("{} 的先后顺序反了。", "{} ends before it begins."),
            "too long": (
                f"{{}} 太长了，一次最多 {MAX_DAYS} 天。",
                f"{{}} is too long: at most {MAX_DAYS} days at a time.",
            ),
        }[self.kind]
        return (han if chinese else english).format(self.quote)


def resolve(text: str, today: date) -> Dates | Problem | None:
    """The first range that `text` names, else its first date, else its number of days counted from tomorrow.

    The first 2,000 characters are read.
    """
    words, lengths = find(_ASIDE.sub("", unicodedata.normalize("NFKC", text[:_MAX_TEXT])))
    try:
        if words:
            start, end = _span(words, lengths, today)
        elif lengths:
            start = today + timedelta(days=0 if lengths[0].lead == "这" else 1)
            end = start + timedelta(days=max(lengths[0].days, 1) - 1)
            return _checked(start, end, today, assumed=not lengths[0].lead)
        else:
            return None
    except Impossible as error:
        return Problem("impossible", str(error))
    return check(start, end, today)


def check(start: date, end: date, today: date) -> Dates | Problem:
    """These dates, or what is wrong with them. A range that has begun is cut to what is left of it."""
    return _checked(start, end, today, assumed=False)


def default(today: date) -> Dates:
    """Three days from tomorrow: for a request that names no date."""
    return Dates(today + timedelta(days=1), today + timedelta(days=3), assumed=True)


def _checked(start: date, end: date, today: date, *, assumed: bool) -> Dates | Problem:
    quote = f"{start}" if start == end else f"{start} – {end}"
    if end < start:
        return Problem("reversed", quote)
    if end < today:
        return Problem("past", quote)
    if (end - start).days >= MAX_DAYS:
        return Problem("too long", quote)
    return Dates(max(start, today), end, assumed)


def _span(words: list[DateWord], lengths: list[Length], today: date) -> tuple[date, date]:
    """The dates of the first range, else of the first word and the number of days, if one is said."""
    groups: list[_Group] = []
    for word in words:
        end = _joined(groups[-1], word, today) if groups else None
        if end:
            groups[-1] = _Group(groups[-1].start, end, word, ranged=True)
        else:
            groups.append(_Group(*word.span(today), word, ranged=word.ranged))
    group = next((group for group in groups if group.ranged), groups[0])
    if group.ranged or not lengths or not lengths[0].days:
        return group.start, group.end
    return group.start, group.start + timedelta(days=lengths[0].days - 1)


def _joined(group: _Group, word: DateWord, today: date) -> date | None:
    """The new end of `group` if `word` goes on with it: “… to Sunday”, “… and Sunday”, “周六、周日”."""
    between = word.match.string[group.word.end : word.begin]
    start, end = word.span(today, group.start)
    if _RANGE.fullmatch(between):
        alone = word.span(today)[1]
        return alone if (end - group.start).days >= MAX_DAYS and alone < group.start else end
    most = 7 if _AND.fullmatch(between) else 1 if _NEXT_TO.fullmatch(between) else 0
    return end if 0 < (start - group.end).days <= most else None
