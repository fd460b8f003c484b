"""From a request to a weather report in three pure steps: what is asked, which weather is normal then, what to say."""

from dataclasses import dataclass
from datetime import date, timedelta

from pydantic import BaseModel, Field

from . import dates, wording
from .climate import City, Mention, cities, mentions, normal
from .forecast import Day, Forecast

_MAX_TEXT, _MAX_NAME = 2000, 60  # characters of a request and of a city's name that are read
_EXAMPLES = slice(None, None, 5)  # the cities named where none was recognised


class ForecastReport(BaseModel):
    """A forecast to work with, and the same as text to read."""

    text: str = Field(description="the forecast to show to a person, in the language of the request")
    forecast: Forecast


@dataclass(frozen=True)
class Question:
    """City and dates, as far as they could be made out, and what has to be said about them."""

    city: City | None
    start: date | None
    end: date | None
    notes: tuple[str, ...]
    chinese: bool


def understand(request: str, city: str, start: date | None, end: date | None, today: date) -> Question:
    """What a request asks for; `city`, `start` and `end` count more than what the sentence says."""
    request, city = request[:_MAX_TEXT], city[:_MAX_NAME]
    chinese = wording.is_chinese(request + city)
    found = mentions(city or request)
    notes = _about_cities(found, city, chinese)
    place = found[0].city if found else None
    when = _when(request, start, end, today)
    if isinstance(when, dates.Problem):
        return Question(place, None, None, (*notes, when.text(chinese)), chinese)
    if when.assumed and place is None:
        return Question(None, None, None, tuple(notes), chinese)
    if when.assumed:
        notes.append(wording.assumed_dates(when.start, when.end, chinese))
    return Question(place, when.start, when.end, tuple(notes), chinese)


def normal_days(question: Question) -> list[Day]:
    """What is normal for the days asked for; empty without a city or without dates."""
    if question.city is None or question.start is None or question.end is None:
        return []
    count = (question.end - question.start).days + 1
    return [_day(question.city, question.start + timedelta(days=n), question.chinese) for n in range(count)]


def answer(question: Question, days: list[Day], source: str) -> ForecastReport:
    """The report on `days`, whose values come from `source`."""
    forecast = Forecast(
        city=question.city.name(question.chinese) if question.city else "",
        source=source,
        start=question.start,
        end=question.end,
        note=("" if question.chinese else " ").join(question.notes),
        days=days,
    )
    return ForecastReport(text=wording.report(forecast, question.chinese), forecast=forecast)


def _when(request: str, start: date | None, end: date | None, today: date) -> dates.Dates | dates.Problem:
    if start or end:
        return dates.check(start or today, end or start or today, today)
    return dates.resolve(request, today) or dates.default(today)


def _about_cities(found: list[Mention], asked: str, chinese: bool) -> list[str]:
    if not found:
        examples = [city.name(chinese) for city in cities()[_EXAMPLES]]
        return [wording.unknown_city(asked, examples, len(cities()), chinese)]
    first, others = (
        found[0],
        [mention.city.name(chinese) for mention in found[1:] if mention.by_its_name and not mention.departure],
    )
    notes = [] if first.by_its_name else [wording.stands_for(first.word, first.city.name(chinese), chinese)]
    return [*notes, wording.only_one_city(first.city.name(chinese), others, chinese)] if others else notes


def _day(city: City, day: date, chinese: bool) -> Day:
    usual = normal(city, day)
    return Day(
        date=day,
        weekday=wording.weekday(day, chinese),
        condition=wording.condition(usual.rain_chance, usual.high, chinese),
        low=usual.low,
        high=usual.high,
        rain_chance=usual.rain_chance,
        advice=wording.advice(usual.low, usual.high, usual.rain_chance, chinese),
    )
