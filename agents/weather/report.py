"""From a request to a weather report in pure steps: what is asked, what is known of each day, what to say."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from pydantic import BaseModel, Field

from . import dates, wording
from .climate import City, Mention, cities, mentions, normal
from .forecast import Day, Forecast
from .open_meteo import Sky, Spot
from .place_words import guess
from .sky import sky

_MAX_TEXT, _MAX_NAME = 2000, 60  # characters of a request and of a city's name that are read
_EXAMPLES = slice(None, None, 5)  # the cities named where none was recognised


class ForecastReport(BaseModel):
    """A forecast to work with, and the same as text to read."""

    text: str = Field(description="the forecast to show to a person, in the language of the request")
    forecast: Forecast


@dataclass(frozen=True)
class Question:
    """City and dates, as far as they could be made out, and what has to be said about them.

    `unknown` is the name of a place that is none of ours, if there is one to look for; `guessed` if it was not given as
    one but taken from the sentence.
    """

    city: City | Spot | None
    start: date | None
    end: date | None
    notes: tuple[str, ...]
    chinese: bool
    unknown: str = ""
    guessed: bool = False

    @property
    def dates(self) -> list[date]:
        """The days asked for; none if they are not known."""
        if self.start is None or self.end is None:
            return []
        return [self.start + timedelta(days=n) for n in range((self.end - self.start).days + 1)]


def understand(
    request: str, city: str, start: date | None, end: date | None, today: date, spot: Spot | None = None
) -> Question:
    """What a request asks for; `city`, `start` and `end` count more than what the sentence says.

    `spot` is what was found for the `unknown` of a first reading.
    """
    request, city = request[:_MAX_TEXT], city[:_MAX_NAME].strip()
    chinese = wording.is_chinese(request + city)
    found = mentions(city or request)
    unknown = _unknown(request, city, found)
    if unknown:
        found = []
    place = spot or (found[0].city if found else None)
    notes = [wording.found_spot(spot.word, spot.region, chinese)] if spot else _about_cities(found, city, chinese)
    when = _when(request, start, end, today)
    if isinstance(when, dates.Problem):
        return Question(place, None, None, (*notes, when.text(chinese)), chinese)
    if when.assumed and place is None:
        return Question(None, None, None, tuple(notes), chinese, unknown, guessed=not city)
    if when.assumed:
        notes.append(wording.assumed_dates(when.start, when.end, chinese))
    return Question(place, when.start, when.end, tuple(notes), chinese, unknown, guessed=not city)


def days(question: Question, skies: Mapping[date, Sky]) -> list[Day]:
    """The days asked for: as forecast, where `skies` has them, else what is normal, where that is known."""
    known = (_day(question.city, day, skies, question.chinese) for day in question.dates if question.city)
    return [day for day in known if day]


def answer(question: Question, skies: Mapping[date, Sky], failure: str = "") -> ForecastReport:
    """The report; `failure` is why there is no live forecast, if the user is to know."""
    chinese, known = question.chinese, days(question, skies)
    notes = list(question.notes)
    if failure:
        notes.append(wording.no_live(failure, chinese))
    if isinstance(question.city, Spot) and len(known) < len(question.dates):
        notes.append(wording.no_normals(question.city.word, chinese))
    forecast = Forecast(
        city=question.city.name(chinese) if question.city else "",
        source=wording.source({day.normal for day in known}, chinese),
        start=question.start,
        end=question.end,
        note=("" if chinese else " ").join(notes),
        days=known,
    )
    return ForecastReport(text=wording.report(forecast, chinese), forecast=forecast)


def _unknown(request: str, city: str, found: list[Mention]) -> str:
    """The name of the place that is asked about, if it is none of ours; one of ours may be where the trip begins."""
    if not all(mention.departure for mention in found):
        return ""
    name = city or guess(request)
    return "" if any(mention.word in name for mention in found) else name


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


def _day(place: City | Spot, day: date, skies: Mapping[date, Sky], chinese: bool) -> Day | None:
    """The day as forecast, else its normal; None for a place without normals."""
    ahead = skies.get(day)
    values = ahead or (normal(place, day) if isinstance(place, City) else None)
    if values is None:
        return None
    condition = sky(ahead.code, chinese) if ahead else ""
    return Day(
        date=day,
        weekday=wording.weekday(day, chinese),
        condition=condition or wording.condition(values.rain_chance, values.high, chinese),
        low=values.low,
        high=values.high,
        rain_chance=values.rain_chance,
        advice=wording.advice(values.low, values.high, values.rain_chance, chinese),
        normal=ahead is None,
    )
