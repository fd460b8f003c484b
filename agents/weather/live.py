"""The live source: Open-Meteo, if it may be asked and answers in time."""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from time import monotonic
from urllib.parse import urlsplit

from agentmesh import ConfigError

from .climate import City
from .open_meteo import (
    DAYS,
    FORECAST_URL,
    GEOCODING_URL,
    Sky,
    Spot,
    forecast_url,
    geocoding_url,
    read_forecast,
    read_spot,
)
from .report import Question
from .web import Unavailable, get_json

MODES = ("auto", "climate", "open-meteo")
AWAY = 300.0  # seconds without another try, after one that failed


@dataclass(frozen=True)
class Patience:
    """Seconds until a connection must stand, and for all that is asked for one report."""

    connect: float
    total: float


_PATIENCE = {"auto": Patience(0.8, 3.0), "open-meteo": Patience(5.0, 15.0)}


@dataclass(frozen=True)
class Found:
    """What came of asking. `spot` is the place of a name that the climate normals do not have; `failure` is for the
    user, where they wanted Open-Meteo and nothing else."""

    spot: Spot | None = None
    skies: Mapping[date, Sky] = field(default_factory=dict)
    failure: str = ""


class Live:
    """Open-Meteo as an agent uses it; the arguments default to the environment.

    `mode` (WEATHER_SOURCE) is `auto`: ask, and after a failure not again for five minutes, so that whoever is offline
    waits once and briefly; `climate`: never ask; `open-meteo`: ask every time, patiently, and tell of a failure.
    `url` and `geocoding_url` are OPEN_METEO_URL and OPEN_METEO_GEOCODING_URL. Raises `ConfigError`.
    """

    def __init__(
        self,
        mode: str | None = None,
        url: str | None = None,
        geocoding_url: str | None = None,
        *,
        patience: Patience | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.mode = mode or os.environ.get("WEATHER_SOURCE") or MODES[0]
        if self.mode not in MODES:
            raise ConfigError(f"WEATHER_SOURCE is {self.mode!r}; it can be {', '.join(MODES)}.")
        self._url = _address("OPEN_METEO_URL", url, FORECAST_URL)
        self._geocoding_url = _address("OPEN_METEO_GEOCODING_URL", geocoding_url, GEOCODING_URL)
        self._patience = patience or _PATIENCE.get(self.mode, _PATIENCE["auto"])
        self._clock = clock
        self._away_until = float("-inf")

    async def look(self, question: Question, today: date) -> Found:
        """What it says of the place that is asked about; nothing where it is not asked or does not answer."""
        if self.mode == "climate" or self._clock() < self._away_until or not _can_help(question, today):
            return Found()
        try:
            async with asyncio.timeout(self._patience.total):
                return await self._ask(question)
        except (Unavailable, TimeoutError) as error:
            if self.mode == "auto":
                self._away_until = self._clock() + AWAY
                return Found()
            return Found(failure=str(error) or "no answer in time")

    async def _ask(self, question: Question) -> Found:
        patience, spot = self._patience, None
        place: City | Spot | None = question.city
        if place is None:
            url = geocoding_url(self._geocoding_url, question.unknown, question.chinese)
            found = await get_json(url, connect=patience.connect, total=patience.total)
            place = spot = read_spot(found, question.unknown, exact=question.guessed)
        if place is None:
            return Found()
        url = forecast_url(self._url, place.latitude, place.longitude)
        return Found(spot, read_forecast(await get_json(url, connect=patience.connect, total=patience.total)))


def _can_help(question: Question, today: date) -> bool:
    """Whether there is a place to look up, or one whose forecast reaches the days that are asked about."""
    if question.unknown:
        return True
    return question.city is not None and question.start is not None and question.start < today + timedelta(days=DAYS)


def _address(name: str, given: str | None, default: str) -> str:
    url = given or os.environ.get(name) or default
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fits = False
    if not fits:
        raise ConfigError(f"{name} is {url!r}; it has to be an http or https address such as {default}.")
    return url
