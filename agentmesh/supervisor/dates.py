"""The days and times that a text names, in Chinese and English, resolved against a day that is passed in: pure.

Weeks run from Monday to Sunday: 下周三 and “next Wednesday” are the Wednesday of the next calendar week; a bare weekday
is its next occurrence, today included. A date without a year is the coming one.
"""

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import date, time, timedelta

import msgspec

from agentmesh.supervisor.numbers import HAN, number_of

LONGEST_READ = 4000


class Days(msgspec.Struct, frozen=True):
    """From `first` to `last`, as the text says it from `begin` to `end`."""

    begin: int
    end: int
    first: date
    last: date


class Time(msgspec.Struct, frozen=True):
    """A time of day, as the text says it from `begin` to `end`."""

    begin: int
    end: int
    time: time


class Length(msgspec.Struct, frozen=True):
    """A number of days or nights: `days` is by how many the last day comes after the first."""

    begin: int
    end: int
    days: int


Span = tuple[date, date]
_Reader = Callable[[re.Match[str], date, date | None], Span]
"""Reads a match on a given day; the last argument is the first day of a range that the match ends."""

_COUNT = rf"(?:\d{{1,3}}|[{HAN}]{{1,3}}|an?|one|two|three|four|five|six|seven|eight|nine|ten)"
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEKDAY = r"(?P<day>mon(?:day)?|tue(?:s|sday)?|wed(?:nesday)?|thu(?:rs?|rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?)"
_TO = r"\s*(?:一?直?到|至|~|—+|–|-|to|through|until|till)\s*"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s+(?P<year>[12]\d{3}))?(?!\d)"
_OFFSETS = {"大前天": -3, "前天": -2, "昨": -1, "今": 0, "明": 1, "后天": 2, "大后天": 3}
_OFFSETS |= {"day before yesterday": -2, "yesterday": -1, "today": 0, "tonight": 0}
_OFFSETS |= {"tomorrow": 1, "day after tomorrow": 2}


def _english(pattern: str) -> str:
    return rf"(?<![a-z]){pattern}(?![a-z])"


def _only(day: date) -> Span:
    return day, day


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _coming(weekday: int, base: date) -> date:
    return base + timedelta(days=(weekday - base.weekday()) % 7)


def _month(day: date, months: int) -> Span:
    """The whole month that lies so many months after that of `day`."""
    years, month = divmod(day.month - 1 + months, 12)
    first = date(day.year + years, month + 1, 1)
    return first, first.replace(day=monthrange(first.year, first.month)[1])


def _offset(match: re.Match[str], today: date, _after: date | None) -> Span:
    return _only(today + timedelta(days=_OFFSETS[match[1].lower()]))


def _later(match: re.Match[str], today: date, _after: date | None) -> Span:
    count = number_of(match["n"]) * (-1 if match["way"].lower() in ("前", "以前", "之前", "ago") else 1)
    if match["unit"].lower() in ("个月", "month", "months"):
        first, last = _month(today, count)
        return _only(first.replace(day=min(today.day, last.day)))
    days = 7 if match["unit"].lower() in ("周", "个星期", "星期", "week", "weeks") else 1
    return _only(today + timedelta(days=count * days))


def _han_week(match: re.Match[str], today: date, after: date | None) -> Span:
    prefix, which = match["prefix"] or "", match["which"] or ""
    monday = _monday(today) + timedelta(weeks=prefix.count("下") - prefix.count("上"))
    if which == "末":
        return monday + timedelta(days=5), monday + timedelta(days=6)
    if not which:
        return monday, monday + timedelta(days=6)
    weekday = 6 if which in "日天7" else number_of(which) - 1
    return _only(monday + timedelta(days=weekday) if prefix else _coming(weekday, after or today))


def _english_day(match: re.Match[str], today: date, after: date | None) -> Span:
    weekday = _WEEKDAYS.index(match["day"].lower()[:3])
    weeks = {"next": 1, "last": -1}.get((match["which"] or "").lower())
    if weeks is None:
        return _only(_coming(weekday, after or today))
    return _only(_monday(today) + timedelta(weeks=weeks, days=weekday))


