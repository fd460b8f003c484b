"""From a request and a forecast to a trip: pure, but for reading places.json."""

import datetime as dt
import re

from pydantic import BaseModel, Field

from .forecast import Forecast
from .guide import weather_line, why, write, write_outline
from .itinerary import DayPlan, plan_trip
from .outlook import calendar
from .phrases import KINDS
from .places import CITIES
from .wishes import Wishes, read_wishes

MAX_TEXT = 2000  # characters of a request that are read


class Stop(BaseModel):
    """A place to stop at, and the drive that leads to it."""

    name: str
    kind: str
    minutes: int = Field(description="how long to stay")
    drive_km: int = Field(description="from the stop before it, or from where the day begins; estimated")
    drive_minutes: int
    why: str


class TripDay(BaseModel):
    """One day of the trip; the last one of a loop ends with the drive home and has no overnight place."""

    date: dt.date
    weather: str
    stops: list[Stop]
    overnight: str = Field(description="where to sleep; empty on the last day")
    rain_alternative: str = Field(description="an indoor place near the stops; empty if none is needed or at hand")
    back_km: int = Field(description="the drive home; 0 on days that do not end at home")
    back_minutes: int


class TripPlan(BaseModel):
    """The trip to work with, and the same as a guide to read."""

    text: str = Field(description="the guide in markdown, in the language of the request")
    days: list[TripDay]


def is_chinese(text: str) -> bool:
    """Whether `text` has a Chinese character: then it is answered in Chinese, else in English."""
    return re.search(r"[\u3400-\u9fff]", text) is not None


def plan(request: str, forecast: Forecast, today: dt.date) -> TripPlan:
    """The trip for the forecast's days: an itinerary around Hangzhou, elsewhere an outline without places."""
    request = request[:MAX_TEXT]
    chinese = is_chinese(request)
    days = calendar(forecast, request, today)
    wishes = read_wishes(request)
    if not _covered(request, forecast, wishes):
        bare = [_day(DayPlan(day, "", (), None, None), chinese) for day in days.days]
        return TripPlan(text=write_outline(days, forecast, chinese), days=bare)
    plans = plan_trip(days.days, wishes)
    return TripPlan(text=write(days, plans, forecast, wishes, chinese), days=[_day(entry, chinese) for entry in plans])


def _covered(request: str, forecast: Forecast, wishes: Wishes) -> bool:
    """Whether the bundled places are where the trip goes to."""
    if forecast.city:
        return forecast.city.casefold().removesuffix("市") in CITIES
    return bool(wishes.wanted) or any(city in request.casefold() for city in CITIES)


def _day(entry: DayPlan, chinese: bool) -> TripDay:
    stops = [
        Stop(
            name=visit.place.name(chinese),
            kind=KINDS[visit.place.kind](chinese),
            minutes=visit.place.minutes,
            drive_km=visit.leg.km,
            drive_minutes=visit.leg.minutes,
            why=why(visit, chinese),
        )
        for visit in entry.visits
    ]
    return TripDay(
        date=entry.outlook.date,
        weather=weather_line(entry.outlook, chinese),
        stops=stops,
        overnight=entry.overnight(chinese) if entry.overnight else "",
        rain_alternative=entry.spare[0].name(chinese) if entry.spare else "",
        back_km=entry.back.km if entry.back else 0,
        back_minutes=entry.back.minutes if entry.back else 0,
    )
