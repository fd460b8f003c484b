"""What a date word means on a given day: one reader per kind of word, called with the match, today, and `after`.

`after` is the first day of the range that the word ends, None where it ends none: “周日” alone is the next Sunday,
after “下周三到” it is the first Sunday from that Wednesday on. Weeks run from Monday to Sunday: 下周三 and
“next Wednesday” are the Wednesday of the next calendar week; a bare weekday is its next occurrence, today included.
Of a week, a month or a holiday that has begun, what is left is meant.
"""

import re
from calendar import monthrange
from datetime import date, timedelta

Span = tuple[date, date]


class Impossible(ValueError):
    """A date that no calendar has, such as 2月30日."""


_HAN = {char: value for value, char in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_WEEKDAYS = (
    {char: value for value, char in enumerate("一二三四五六日")} | {"天": 6} | {str(n): n - 1 for n in range(1, 8)}
)
_ENGLISH_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ENGLISH_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ENGLISH_NUMBERS = {"a": 1, "one": 1, "two": 2, "couple of": 2, "a couple of": 2, "three": 3, "four": 4, "five": 5}
ENGLISH_NUMBERS |= {"six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_OFFSETS = {"大前天": -3, "前天": -2, "昨": -1, "今": 0, "明": 1, "后天": 2, "大后天": 3}
_OFFSETS |= {"day before yesterday": -2, "yesterday": -1, "today": 0, "tonight": 0}
_OFFSETS |= {"tomorrow": 1, "day after tomorrow": 2}
_SPRING_FESTIVAL = {2025: (1, 29), 2026: (2, 17), 2027: (2, 6), 2028: (1, 26), 2029: (2, 13), 2030: (2, 3)}
_SPRING_FESTIVAL |= {2031: (1, 23), 2032: (2, 11), 2033: (1, 31), 2034: (2, 19), 2035: (2, 8)}
_HOLIDAYS = {
    "元旦": (1, 1, 3),
    "清明": (4, 4, 3),
    "五一": (5, 1, 5),
    "劳动节": (5, 1, 5),
    "国庆": (10, 1, 7),
    "圣诞": (12, 24, 2),
}
_HOLIDAYS |= {"new year": (1, 1, 3), "may day": (5, 1, 5), "labour day": (5, 1, 5), "national day": (10, 1, 7)}
_HOLIDAYS |= {"christmas": (12, 24, 3)}


def number(text: str) -> int:
    """The value of digits, of Chinese numerals up to 99, or of English words up to ten."""
    if text.isdigit():
        return int(text)
    if text.lower() in ENGLISH_NUMBERS:
        return ENGLISH_NUMBERS[text.lower()]
    tens, ten, ones = text.rpartition("十")
    return ((_HAN[tens] if tens else 1) * 10 if ten else 0) + (_HAN[ones] if ones else 0)


def _days(first: date, count: int) -> Span:
    return first, first + timedelta(days=count - 1)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _month(year: int, month: int) -> Span:
    return date(year, month, 1), date(year, month, monthrange(year, month)[1])


def _add_months(day: date, months: int) -> tuple[int, int]:
    """The (year, month) that lies so many months after that of `day`."""
    years, month = divmod(day.month - 1 + months, 12)
    return day.year + years, month + 1


def _year_near(month: int, day: int, today: date, after: date | None) -> int:
    """The year of a date that was said without one: the coming one, but a date just gone (30 days) stays gone."""
    base = after or today - timedelta(days=30)
    candidate = date(base.year if (month, day) != (2, 29) else 2000, month, day)  # raises for 2月30日 in any year
    if (month, day) == (2, 29):
        return next(y for y in range(base.year, base.year + 9) if monthrange(y, 2)[1] == 29 and date(y, 2, 29) >= base)
    return base.year if candidate >= base else base.year + 1


def offset(match: re.Match[str], today: date, _after: date | None) -> Span:
    return _days(today + timedelta(days=_OFFSETS[match[1].lower()]), 1)


def two_days(match: re.Match[str], today: date, _after: date | None) -> Span:
    return _days(today + timedelta(days=_OFFSETS[match[1]]), 2)


def later(match: re.Match[str], today: date, _after: date | None) -> Span:
    unit = 7 if match["unit"].lower() in ("周", "星期", "礼拜", "week", "weeks") else 1
    sign = -1 if match["way"].lower() in ("以前", "之前", "前", "ago") else 1
    return _days(today + timedelta(days=sign * unit * number(match["n"])), 1)


def _in_week(monday: date, which: str, today: date) -> Span:
    if which in ("末", "weekend", "六日"):
        first, last = _days(monday + timedelta(days=5), 2)
    elif which:
        first, last = _days(monday + timedelta(days=_WEEKDAYS[which]), 1)
    else:
        first, last = _days(monday, 7)
    return (today, last) if first < today <= last else (first, last)


def han_week(match: re.Match[str], today: date, after: date | None) -> Span:
    prefix, which = match["prefix"], match["which"] or ""
    weeks = prefix.count("下") - prefix.count("上")
    base = today if prefix else after or today
    if prefix or which in ("末", "六日"):
        first, last = _in_week(_monday(base) + timedelta(weeks=weeks), which, base)
    else:
        first, last = _days(_next_weekday(_WEEKDAYS[which], base), 1)
    if match["last"]:
        last = _next_weekday(_WEEKDAYS[match["last"]], first)
    return first, last


def _next_weekday(weekday: int, base: date) -> date:
    return base + timedelta(days=(weekday - base.weekday()) % 7)


def english_day(match: re.Match[str], today: date, after: date | None) -> Span:
    weekday = next(i for i, name in enumerate(_ENGLISH_DAYS) if name.startswith(match["day"].lower()[:3]))
    which = (match["which"] or "").lower()
    if which.startswith(("next", "last")):
        weeks = 1 if which.startswith("next") else -1
        return _days(_monday(today) + timedelta(days=7 * weeks + weekday), 1)
    return _days(_next_weekday(weekday, after or today), 1)


def english_week(match: re.Match[str], today: date, after: date | None) -> Span:
    which, unit = (match["which"] or "this").lower().split()[0], match["unit"].lower()
    weeks = 2 if match["after_next"] else {"next": 1, "last": -1}.get(which, 0)
    base = after if after and not weeks else today
    if unit != "month":
        return _in_week(_monday(base) + timedelta(weeks=weeks), "" if unit == "week" else unit, base)
    first, last = _month(*_add_months(today, weeks))
    return max(first, today) if weeks == 0 else first, last


def ymd(match: re.Match[str], _today: date, _after: date | None) -> Span:
    return _days(date(int(match[1]), int(match[2]), int(match[3])), 1)


def _month_name(text: str) -> int:
    return _ENGLISH_MONTHS.index(text.lower()[:3]) + 1 if text[0].isascii() and text[0].isalpha() else number(text)


def _year(match: re.Match[str], today: date) -> int | None:
    said = match["year"]
    if not said:
        return None
    relative = {"去年": -1, "今年": 0, "明年": 1, "后年": 2}
    return today.year + relative[said] if said in relative else int(said)


def month_day(match: re.Match[str], today: date, after: date | None) -> Span:
    month, day = _month_name(match["month"]), number(match["day"])
    first = date(_year(match, today) or _year_near(month, day, today, after), month, day)
    last = match["last"]
    return first, first if not last else first.replace(day=number(last))


def whole_month(match: re.Match[str], today: date, after: date | None) -> Span:
    month = _month_name(match["month"])
    base = after or today
    year = _year(match, today) or (base.year if month >= base.month else base.year + 1)
    first, last = _part(_month(year, month), match.groupdict().get("part") or "")
    return (today, last) if first < today <= last else (first, last)


def _part(span: Span, part: str) -> Span:
    """The first, middle or last third of a month (上旬, 中旬, 下旬; 初, 中, 底), or all of it."""
    first, last = span
    if part in ("上旬", "初"):
        return first, first.replace(day=10)
    if part in ("中旬", "中"):
        return first.replace(day=11), first.replace(day=20)
    return (first.replace(day=21), last) if part else span


def relative_month(match: re.Match[str], today: date, _after: date | None) -> Span:
    first, last = _month(*_add_months(today, (match["prefix"] or "").count("下")))
    if match["day"]:
        return _days(first.replace(day=number(match["day"])), 1)
    first, last = _part((first, last), match["part"] or "")
    return (today, last) if first < today <= last else (first, last)


def _coming_day(day: int, base: date) -> date:
    """The first date from `base` on that is the so-many-th of its month."""
    if not 1 <= day <= 31:
        raise Impossible(str(day))
    months = (_add_months(base, n) for n in range(0 if base.day <= day else 1, 4))
    return next(date(year, month, day) for year, month in months if monthrange(year, month)[1] >= day)


def day_of_month(match: re.Match[str], today: date, after: date | None) -> Span:
    first = _coming_day(number(match["day"]), after or today)
    return first, _coming_day(number(match["last"]), first) if match["last"] else first


def _holiday_in(year: int, name: str) -> Span:
    if name in ("春节", "过年", "spring festival", "chinese new year"):
        if year not in _SPRING_FESTIVAL:
            raise Impossible(f"{year} {name}")
        return _days(date(year, *_SPRING_FESTIVAL[year]), 7)
    month, day, count = _HOLIDAYS[name]
    return _days(date(year, month, day), count)


def holiday(match: re.Match[str], today: date, _after: date | None) -> Span:
    name, said = match["name"].lower(), _year(match, today)
    first, last = _holiday_in(said or today.year, name)
    if last < today and not said:
        first, last = _holiday_in(today.year + 1, name)
    return (today, last) if first < today <= last else (first, last)
