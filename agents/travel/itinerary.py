"""The itinerary: which region on which day, and which places there. Deterministic; exact over few choices.

Regions are chosen for all days at once (dynamic programming over the set of regions used), so that the trip is one loop
from Hangzhou back to Hangzhou with little driving, and a day's weather decides what a region is worth on it. Then each
day's stops are chosen among all orders of up to three places of its region, within the hours and the driving of one
day. No place comes twice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import permutations
from operator import mul

from .outlook import Outlook
from .places import CITY_REGION, HOME, HOME_NAME, Leg, Name, Place, Point, centre, drive, places, regions
from .wishes import Wishes

MAX_DRIVE = 240  # minutes at the wheel in one day
MAX_DAY = 510  # minutes of driving and visits: half past eight to six, with an hour for lunch
_MAX_STOPS = 3
_LAP = 6  # days after which the trip passes through Hangzhou again
_SPARE_DRIVE = 45  # minutes to a place kept in reserve, at most
_PER_MINUTE = 0.013  # what a minute at the wheel takes from the worth of a day, twice that in the rain …
_TIRING = 150  # … or between regions after so many minutes
_WEIGHTS = (1.0, 0.7, 0.4)  # what the best, the second and the third stop of a day count
_WANTED = 12.0
_WANTED_REGION = 3.0
_EVENING = 0.7
_OPEN_AIR = {"mountain", "forest", "valley", "waterfall", "viewpoint", "village", "lake", "river", "wetland", "ruins"}
_COOL = {"mountain", "forest", "valley", "waterfall", "cave"}


@dataclass(frozen=True)
class Visit:
    """A stop, the drive to it, and why it is in the plan: keys for the guide to word."""

    place: Place
    leg: Leg
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class DayPlan:
    """One day: stops in order; `back` is the drive home, on the last day of a loop; `spare`: an indoor place for rain.

    `spare` holds that place, the stop it is nearest to, and the drive between them.
    """

    outlook: Outlook
    region: str
    visits: tuple[Visit, ...]
    overnight: Name | None
    back: Leg | None
    spare: tuple[Place, Place, Leg] | None = None

    @property
    def driving(self) -> Leg:
        legs = [visit.leg for visit in self.visits] + ([self.back] if self.back else [])
        return Leg(sum(leg.km for leg in legs), sum(leg.minutes for leg in legs))


def plan_trip(days: Sequence[Outlook], wishes: Wishes) -> list[DayPlan]:
    """One plan per day, in loops of up to six days from Hangzhou; days for which no place is left have no visits."""
    plans: list[DayPlan] = []
    used: set[str] = set()
    while rest := days[len(plans) :]:
        groups = _groups(rest, used, wishes)
        if not groups:
            plans.extend(DayPlan(day, CITY_REGION, (), HOME_NAME, None) for day in rest)
            break
        loops = -(-len(rest) // min(_LAP, len(groups)))
        loop = _loop(rest[: -(-len(rest) // loops)], groups, wishes)
        used.update(visit.place.name.zh for plan in loop for visit in plan.visits)
        plans.extend(loop)
    return _with_spares(plans, wishes)


def appeal(place: Place, outlook: Outlook, wishes: Wishes) -> float:
    """What a place is worth on a day: its rank (one of 5 is worth four of 3), then season, weather and wishes."""
    worth = place.rank**3 / 25 + wishes.likes.get(place.kind, 0.0) + _WANTED * (place.name.zh in wishes.wanted)
    worth += _WANTED_REGION * (place.region in wishes.regions)
    if place.months:
        worth += 1.0 if outlook.date.month in place.months else -1.0
    if outlook.wet:
        worth += 2.0 if place.indoor else -5.0 if place.kind in _OPEN_AIR else -1.5
    if outlook.hot:
        worth += 1.0 if place.indoor or place.kind in _COOL else -1.0
    if outlook.cold:
        worth += 1.0 if place.indoor else -2.0 if place.kind == "mountain" else 0.0
    return worth


def _groups(days: Sequence[Outlook], used: set[str], wishes: Wishes) -> dict[str, list[Place]]:
    """The places still to be had, by region; a request about what is around Hangzhou gets the city on wet days only."""
    left = [place for place in places() if place.name.zh not in used | wishes.unwanted]
    groups = {region: [place for place in left if place.region == region] for region in regions()}
    in_city = any(day.wet for day in days) or any(place.name.zh in wishes.wanted for place in groups[CITY_REGION])
    if wishes.around and not in_city:
        del groups[CITY_REGION]
    return {region: group for region, group in groups.items() if group}


def _loop(days: Sequence[Outlook], groups: dict[str, list[Place]], wishes: Wishes) -> list[DayPlan]:
    """One round trip from Hangzhou, a region each day."""
    order = _order(days, groups, wishes)
    plans: list[DayPlan] = []
    at, town = HOME, HOME_NAME
    for number, (day, region) in enumerate(zip(days, order, strict=True)):
        home = number == len(days) - 1
        goal = HOME if home else centre(groups[order[number + 1]])
        visits = []
        stops = _stops(at, groups[region], day, wishes, goal, home=home)
        for place in stops:
            stays = place is stops[-1] and not home
            visits.append(Visit(place, drive(at, place.point), _reasons(place, day, wishes, stays=stays)))
            at, town = place.point, place.town
        plans.append(
            DayPlan(
                day, region, tuple(visits), None if home else town, drive(at, HOME) if home and at != HOME else None
            )
        )
    return plans


def _order(days: Sequence[Outlook], groups: dict[str, list[Place]], wishes: Wishes) -> tuple[str, ...]:
    """The region of each day: the greatest worth of the days less the driving between them, over all orders."""
    points = {region: centre(group) for region, group in groups.items()}

    @cache
    def worth(region: str, number: int) -> float:
        at, day, home = points[region], days[number], number == len(days) - 1
        return _worth(_stops(at, groups[region], day, wishes, at, home=home), at, day, wishes, at, home=home)

    @cache
    def best(number: int, at: Point, used: frozenset[str]) -> tuple[float, tuple[str, ...]]:
        if number == len(days):
            return 0.0, ()
        choices = []
        for region in (region for region in groups if region not in used):
            minutes = drive(at, points[region]).minutes
            if number == len(days) - 1:
                minutes += drive(points[region], HOME).minutes
            later, regions_later = best(number + 1, points[region], used | {region})
            too_far = 100.0 * (minutes > MAX_DRIVE - 30)
            cost = _cost(days[number]) * (minutes + max(0, minutes - _TIRING))
            choices.append((worth(region, number) - cost - too_far + later, (region, *regions_later)))
        return max(choices, key=lambda choice: choice[0])

    return best(0, HOME, frozenset())[1]


def _stops(
    at: Point, group: list[Place], day: Outlook, wishes: Wishes, goal: Point, *, home: bool
) -> tuple[Place, ...]:
    """The best sequence of up to three places that fits into the day; with `home`, the drive to `goal` fits too."""
    options = sorted((place for place in group if _open(place, day)), key=lambda place: -appeal(place, day, wishes))[:7]
    best: tuple[Place, ...] = ()
    best_worth = _worth(best, at, day, wishes, goal, home=home)
    for count in range(1, _MAX_STOPS + 1):
        for stops in permutations(options, count):
            minutes = _driving(at, stops, goal if home else None)
            if minutes > MAX_DRIVE or minutes + sum(place.minutes for place in stops) > MAX_DAY:
                continue
            worth = _worth(stops, at, day, wishes, goal, home=home)
            if worth > best_worth:
                best, best_worth = stops, worth
    return best


def _open(place: Place, day: Outlook) -> bool:
    return not (place.closed_monday and day.date.weekday() == 0)


def _worth(stops: Sequence[Place], at: Point, day: Outlook, wishes: Wishes, goal: Point, *, home: bool) -> float:
    """What a sequence of stops is worth: each place less than a better one, less the driving, less if two are alike.

    A place that is best in the evening counts more as the last stop of a day that does not end at home.
    """
    alike = len(stops) - len({place.kind for place in stops})
    worths = sorted((appeal(place, day, wishes) for place in stops), reverse=True)
    evening = _EVENING if stops and stops[-1].evening and not home else 0.0
    return sum(map(mul, worths, _WEIGHTS), evening) - alike - _cost(day) * _driving(at, stops, goal)


def _cost(day: Outlook) -> float:
    return _PER_MINUTE * (2 if day.wet else 1)


def _driving(at: Point, stops: Iterable[Place], goal: Point | None) -> int:
    minutes = 0
    for place in stops:
        minutes += drive(at, place.point).minutes
        at = place.point
    return minutes + (drive(at, goal).minutes if goal else 0)


def _reasons(place: Place, day: Outlook, wishes: Wishes, *, stays: bool) -> tuple[str, ...]:
    reasons = {
        "wanted": place.name.zh in wishes.wanted,
        "evening": stays and place.evening,
        "liked": wishes.likes.get(place.kind, 0.0) > 0,
        "season": day.date.month in place.months,
        "dry": day.wet and place.indoor,
        "cool": day.hot and place.kind in _COOL,
        "warm": day.cold and place.indoor,
    }
    return tuple(reason for reason, holds in reasons.items() if holds)


def _with_spares(plans: list[DayPlan], wishes: Wishes) -> list[DayPlan]:
    """The plans with an indoor place for each day that may bring rain; none of them twice, none already planned."""
    taken = {visit.place.name.zh for plan in plans for visit in plan.visits} | wishes.unwanted
    result = []
    for plan in plans:
        day = plan.outlook
        outside = [visit.place for visit in plan.visits if not visit.place.indoor]
        spare = None
        if outside and (day.wet or day.unsure):
            free = [place for place in places() if place.indoor and place.name.zh not in taken and _open(place, day)]
            near = [(place, stop, drive(stop.point, place.point)) for place in free for stop in outside]
            spare = min(near, key=lambda option: option[2].minutes, default=None)
            spare = spare if spare and spare[2].minutes <= _SPARE_DRIVE else None
            taken |= {spare[0].name.zh} if spare else set()
        result.append(replace(plan, spare=spare))
    return result
