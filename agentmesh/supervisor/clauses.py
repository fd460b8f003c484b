"""A goal in words: its clauses, and the words of it that say what is wanted rather than when."""

import re
from collections.abc import Iterable
from itertools import pairwise

from agentmesh.supervisor.said import EMAIL, QUOTED, URL, without_arguments

LONGEST_READ = 4000
"""Characters of a goal that are looked at; all of it is handed on."""

_CONNECTIVE = (
    r"然后|接着|随后|并且|同时|最后|另外|顺便|(?<![不一])再(?![见次三度])|"
    r"\b(?:and then|after that|(?<!and )then|and also|and|(?<!and )also|finally)\b"
)
_CUT = re.compile(rf"(?<=[，。；！？;!?\n])|(?<=\.)(?=\s)|(?<=,)(?=\D)|(?={_CONNECTIVE})", re.IGNORECASE)
_BEGINNING = re.compile(rf"\A(?:[\s，。；,;、]|{_CONNECTIVE})+", re.IGNORECASE)

MOST_CLAUSES = 24

_WHOLE = re.compile("|".join(pattern.pattern for pattern in (URL, EMAIL, QUOTED)), re.IGNORECASE)
_BACK = re.compile(
    r"它|这个结果|这些|结果|上述|该|\bit\b(?!['’]s|\s+(?:will|is|was|rains?|snows?|has|would|be))|"
    r"\b(?:them|this|these|those|the results?|the answers?|what you (?:find|found|get))\b",
    re.IGNORECASE,
)
_ADDRESS = re.compile(f"{URL.pattern}|{EMAIL.pattern}", re.IGNORECASE)
_NEXT = re.compile(r"然后|接着|随后|再|(?:and )?then\b|after that|finally", re.IGNORECASE)
_OWN = re.compile(rf"\d|{URL.pattern}|{EMAIL.pattern}|{QUOTED.pattern}", re.IGNORECASE)
"""What makes a short clause a wish of its own: a word for what comes next, or something that it is about."""
_LIGHT = "把将给我请帮的了一下并再然后成为写份个发到"
_HAN = re.compile("[㐀-鿿]")
_LATIN = re.compile(r"[a-z]{2,}", re.IGNORECASE)


def clauses(goal: str) -> list[str]:
    """The pieces between punctuation and connectives, none of them within quotes or an address; joined, they are the
    goal again."""
    masked = _WHOLE.sub(lambda match: "x" * len(match[0]), goal[:LONGEST_READ])
    cuts = [0, *(match.start() for match in _CUT.finditer(masked)), len(masked)]
    pieces = [goal[begin:end] for begin, end in pairwise(cuts) if end > begin]
    kept, rest = pieces[:MOST_CLAUSES], "".join(pieces[MOST_CLAUSES:]) + goal[LONGEST_READ:]
    return [*kept[:-1], kept[-1] + rest] if kept else []


def trimmed(clause: str) -> str:
    """A clause without the connective that it begins with and the comma that it ends with."""
    return _BEGINNING.sub("", clause).rstrip(" \t\r\n，；,;、") or clause.strip()


def wanted(text: str) -> str:
    """The text without its arguments: they match examples in cards, and say nothing about who can do it."""
    return without_arguments(trimmed(text[:LONGEST_READ]))


def is_a_wish(clause: str) -> bool:
    """Whether a clause says enough to be a wish of its own: “eggs” and 十二个人 belong to what was said before."""
    words = wanted(clause)
    han, latin = len(_HAN.findall(words)), len(_LATIN.findall(words))
    if han > 2 or latin > 1:
        return True
    return (han > 1 or latin == 1) and bool(_NEXT.match(clause.strip()) or _OWN.search(clause))


def refers_back(clause: str, names: Iterable[str], card: str) -> bool:
    """Whether a clause is about the result of the one before.

    It says so, it names one of its properties (“send the summary”), or, in Chinese, it leaves the object out: then all
    of its words are those of the agent's `card` (再发邮件给…).
    """
    if QUOTED.search(clause):
        return False
    rest = without_arguments(trimmed(clause))
    if _BACK.search(rest):
        return True
    if any(
        re.search(rf"(?<![a-z]){re.escape(name.replace('_', ' '))}(?![a-z])", rest, re.IGNORECASE) for name in names
    ):
        return True
    if re.search(r"\d", _ADDRESS.sub("", clause)):
        return False
    han = _HAN.findall(rest)
    return bool(han) and all(character in card or character in _LIGHT for character in han)


def is_chinese(text: str) -> bool:
    """Whether to answer in Chinese."""
    return re.search("[㐀-鿿]", text[:LONGEST_READ]) is not None
