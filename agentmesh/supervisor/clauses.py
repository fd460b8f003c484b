"""A goal in words: its clauses, and the words of it that say what is wanted rather than when."""

import re

LONGEST_READ = 4000
"""Characters of a goal that are looked at; all of it is handed on."""

_CONNECTIVE = (
    r"然后|接着|随后|并且|同时|最后|另外|顺便|(?<![不一])再(?![见次三度])|"
    r"\b(?:and then|after that|(?<!and )then|and also|and|(?<!and )also|finally)\b"
)
_CUT = re.compile(rf"(?<=[，。；！？;!?\n])|(?<=\.)(?=\s)|(?<=,)(?=\D)|(?={_CONNECTIVE})", re.IGNORECASE)
_BEGINNING = re.compile(rf"\A(?:[\s，。；,;、]|{_CONNECTIVE})+", re.IGNORECASE)

_DAY = "[一二三四五六日天末]"
_TIME = re.compile(
    rf"[上下这本]*个?(?:周|星期|礼拜){_DAY}|[上下这本]个?(?:周|星期|礼拜|月)|大?[今明后昨前][天日晚早年]|"
    r"[早中晚]上|[上中下]午|周末|"
    r"\d+\s*[年月日号点天周](?:间|内)?|[一二两三四五六七八九十]+[天日月号]|\d{4}-\d{1,2}-\d{1,2}|"
    r"\b(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|today|tomorrow|tonight|yesterday|weekends?|weeks?|days?|next)\b",
    re.IGNORECASE,
)


def clauses(goal: str) -> list[str]:
    """The pieces between punctuation and connectives; joined, they are the goal again."""
    pieces = [piece for piece in _CUT.split(goal[:LONGEST_READ]) if piece]
    rest = goal[LONGEST_READ:]
    return [*pieces[:-1], pieces[-1] + rest] if pieces else []


def trimmed(clause: str) -> str:
    """A clause without the connective that it begins with and the comma that it ends with."""
    return _BEGINNING.sub("", clause).rstrip(" \t\r\n，；,;、") or clause.strip()


def wanted(text: str) -> str:
    """The text without times: they match examples in cards, and say nothing about who can do it."""
    return _TIME.sub(" ", text[:LONGEST_READ])


def is_chinese(text: str) -> bool:
    """Whether to answer in Chinese."""
    return re.search("[㐀-鿿]", text[:LONGEST_READ]) is not None
