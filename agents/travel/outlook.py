"""The days of a trip, and what the weather of each means for it."""

import re
from dataclasses import dataclass
from datetime import date, timedelta

from .forecast import Day, Forecast

MAX_DAYS = 14  # planned at most; the bundled places do not last longer
_ISO = re.compile(r"(?<!\d)([12]\d{3})-(\d{1,2})-(\d{1,2})(?!\d)")
_MONTH_DAY = re.compile(r"(?<!\d)(\d{1,2})月(\d{1,2})[日号]?")
_COUNT = re.compile(
    r"(?<!\d)(\d{1,2}|[一二两三四五六七八九十])\s*(?:天|日(?=游|自驾|行))|(?<!\d)(\d{1,2})[\s-]days?\b", re.IGNORECASE
)
_HAN = {char: value for value, char in enumerate("一二三四五六七八九十", start=1)} | {"两": 2}


@dataclass(frozen=True)
class Outlook:
    """A day with its weather, or with None where that is not known."""

    date: date
    weather: Day | None

    @property
    def wet(self) -> bool:
        return self.weather is not None and self.weather.rain_chance >= 50

    @property
    def unsure(self) -> bool:
        """Whether one should have a plan for rain, without expecting it."""
        return self.weather is None or 30 <= self.weather.rain_chance < 50

    @property
    def hot(self) -> bool:
        return self.weather is not None and self.weather.high >= 33

    @property
    def cold(self) -> bool:
        return self.weather is not None and self.weather.low <= 0


@dataclass(frozen=True)
class Calendar:
    """The days to plan; `assumed` where nobody said which, `cut`: how many more were asked for than can be planned."""

    days: list[Outlook]
    assumed: bool
    cut: int


def calendar(forecast: Forecast, request: str, today: date) -> Calendar:
    """The days of the forecast; without any, the dates in the request; without those, the coming weekend."""
    weather = {day.date: day for day in forecast.days}
    assumed = False
    if forecast.start and forecast.end and forecast.start <= forecast.end:
        start, end = forecast.start, forecast.end
    elif weather:
        start, end = min(weather), max(weather)
    else:
        start, end, assumed = _from_request(request, today)
    count = (end - start).days + 1
    dates = [start + timedelta(days=n) for n in range(min(count, MAX_DAYS))]
    return Calendar([Outlook(day, weather.get(day)) for day in dates], assumed, max(0, count - MAX_DAYS))


def _from_request(request: str, today: date) -> tuple[date, date, bool]:
    """Calendar dates written out in the request (no words such as 下周三: those are the forecast's to resolve)."""
    found = [_date(int(y), int(m), int(d)) for y, m, d in _ISO.findall(request)]
    found += [_date(today.year, int(m), int(d)) for m, d in _MONTH_DAY.findall(request)]
    coming = [day if day >= today else _date(day.year + 1, day.month, day.day) for day in found if day]
    dates = sorted(day for day in coming if day)
    said = _COUNT.search(request)
    days = 2
    if said:
        days = max(1, int(said[2]) if said[2] else _HAN.get(said[1]) or int(said[1]))
    if len(dates) > 1:
        return dates[0], dates[-1], False
    saturday = today + timedelta(days=(5 - today.weekday()) % 7 or 7)
    start = dates[0] if dates else saturday
    return start, start + timedelta(days=days - 1), not dates


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
