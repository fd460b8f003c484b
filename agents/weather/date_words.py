"""The date words of Chinese and English, and where they stand in a text."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from .date_readers import (
    ENGLISH_NUMBERS,
    Impossible,
    Span,
    day_of_month,
    english_day,
    english_week,
    han_week,
    holiday,
    later,
    month_day,
    number,
    offset,
    relative_month,
    two_days,
    whole_month,
    ymd,
)

Reader = Callable[[re.Match[str], date, date | None], Span]


@dataclass(frozen=True)
class DateWord:
    """Where a date word stands in the text (`begin`, `end`) and how it is read."""

    match: re.Match[str]
    reader: Reader

    @property
    def begin(self) -> int:
        return self.match.start()

    @property
    def end(self) -> int:
        return self.match.end()

    @property
    def ranged(self) -> bool:
        """Whether the word itself has a beginning and an end, as “12月3-5日” has."""
        return bool(self.match.groupdict().get("last"))

    def span(self, today: date, after: date | None = None) -> Span:
        """The first and last day meant; `after` is the first day of a range that it ends. Raises `Impossible`."""
        try:
            return self.reader(self.match, today, after)
        except Impossible:
            raise
        except (ValueError, OverflowError) as error:
            raise Impossible(self.match[0].strip()) from error


@dataclass(frozen=True)
class Length:
    """A number of days (“三天”, “for a week”); `lead` is the word before it that says where they start, if any."""

    begin: int
    end: int
    days: int
    lead: str


_DIGIT = "[一二三四五六七八九]"
_NUM = rf"(?:\d{{1,3}}|{_DIGIT}?十{_DIGIT}?|两|{_DIGIT})"
_ENUM = r"(?:\d{1,3}|" + "|".join(sorted(ENGLISH_NUMBERS, key=len, reverse=True)) + ")"
_TO = r"\s*(?:到|至|~|—+|–|-+|to|through|until|till)\s*"
_DAY = (
    r"(?P<day>mon(?:day)?|tue(?:s|sday)?|wed(?:s|nesday)?|thu(?:rs?|rsday)?|fri(?:day)?|saturday|sunday|(?-i:Sat|Sun))"
)
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_YEAR = r"(?:(?P<year>去年|今年|明年|后年|(?<!\d)[12]\d{3}(?=年))年?的?\s*)?"
_PART = r"(?P<part>上旬|中旬|下旬|初|中|底)?"
_BARE = r"(?![\d一二两三四五六七八九十月天晚个人位周万千百度元点])"  # a number that can be a day without 日 or 号
_WEEK = r"(?:周|星期|礼拜)"
_WEEK_PREFIX = r"(?<![早晚])(?P<prefix>上{1,2}|这|本|(?<!一)下{1,3})"  # in “看一下周末” the 下 is not its own
# “下周三天气” is the weather of Wednesday, “下周三天” three days of next week, “下周一起去” “next week, together”.
_WHICH = (
    r"(?P<which>末|六日|[二三四五六1-6](?!\d|日游|天(?![气晴阴]))|一(?!次|日游|天(?![气晴阴])|起(?!" + _NUM + r"))"
    r"|[日7](?![程本记常照\d])|天(?!气))"
)
_LAST = rf"(?:{_TO}(?P<last>[一二三四五六日])(?![月日号天十点个百]))?"  # the end of 周一至五


def _english(pattern: str) -> str:
    return rf"(?<![A-Za-z]){pattern}(?![A-Za-z])"


_ORDINAL = r"(?:st|nd|rd|th)?"
_NOT_MORE = r"(?![\d/.月])(?!\s*(?:天|days?|nights?|weeks?))"
_AFTER_MONTH = r"(?:,?\s+(?P<year>[12]\d{3})(?!\d))?"
_HAN_MONTH_DAY = (
    rf"{_YEAR}(?<!\d)(?P<month>{_NUM})\s*月份?\s*(?P<day>{_NUM})(?:\s*[日号]|{_BARE})"
    rf"(?:{_TO}(?P<last>{_NUM})(?:\s*[日号]|{_BARE}))?"
)
_MONTH_DAY = _english(
    rf"{_MONTH}\.?\s*(?P<day>\d{{1,2}}){_ORDINAL}(?!\d)(?:{_TO}(?P<last>\d{{1,2}}){_ORDINAL}{_NOT_MORE})?{_AFTER_MONTH}"
)
_DAY_MONTH = (
    rf"(?<![\d/.-])(?P<day>\d{{1,2}}){_ORDINAL}(?:{_TO}(?P<last>\d{{1,2}}){_ORDINAL})?\s+(?:of\s+)?"
    rf"{_MONTH}(?![A-Za-z]){_AFTER_MONTH}"
)
_SLASHED = r"(?<![\d/.])(?P<year>)(?P<month>0?[1-9]|1[0-2])/(?P<day>0?[1-9]|[12]\d|3[01])(?![\d/])(?P<last>)"
_ENGLISH_HOLIDAYS = "new year|may day|labour day|national day|christmas|spring festival|chinese new year"
_PATTERNS: list[tuple[re.Pattern[str], Reader]] = [
    (re.compile(pattern, re.IGNORECASE), reader)
    for pattern, reader in (
        (r"(大前天|前天|大后天|(?<![雨雪之以])后天)", offset),
        (r"([昨今明])[天日晚早]", offset),
        (r"([今明])[明后](?:天|[两2二][天日])", two_days),
        (_english("(?:the )?(day before yesterday|day after tomorrow|yesterday|today|tonight|tomorrow)"), offset),
        (rf"(?<![第\d])(?P<n>{_NUM})\s*(?P<unit>天|个?周|个?星期|个?礼拜)(?P<way>以后|之后|后|以前|之前|前)", later),
        (_english(rf"in\s+(?P<n>{_ENUM})\s+(?P<unit>days?|weeks?)(?P<way>)"), later),
        (_english(rf"(?P<n>{_ENUM})\s+(?P<unit>days?|weeks?)\s+(?P<way>ago|later|from now)"), later),
        (rf"{_WEEK_PREFIX}一?个?{_WEEK}(?:{_WHICH}{_LAST})?(?![边围年岁])", han_week),
        (rf"(?<![一二两三四五六七八九十\d个每])(?P<prefix>){_WEEK}{_WHICH}{_LAST}", han_week),
        (_english(rf"(?:(?P<which>this|next|last|coming|next week(?:'s)?|last week(?:'s)?)\s+)?{_DAY}"), english_day),
        (_english(rf"{_DAY}\s+(?:of\s+)?(?P<which>next|last)\s+week"), english_day),
        (_english(r"(?:(?P<which>this|the|coming|next|last)\s+)?(?P<after_next>)(?P<unit>weekend)"), english_week),
        (_english(r"(?P<which>this|the coming|next|last)\s+(?P<after_next>)(?P<unit>week|month)"), english_week),
        (_english(r"(?P<which>the\s+)?(?P<unit>week|weekend)\s+(?P<after_next>after next)"), english_week),
        (r"(?<!\d)([12]\d{3})\s*[年/.-]\s*(\d{1,2})\s*[月/.-]\s*(\d{1,2})(?!\d)\s*[日号]?", ymd),
        (_HAN_MONTH_DAY, month_day),
        (rf"{_YEAR}(?<!\d)(?P<month>{_NUM})\s*月份?{_PART}", whole_month),
        (rf"(?P<prefix>这个?|本|下{{1,2}}个?)月(?:{_PART}|(?P<day>{_NUM})[日号])(?!\d)", relative_month),
        (r"(?P<prefix>)月(?P<part>底)(?P<day>)", relative_month),
        (rf"(?<![\d第月])(?P<day>{_NUM})号(?![线楼门院店车路馆])(?P<last>)", day_of_month),
        (rf"(?<![\d第月])(?P<day>\d{{1,2}}|十{_DIGIT}|[二三]十{_DIGIT}?)日(?!游|自驾|行|之)(?P<last>)", day_of_month),
        (rf"(?<![\d第月])(?P<day>{_NUM})[日号]?{_TO}(?P<last>{_NUM})[日号](?!游|自驾|行|之)", day_of_month),
        (_english(r"the\s+(?P<day>\d{1,2})(?:st|nd|rd|th)(?P<last>)"), day_of_month),
        (_SLASHED, month_day),
        (_MONTH_DAY, month_day),
        (_DAY_MONTH, month_day),
        (_english(rf"(?:in|during)\s+{_MONTH}") + _AFTER_MONTH, whole_month),
        (rf"{_YEAR}(?P<name>元旦|春节|过年|清明|五一|劳动节|国庆|圣诞)节?", holiday),
        (_english(rf"(?P<name>{_ENGLISH_HOLIDAYS})") + _AFTER_MONTH, holiday),
    )
]
_LENGTHS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<lead>未来|接下来|今后|往后|这)?的?(?<![第\d提前])(?P<n>{_NUM})\s*整?(?P<unit>天)(?![前后])",
        r"(?<![第月\d一二三四五六七八九十])(?P<lead>)(?P<n>[一二两三四五六七八九十])(?P<unit>日)(?!号)",
        r"(?<![第月\d])(?P<lead>)(?P<n>\d{1,2})(?P<unit>日)(?=游|自驾|行|之)",
        rf"(?P<lead>未来|接下来|今后|往后)?(?<![第\d下上])(?P<n>{_NUM})个?(?P<unit>周|星期|礼拜)(?![前后末边年岁一二三四五六])",
        _english(rf"(?:(?P<lead>next|coming|following)\s+)?(?P<n>{_ENUM})[\s-]+(?P<unit>days?|weeks?)"),
        _english("(?P<lead>)(?P<n>)(?P<unit>day[ -]trip)"),
    )
]


def find(text: str) -> tuple[list[DateWord], list[Length]]:
    """The date words and the lengths in `text`, in order, the longest reading of each place; they do not overlap."""
    found: list[DateWord | Length] = [
        DateWord(match, reader) for pattern, reader in _PATTERNS for match in pattern.finditer(text)
    ]
    for pattern in _LENGTHS:
        found.extend(_length(match) for match in pattern.finditer(text))
    words: list[DateWord] = []
    lengths: list[Length] = []
    end = 0
    for item in sorted(found, key=lambda item: (item.begin, -item.end)):
        if item.begin < end:
            continue
        end = item.end
        if isinstance(item, DateWord):
            words.append(item)
        else:
            lengths.append(item)
    return words, lengths


def _length(match: re.Match[str]) -> Length:
    weeks = match["unit"].lower() in ("周", "星期", "礼拜", "week", "weeks")
    days = number(match["n"] or "1") * (7 if weeks else 1)
    return Length(match.start(), match.end(), days, (match["lead"] or "").lower())
