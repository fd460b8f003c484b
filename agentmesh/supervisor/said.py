"""What a text says that may be an argument; whatever a parameter takes is gone for the next one."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol, TypeVar

from agentmesh.supervisor.dates import Days, Length, Time, days_in, lengths_in, times_in
from agentmesh.supervisor.numbers import Number, numbers_in
from agentmesh.supervisor.places import Place, Role, places_in

EMAIL = re.compile(r"[a-zA-Z0-9._%+-]+@[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+")
URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s，。；、“”\"'<>（）()]+", re.IGNORECASE)
QUOTED = re.compile(r"“([^”]+)”|「([^」]+)」|《([^》]+)》|\"([^\"]+)\"|(?<!\w)'([^']+)'(?!\w)")
LONGEST_READ = 4000
_TOKEN = re.compile(r"[^\s，。；、“”\"'（）()？！?!]{1,64}")
_LATIN = re.compile(r"[!-~]{1,64}")
_STILL_A_NUMBER = re.compile(
    r"\s*(?:天|晚|周|星期|个月|小时|分钟|点(?!\d)|days?\b|nights?\b|weeks?\b|months?\b)", re.IGNORECASE
)


_MEASURE = re.compile("[个位只张份件本条台辆间瓶箱盒杯]")


class _Spot(Protocol):
    @property
    def begin(self) -> int: ...
    @property
    def end(self) -> int: ...


_S = TypeVar("_S", bound=_Spot)


class Said:
    """The dates, times, numbers, places, addresses and quotations of a text, read at `now`, in local time."""

    def __init__(self, text: str, now: datetime) -> None:
        self.text = text
        self.now = now
        self._read = text[:LONGEST_READ]
        self._day: Days | None = None

    @cached_property
    def urls(self) -> list[str]:
        return [match[0].rstrip(".,;:!?") for match in URL.finditer(self._read)]

    @cached_property
    def emails(self) -> list[str]:
        return EMAIL.findall(self._read)

    @cached_property
    def quotes(self) -> list[str]:
        return [next(filter(None, match.groups())) for match in QUOTED.finditer(self._read)]

    @cached_property
    def _addresses(self) -> list[tuple[int, int]]:
        return [match.span() for pattern in (URL, EMAIL) for match in pattern.finditer(self._read)]

    @cached_property
    def days(self) -> list[Days]:
        return self._outside(days_in(self._read, self.now.date()), self._addresses)

    @cached_property
    def times(self) -> list[Time]:
        return self._outside(times_in(self._read), self._addresses)

    @cached_property
    def lengths(self) -> list[Length]:
        return self._outside(lengths_in(self._read), [(day.begin, day.end) for day in self.days])

    @cached_property
    def places(self) -> list[Place]:
        return self._outside(places_in(self._read), self._addresses)

    @cached_property
    def numbers(self) -> list[Number]:
        when = [(one.begin, one.end) for one in self.days] + [(one.begin, one.end) for one in self.times]
        return [
            one
            for one in self._outside(numbers_in(self._read), self._addresses)
            if _STILL_A_NUMBER.match(self._read, one.end) or not _overlaps(one, when)
        ]

    def tokens(self) -> list[str]:
        """Words between spaces and punctuation, Latin ones in Chinese too, and times as HH:MM."""
        words = [word.strip(".,;:") for pattern in (_TOKEN, _LATIN) for word in pattern.findall(self._read)]
        return [*words, *(f"{one.time:%H:%M}" for one in self.times)]

    def around(self, number: Number) -> tuple[str, str]:
        """The text before a number, back to the one before it, and after it, up to the next."""
        others = numbers_in(self._read)
        begin = max([other.end for other in others if other.end <= number.begin], default=0)
        end = min([other.begin for other in others if other.begin >= number.end], default=len(self._read))
        said = self._read[number.begin : number.end]
        return self._read[max(begin, number.begin - 16) : number.begin], said + self._read[number.end : end][:16]

    def day(self, *, last: bool) -> date | None:
        """The next day that is named; `last`: the end of what the one before began, or its length after it."""
        if not last:
            self._day = self.days.pop(0) if self.days else None
            return self._day.first if self._day else None
        begun = self._day
        if begun and begun.last > begun.first:
            return begun.last
        if begun and self.lengths:
            return begun.first + timedelta(days=self.lengths.pop(0).days)
        self._day = self.days.pop(0) if self.days else None
        return self._day.last if self._day else None

    def moment(self) -> datetime | None:
        """The next time of day that is named, on the day that is; without a day, when it comes next."""
        if not self.times:
            return None
        clock = self.times.pop(0).time
        begun = self._day
        day = self.day(last=False)
        if day is None and begun:
            self._day, day = begun, begun.first
        if day is None:
            day = self.now.date() + timedelta(days=clock <= self.now.time())
        return datetime.combine(day, clock).astimezone()

    def place(self, roles: Sequence[Role]) -> str | None:
        """The next place of the first of these roles that any has."""
        for role in roles:
            for place in self.places:
                if place.role == role:
                    self.places.remove(place)
                    return place.name
        return None

    def _outside(self, found: Iterable[_S], spans: Sequence[tuple[int, int]]) -> list[_S]:
        return [one for one in found if not _overlaps(one, spans)]


def _overlaps(spot: _Spot, spans: Sequence[tuple[int, int]]) -> bool:
    return any(spot.begin < end and begin < spot.end for begin, end in spans)


def without_arguments(text: str) -> str:
    """The text without what is an argument rather than a wish: addresses, quotations, days, times, numbers, places."""
    said = Said(text, datetime(2000, 1, 3, tzinfo=UTC))
    numbers = [number for number in said.numbers if not number.vague]
    spots: list[Any] = [*said.days, *said.times, *said.lengths, *numbers, *said.places]
    spans = [(one.begin, one.end) for one in spots]
    spans += [match.span() for number in numbers if (match := _MEASURE.match(text, number.end))]
    spans += [match.span() for pattern in (URL, EMAIL, QUOTED) for match in pattern.finditer(text[:LONGEST_READ])]
    kept, at = [], 0
    for begin, end in sorted(spans):
        if begin >= at:
            kept.append(text[at:begin])
        at = max(at, end)
    return " ".join([*kept, text[at:LONGEST_READ]]).strip()