def _period(match: re.Match[str], today: date, _after: date | None) -> Span:
    """This, the next or the last week, weekend, month or year."""
    which, unit = (match["which"] or "this").lower()[0], match["unit"].lower()
    step = {"n": 1, "下": 1, "明": 1, "l": -1, "p": -1, "上": -1, "去": -1}.get(which, 0)
    if unit in ("year", "年"):
        return date(today.year + step, 1, 1), date(today.year + step, 12, 31)
    if unit in ("month", "月"):
        return _month(today, step)
    monday = _monday(today) + timedelta(weeks=step)
    return monday + timedelta(days=5 if unit == "weekend" else 0), monday + timedelta(days=6)


def _year_month_day(match: re.Match[str], _today: date, _after: date | None) -> Span:
    return _only(date(int(match[1]), int(match[2]), int(match[3])))


def _month_day(match: re.Match[str], today: date, after: date | None) -> Span:
    said = match["month"].rstrip(".").lower()
    month = _MONTHS.split("|").index(said[:3]) + 1 if said[0].isascii() and said[0].isalpha() else number_of(said)
    base = after or today
    day = _day_number(match["day"])
    year = int(match["year"]) if match["year"] else base.year
    first = date(year, month, day)
    if first < base and not match["year"]:
        first = date(year + 1, month, day)
    return first, first.replace(day=_day_number(match["last"])) if match["last"] else first


def _day_of_month(match: re.Match[str], today: date, after: date | None) -> Span:
    base, day = after or today, _day_number(match["day"])
    months = (_month(base, ahead) for ahead in range(0 if day >= base.day else 1, 4))
    return _only(next(first.replace(day=day) for first, last in months if 0 < day <= last.day))


def _day_number(said: str) -> int:
    return number_of(re.sub(r"(?i)(?:st|nd|rd|th)$", "", said))


_WEEK = "(?:周|星期|礼拜)"
_WHICH = "(?P<which>[一二三四五六日末]|天(?!气))"
_HAN_YEAR = r"(?:(?P<year>[12]\d{3})年)?"
_HAN_DAY = rf"(?:\d{{1,2}}|[{HAN}]{{1,3}})"
_WORDS: list[tuple[re.Pattern[str], _Reader]] = [
    (re.compile(pattern, re.IGNORECASE), reader)
    for pattern, reader in (
        (r"(大前天|前天|大后天|(?<!以)后天)", _offset),
        (r"([昨今明])[天日晚早]", _offset),
        (_english("(?:the )?(day before yesterday|day after tomorrow|yesterday|today|tonight|tomorrow)"), _offset),
        (rf"(?P<n>{_COUNT})\s*(?P<unit>天|周|个?星期|个月)(?P<way>以后|之后|后|以前|之前|前)", _later),
        (_english(rf"in\s+(?P<n>{_COUNT})\s+(?P<unit>days?|weeks?|months?)(?P<way>)"), _later),
        (_english(rf"(?P<n>{_COUNT})\s+(?P<unit>days?|weeks?|months?)\s+(?P<way>ago|later|from now)"), _later),
        (
            rf"(?P<prefix>上{{1,2}}|这|本|(?<!一)下{{1,2}})一?个?{_WEEK}(?P<which>[一二三四五六日末]|天(?!气))?",
            _han_week,
        ),
        (rf"(?P<prefix>)(?<![每个{HAN}\d]){_WEEK}(?P<which>[一二三四五六日末]|天(?!气))", _han_week),
        (r"(?P<which>上|这|本|(?<!一)下)个?(?P<unit>月)(?!\d)", _period),
        (r"(?P<which>去|今|明)(?P<unit>年)(?!\d)", _period),
        (_english(rf"(?:(?P<which>this|next|last|coming)\s+)?{_WEEKDAY}"), _english_day),
        (_english(r"(?P<which>this|the coming|next|last|past)\s+(?P<unit>weekend|week|month|year)"), _period),
        (_english(r"(?P<which>the\s+)(?P<unit>weekend)"), _period),
        (r"(?<!\d)([12]\d{3})\s*[年/.-]\s*(\d{1,2})\s*[月/.-]\s*(\d{1,2})(?!\d)\s*[日号]?", _year_month_day),
        (
            rf"{_HAN_YEAR}(?P<month>{_HAN_DAY})月(?P<day>{_HAN_DAY})[日号]?(?:{_TO}(?P<last>{_HAN_DAY})[日号])?",
            _month_day,
        ),
        (rf"(?<![\d月{HAN}])(?P<day>{_HAN_DAY})号(?![线楼门院店车路馆])", _day_of_month),
        (_english(rf"{_MONTH}\s*(?P<day>{_DAY})(?:{_TO}(?P<last>{_DAY}))?") + r"(?![\d:])" + _YEAR, _month_day),
        (rf"(?<![\d/.:-])(?P<day>{_DAY})(?:{_TO}(?P<last>{_DAY}))?\s+(?:of\s+)?{_MONTH}(?![a-z]){_YEAR}", _month_day),
        (_english(r"the\s+(?P<day>\d{1,2}(?:st|nd|rd|th))"), _day_of_month),
    )
]
_LENGTH = re.compile(
    rf"(?<![第\d{HAN}])(?P<han>\d{{1,3}}|[{HAN}]{{1,3}})\s*个?(?P<unit>天|晚上?|周|星期)(?![前后末])"
    rf"|(?<![a-z\d])(?P<n>{_COUNT})[\s-]+(?P<word>days?|nights?|weeks?)(?![a-z])",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    rf"(?P<part>凌晨|清早|早上|早晨|上午|中午|下午|傍晚|晚上|今晚|明晚|晚)?\s*"
    rf"(?<![\d.{HAN}])(?P<hour>\d{{1,2}}|[{HAN}]{{1,3}})\s*(?:[点时](?!间)(?:(?P<half>半)|(?P<quarter>[一三])刻|(?P<minute>\d{{1,2}}|[{HAN}]{{1,3}})分?)?)"
    r"|(?<![\d:.])(?P<h24>[01]?\d|2[0-3])[:：](?P<m24>[0-5]\d)(?![\d:])(?:\s*(?P<half24>[ap])\.?m\b)?"
    r"|(?<![\d:.])(?P<h12>1[0-2]|0?[1-9])\s*(?P<half12>[ap])\.?m\b"
    r"|(?<![a-z])(?P<word>noon|midnight)(?![a-z])|(?P<at>正午)",
    re.IGNORECASE,
)
_BETWEEN = re.compile(_TO, re.IGNORECASE)


