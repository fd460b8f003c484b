"""Monthly climate normals of some cities: what the weather is like there at that time of the year, in the long run.

The values in climate.json are approximate long-term averages: high and low in °C, days with rain or snow per month.
They are normals, not a forecast, and whatever shows them has to say so. Coordinates are those of the city centres, to
about a kilometre.
"""

import json
import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class City:
    """A city with its names, where it is, and its twelve monthly normals, January first."""

    zh: str
    en: str
    aliases: tuple[str, ...]
    latitude: float
    longitude: float
    high: tuple[float, ...]
    low: tuple[float, ...]
    rain_days: tuple[int, ...]

    def name(self, chinese: bool) -> str:
        return self.zh if chinese else self.en


@dataclass(frozen=True)
class Normal:
    """What is normal for one day of the year: °C, and the chance of rain or snow in percent, in steps of 5."""

    low: int
    high: int
    rain_chance: int


@dataclass(frozen=True)
class Mention:
    """A city that a text names, and the word it is named with (a district or a sight, perhaps)."""

    city: City
    word: str
    departure: bool

    @property
    def by_its_name(self) -> bool:
        return self.word.casefold() in (self.city.zh, self.city.en.casefold())


@cache
def cities() -> tuple[City, ...]:
    entries = json.loads(Path(__file__).with_name("climate.json").read_text("utf-8"))
    columns = ("high", "low", "rain_days")
    return tuple(
        City(e["zh"], e["en"], tuple(e["aliases"]), e["lat"], e["lon"], *(tuple(e[name]) for name in columns))
        for e in entries
    )


@cache
def _names() -> tuple[dict[str, City], re.Pattern[str]]:
    """Every name of every city, and a pattern that finds the longest of them at each place of a text."""
    owners = {name.casefold(): city for city in cities() for name in (city.zh, city.en, *city.aliases)}
    longest_first = sorted(owners, key=len, reverse=True)
    words = (rf"(?<![a-z]){re.escape(name)}(?![a-z])" if name.isascii() else name for name in longest_first)
    return owners, re.compile("|".join(words), re.IGNORECASE)


def mentions(text: str) -> list[Mention]:
    """The cities that `text` names, in its order, each once; those one travels to come before those one starts from."""
    owners, pattern = _names()
    text = text.replace("’", "'")
    found: dict[str, Mention] = {}
    for match in pattern.finditer(text):
        before, after = text[max(0, match.start() - 5) : match.start()].lower(), text[match.end() : match.end() + 3]
        departure = before.endswith(("从", "由", "from ")) or "出发" in after
        city = owners[match[0].casefold()]
        found.setdefault(city.zh, Mention(city, match[0], departure))
    return sorted(found.values(), key=lambda mention: mention.departure)


def normal(city: City, day: date) -> Normal:
    """The normal of one day: between the middles of two months, each month's value counts by how near it is."""
    earlier = day.month - 1 if day.day >= 15 else (day.month - 2) % 12
    later = (earlier + 1) % 12
    middle = day.replace(day=15) if day.day >= 15 else (day.replace(day=1) - timedelta(days=1)).replace(day=15)
    weight = (day - middle).days / monthrange(middle.year, middle.month)[1]

    def between(first: float, second: float) -> float:
        return first * (1 - weight) + second * weight

    chances = [100 * days / monthrange(2027, month)[1] for month, days in enumerate(city.rain_days, start=1)]
    return Normal(
        low=round(between(city.low[earlier], city.low[later])),
        high=round(between(city.high[earlier], city.high[later])),
        rain_chance=5 * round(between(chances[earlier], chances[later]) / 5),
    )
