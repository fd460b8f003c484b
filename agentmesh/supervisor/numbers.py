"""The numbers in a text: digits, Chinese numerals and English number words."""

import re

import msgspec

HAN = "零〇一二两三四五六七八九十百千万亿"
_DIGITS = {digit: value for value, digit in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_TENS = {"十": 10, "百": 100, "千": 1000}
_LARGE = {"万": 10_000, "亿": 100_000_000}
_ENGLISH = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_WORDS = {word: value for value, word in enumerate(_ENGLISH, 1)} | {"a": 1, "an": 1, "half a": 0.5}
_WORDS |= {word: value * 10 for value, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty"], 2)}
_SCALES = {"k": 1000, "thousand": 1000, "m": 1_000_000, "million": 1_000_000, "hundred": 100, "dozen": 12}

_IDIOM = "[下些起样般直定共边会切致旦再]|点儿?(?![一二三四五六七八九十半\\d])"
"""What follows 一 where it is no number: 看一下, 一些, 一起."""
_DIGITAL = r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?"
_SCALED = "thousand|million|hundred|dozen"
_WORDED = "|".join(word for word in _WORDS if len(word) > 2)
_NUMBER = re.compile(
    rf"(?P<percent>百分之)?(?:"
    rf"(?P<digits>(?<![a-z0-9.])(?:{_DIGITAL}))(?![.\d]*\.\d)(?:(?P<han_scale>[万亿])|\s?(?P<scale>k|{_SCALED})(?![a-z]))?"
    rf"|(?<![第每统单唯{HAN}])(?P<han>(?!一(?:{_IDIOM}))[{HAN}]+(?:点[零一二三四五六七八九]+)?)"
    rf"|(?<![a-z])(?P<word>{_WORDED})(?:\s(?P<word_scale>{_SCALED}))?(?![a-z]))",
    re.IGNORECASE,
)


class Number(msgspec.Struct, frozen=True):
    """A number, as the text says it from `begin` to `end`. `vague`: a 一 that may be an article."""

    begin: int
    end: int
    value: int | float
    vague: bool = False


def numbers_in(text: str) -> list[Number]:
    """The numbers of a text, in order; parts of words and of versions such as 2.4.1 are none."""
    found = []
    for match in _NUMBER.finditer(text):
        if match["digits"]:
            said = match["digits"].replace(",", "")
            value: int | float = float(said) if "." in said else int(said)
            scale = _LARGE.get(match["han_scale"] or "", 1) * _SCALES.get((match["scale"] or "").lower(), 1)
        elif match["han"]:
            value, scale = han_number(match["han"]), 1
        else:
            value, scale = _WORDS[match["word"].lower()], _SCALES.get((match["word_scale"] or "").lower(), 1)
        value = value * scale
        whole = int(value) if isinstance(value, float) and value.is_integer() and scale > 1 else value
        found.append(Number(match.start(), match.end(), whole, vague=match["han"] == "一"))
    return found


def han_number(said: str) -> int | float:
    """一百二十万 → 1200000, 三点五 → 3.5, 二〇二六 → 2026."""
    whole, point, fraction = said.partition("点")
    if point:
        return float(f"{han_number(whole or '零')}.{''.join(str(_DIGITS[each]) for each in fraction)}")
    if all(each in _DIGITS for each in whole):
        return int("".join(str(_DIGITS[each]) for each in whole))
    total = section = digit = 0
    for each in whole:
        if each in _DIGITS:
            digit = _DIGITS[each]
        elif each in _TENS:
            section += (digit or 1) * _TENS[each]
            digit = 0
        else:
            total, section, digit = (total + section + digit or 1) * _LARGE[each], 0, 0
    return total + section + digit


def number_of(said: str) -> int:
    """A whole number in digits, in Chinese or as an English word. Raises `ValueError`."""
    said = said.lower()
    if said in _WORDS:
        return int(_WORDS[said])
    return int(said) if said.isdecimal() else int(han_number(said))