def days_in(text: str, today: date) -> list[Days]:
    """The days that a text names, in order; those joined by “to” or 到 are one. What no calendar has is left out."""
    matches = [(match, reader) for pattern, reader in _WORDS for match in pattern.finditer(text[:LONGEST_READ])]
    found: list[Days] = []
    for match, reader in sorted(matches, key=lambda each: (each[0].start(), -each[0].end())):
        last = found[-1] if found else None
        if last and match.start() < last.end:
            continue
        joined = bool(last and _BETWEEN.fullmatch(text, last.end, match.start()))
        try:
            first, end = reader(match, today, last.first if last and joined else None)
        except (ValueError, OverflowError, StopIteration):
            continue
        if last and joined and last.first <= end:
            found[-1] = Days(last.begin, match.end(), last.first, end)
        else:
            found.append(Days(match.start(), match.end(), first, end))
    return found


def times_in(text: str) -> list[Time]:
    """The times of day that a text names, in order."""
    found = []
    for match in _CLOCK.finditer(text[:LONGEST_READ]):
        try:
            found.append(Time(match.start(), match.end(), _time(match)))
        except ValueError:
            continue
    return found


def lengths_in(text: str) -> list[Length]:
    """The numbers of days, nights and weeks in a text. Three days end two days after the first, three nights three."""
    found = []
    for match in _LENGTH.finditer(text[:LONGEST_READ]):
        count, unit = number_of(match["han"] or match["n"]), (match["unit"] or match["word"]).lower()
        if unit in ("周", "星期", "week", "weeks"):
            count *= 7
        nights = unit.startswith(("晚", "night"))
        found.append(Length(match.start(), match.end(), count if nights else max(0, count - 1)))
    return found


def _time(match: re.Match[str]) -> time:
    if match["word"] or match["at"]:
        return time(0 if (match["word"] or "").lower() == "midnight" else 12)
    half = match["half24"] or match["half12"]
    if match["hour"] is None:
        hour, minute = int(match["h24"] or match["h12"]), int(match["m24"] or 0)
        return time(hour % 12 + (12 if half in ("p", "P") else 0) if half else hour, minute)
    hour, part = number_of(match["hour"]), match["part"] or ""
    minute = 30 if match["half"] else number_of(match["quarter"]) * 15 if match["quarter"] else 0
    minute = number_of(match["minute"]) if match["minute"] else minute
    if part in ("下午", "傍晚", "晚上", "今晚", "明晚", "晚") and hour < 12:
        hour += 12
    if part == "中午" and hour < 3:
        hour += 12
    return time(hour % 24, minute)
