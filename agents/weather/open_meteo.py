"""Open-Meteo's requests and answers: addresses to ask, and what can be used of what comes back.

Formats: https://open-meteo.com/en/docs and https://open-meteo.com/en/docs/geocoding-api. An answer is somebody else's
words: what is not as described there is left out, value by value, and `Unavailable` is raised where nothing remains.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlencode

from .web import Unavailable

FORECAST_URL = "https://api.open-meteo.com/v1/forecast"
GEOCODING_URL = "https://geocoding-api.open-meteo.com/v1/search"
DAYS = 16  # the forecast's horizon, today included
_FIELDS = ("weather_code", "temperature_2m_max", "temperature_2m_min", "precipitation_probability_max")
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Spot:
    """A place that the geocoding knows; `region` is its province and country."""

    word: str
    region: str
    latitude: float
    longitude: float

    def name(self, chinese: bool) -> str:  # noqa: ARG002 - it was asked for in one language
        return self.word


@dataclass(frozen=True)
class Sky:
    """The forecast of one day: WMO code, °C, percent."""

    code: int
    low: int
    high: int
    rain_chance: int


def forecast_url(base: str, latitude: float, longitude: float) -> str:
    """All days there are, counted in the place's own time: a range of dates would have to guess at what day it is
    there, and is refused when it reaches too far."""
    wanted = {"latitude": latitude, "longitude": longitude, "daily": ",".join(_FIELDS), "timezone": "auto"}
    return _with_query(base, wanted | {"forecast_days": DAYS})


def geocoding_url(base: str, name: str, chinese: bool) -> str:
    return _with_query(base, {"name": name, "count": 5, "language": "zh" if chinese else "en", "format": "json"})


def read_forecast(answer: Any) -> dict[date, Sky]:
    """The days that are whole; one with a value missing or impossible is left out."""
    daily = answer.get("daily") if isinstance(answer, Mapping) else None
    columns = [daily.get(name) for name in ("time", *_FIELDS)] if isinstance(daily, Mapping) else []
    lists = [column for column in columns if isinstance(column, list)]
    if not lists or len(lists) < len(columns) or len({len(column) for column in lists}) != 1:
        raise Unavailable("an answer of another shape")
    found = {}
    for day, code, high, low, chance in zip(*lists, strict=True):
        sky = _sky(code, high, low, chance)
        when = _date(day)
        if sky and when:
            found[when] = sky
    if not found:
        raise Unavailable("an answer without a single whole day")
    return found


def read_spot(answer: Any, name: str, *, exact: bool) -> Spot | None:
    """The first result, the most important one, if any; with `exact`, one that has just that name."""
    results = answer.get("results", []) if isinstance(answer, Mapping) else None
    if not isinstance(results, list):
        raise Unavailable("an answer of another shape")
    spots = [spot for result in results if isinstance(result, Mapping) and (spot := _spot(result))]
    fitting = (spot for spot in spots if not exact or _plain(spot.word) == _plain(name))
    return next(fitting, None)


def _with_query(base: str, values: Mapping[str, Any]) -> str:
    """`base` may have a query of its own, such as a customer's apikey."""
    return f"{base}{'&' if '?' in base else '?'}{urlencode(values)}"


def _sky(code: Any, high: Any, low: Any, chance: Any) -> Sky | None:
    kind, rain = _number(code, 0, 99), _number(chance, 0, 100)
    warmest, coldest = _number(high, -90, 65), _number(low, -90, 65)
    if kind is None or rain is None or warmest is None or coldest is None or coldest > warmest:
        return None
    return Sky(round(kind), round(coldest), round(warmest), round(rain))


def _spot(result: Mapping[str, Any]) -> Spot | None:
    name = _text(result.get("name"))
    latitude, longitude = _number(result.get("latitude"), -90, 90), _number(result.get("longitude"), -180, 180)
    if not name or latitude is None or longitude is None:
        return None
    region = dict.fromkeys(_text(result.get(key)) for key in ("admin1", "country"))
    return Spot(name, ", ".join(part for part in region if part and part != name), latitude, longitude)


def _number(value: Any, least: float, most: float) -> float | None:
    """The number, if it is one in that range, which NaN never is."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        return None
    return float(value)


def _date(value: Any) -> date | None:
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    """A name fit to be shown: short, on one line, printable."""
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text if text.isprintable() and len(text) <= _LONGEST_NAME else ""


def _plain(name: str) -> str:
    return name.casefold().rstrip("市县区").strip()
