"""The places around Hangzhou that trips are made of, and how long it takes to drive between them.

places.json holds approximate coordinates (WGS84), how long one stays, the best months, and a `rank` from 1 to 5.
Drives are estimated, not routed: the great-circle distance with a detour, at a speed that grows with the distance.
"""

import json
from dataclasses import dataclass
from functools import cache, lru_cache
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import Any

DETOUR = 1.3  # road kilometres per kilometre of great circle
_PARKING = 5  # minutes
_SPEEDS = ((10.0, 30.0), (30.0, 50.0), (float("inf"), 85.0))  # so many km at so many km/h: town, country road, motorway
_EARTH = 6371.0  # km


@dataclass(frozen=True)
class Name:
    """What something is called in Chinese and in English."""

    zh: str
    en: str

    def __call__(self, chinese: bool) -> str:
        return self.zh if chinese else self.en


@dataclass(frozen=True)
class Point:
    lat: float
    lon: float


@dataclass(frozen=True)
class Leg:
    """A drive: kilometres, and minutes in steps of 5."""

    km: int
    minutes: int


@dataclass(frozen=True)
class Place:
    """Somewhere to stop: `minutes` is how long one stays; `months` are its best ones, none if it is the same all year.

    `evening` places are best as the last stop, where one stays the night.
    """

    name: Name
    about: Name
    kind: str
    region: str
    town: Name
    point: Point
    indoor: bool
    minutes: int
    rank: int
    months: tuple[int, ...]
    closed_monday: bool
    evening: bool


HOME = Point(30.272, 120.160)
HOME_NAME = Name("杭州市区", "Hangzhou city")
CITY_REGION = "city"
CITIES = {
    "杭州",
    "嘉兴",
    "湖州",
    "绍兴",
    "hangzhou",
    "jiaxing",
    "huzhou",
    "shaoxing",
}  # the cities that the places belong to


@cache
def _data() -> Any:
    return json.loads(Path(__file__).with_name("places.json").read_text("utf-8"))


@cache
def regions() -> dict[str, Name]:
    return {key: Name(**names) for key, names in _data()["regions"].items()}


@cache
def places() -> tuple[Place, ...]:
    towns = {key: Name(**names) for key, names in _data()["towns"].items()}
    return tuple(
        Place(
            name=Name(entry["zh"], entry["en"]),
            about=Name(entry["about_zh"], entry["about_en"]),
            kind=entry["kind"],
            region=entry["region"],
            town=towns[entry["town"]],
            point=Point(entry["lat"], entry["lon"]),
            indoor=entry["indoor"],
            minutes=entry["minutes"],
            rank=entry["rank"],
            months=tuple(entry["months"]),
            closed_monday=entry["closed_monday"],
            evening=entry["evening"],
        )
        for entry in _data()["places"]
    )


def great_circle(start: Point, end: Point) -> float:
    """Kilometres between two points of the globe (haversine formula)."""
    lat1, lon1, lat2, lon2 = map(radians, (start.lat, start.lon, end.lat, end.lon))
    half = sin((lat2 - lat1) / 2) ** 2 + cos(lat1) * cos(lat2) * sin((lon2 - lon1) / 2) ** 2
    return 2 * _EARTH * asin(sqrt(half))


@lru_cache(maxsize=10_000)
def drive(start: Point, end: Point) -> Leg:
    """The estimated drive between two points."""
    km = left = great_circle(start, end) * DETOUR
    minutes = float(_PARKING)
    for length, speed in _SPEEDS:
        minutes += 60 * min(left, length) / speed
        left = max(0.0, left - length)
    return Leg(max(1, round(km)), 5 * max(1, round(minutes / 5)))


def centre(group: list[Place]) -> Point:
    """The mean of their coordinates."""
    return Point(sum(p.point.lat for p in group) / len(group), sum(p.point.lon for p in group) / len(group))
