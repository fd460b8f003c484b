"""The itinerary as markdown: dates and totals, day by day, what to take, and where the numbers come from."""

from collections.abc import Iterable, Sequence
from itertools import groupby

from .forecast import Forecast
from .itinerary import MAX_DRIVE, DayPlan, Visit
from .outlook import Calendar, Outlook
from .phrases import KINDS, REASONS, date_range, duration, leg, say, short_date
from .places import DETOUR, HOME_NAME, Leg, places, regions
from .wishes import Wishes

_SLOW = 240  # minutes of driving and visits below which a wet day is called a slow one
_HILLS = {"mountain", "forest", "valley", "waterfall"}
_BOATS = {"lake", "river", "wetland"}


def weather_line(outlook: Outlook, chinese: bool) -> str:
    """The day's weather in a line, with the forecast's own words if they are in the language of the guide."""
    day = outlook.weather
    if day is None:
        return say("weather unknown", chinese)
    values = say("weather values", chinese, day.low, day.high, day.rain_chance)
    values += say("normal", chinese) if day.normal else ""
    ours = day.condition and day.condition.isascii() != chinese
    return f"{day.condition}{'，' if chinese else ', '}{values}" if ours else values


def why(visit: Visit, chinese: bool) -> str:
    """What the place is, and why it is in the plan that day."""
    reasons = [REASONS[reason](chinese) for reason in visit.reasons]
    if not reasons:
        return visit.place.about(chinese)
    return visit.place.about(chinese) + (f"（{'、'.join(reasons)}）" if chinese else f" ({', '.join(reasons)})")


def write(calendar: Calendar, plans: Sequence[DayPlan], forecast: Forecast, wishes: Wishes, chinese: bool) -> str:
    """The guide to an itinerary from `plan_trip`."""
    total = Leg(sum(plan.driving.km for plan in plans), sum(plan.driving.minutes for plan in plans))
    names = [
        HOME_NAME(chinese),
        *(regions()[plan.region](chinese) for plan in plans if plan.visits),
        HOME_NAME(chinese),
    ]
    stations = [name for name, _ in groupby(names)]
    head = [
        say("title around" if wishes.around else "title", chinese, len(plans)),
        "",
        say("dates", chinese, _dates(calendar, chinese)),
        say("route", chinese, " → ".join(stations)),
        say("total", chinese, leg(total, chinese)),
        *_remarks(calendar, forecast, chinese),
        *_left_out(plans, wishes, chinese),
    ]
    days = [_day(number, plan, chinese) for number, plan in enumerate(plans, start=1)]
    about = [say("about", chinese), *provenance(forecast, chinese, places=True)[1:]]
    return "\n\n".join(map("\n".join, [head, *days, _tips(plans, chinese), about]))


def provenance(forecast: Forecast, chinese: bool, *, places: bool) -> list[str]:
    """Where the weather is from and, for a trip with `places`, what of it is estimated."""
    known = bool(forecast.days and forecast.source)
    lines = [say("source", chinese, forecast.source) if known else say("no source", chinese)]
    return [*lines, say("estimates", chinese, DETOUR)] if places else lines


def write_outline(calendar: Calendar, forecast: Forecast, chinese: bool) -> str:
    """What can honestly be said about a trip to where no places are known: its days and their weather."""
    count, city = len(calendar.days), forecast.city
    head = [
        say("title elsewhere", chinese, city, count) if city else say("title nowhere", chinese, count),
        "",
        say("elsewhere", chinese, city) if city else say("nowhere", chinese),
        "",
        say("dates", chinese, _dates(calendar, chinese)),
        *_remarks(calendar, forecast, chinese),
    ]
    days = [
        [
            say("day elsewhere", chinese, number, short_date(day.date, chinese)),
            say("weather", chinese, weather_line(day, chinese)),
            "",
            say("in" if day.wet else "early" if day.hot else "either" if day.unsure else "out", chinese),
        ]
        for number, day in enumerate(calendar.days, start=1)
    ]
    tips = [
        say("tips", chinese),
        *_weather_tips(calendar.days, chinese),
        say("limits", chinese, duration(MAX_DRIVE, chinese)),
    ]
    return "\n\n".join(map("\n".join, [head, *days, tips]))


def _day(number: int, plan: DayPlan, chinese: bool) -> list[str]:
    day = plan.outlook
    lines = [
        say("day", chinese, number, short_date(day.date, chinese), regions()[plan.region](chinese)),
        say("weather", chinese, weather_line(day, chinese)),
        "",
        *(_stop(number, visit, chinese) for number, visit in enumerate(plan.visits, start=1)),
    ]
    if not plan.visits:
        lines.append(say("only home" if plan.back else "free", chinese))
    lines += _rain(plan, chinese)
    if plan.back:
        lines.append(say("back", chinese, leg(plan.back, chinese)))
    if plan.overnight:
        lines.append(say("overnight", chinese, plan.overnight(chinese)))
    return lines


def _stop(number: int, visit: Visit, chinese: bool) -> str:
    place = visit.place
    way = say("on foot", chinese) if visit.leg.km <= 1 else say("by car", chinese, leg(visit.leg, chinese))
    kind, stay = KINDS[place.kind](chinese), duration(place.minutes, chinese)
    return say("stop", chinese, number, way, place.name(chinese), stay, kind.capitalize(), why(visit, chinese))


def _rain(plan: DayPlan, chinese: bool) -> list[str]:
    """What to do in the rain, on a day that may bring some."""
    day, stops = plan.outlook, [visit.place for visit in plan.visits]
    inside = [place for place in stops if place.indoor]
    if not stops or not (day.wet or day.unsure):
        return []
    if plan.spare:
        place, near, drive = plan.spare
        phrase = "spare wet" if day.wet else "spare"
        return [say(phrase, chinese, place.name(chinese), near.name(chinese), leg(drive, chinese))]
    if day.wet:
        busy = sum(visit.place.minutes + visit.leg.minutes for visit in plan.visits)
        return [say("slow", chinese)] if busy < _SLOW else []
    if len(inside) == len(stops):
        return [say("under a roof", chinese)]
    return [say("linger", chinese, inside[0].name(chinese)) if inside else say("no spare", chinese)]


def _tips(plans: Sequence[DayPlan], chinese: bool) -> list[str]:
    stops = [visit.place for plan in plans for visit in plan.visits]
    stops += [plan.spare[0] for plan in plans if plan.spare]
    kinds = {place.kind for place in stops}
    tips = [
        (bool(kinds & _HILLS), say("mountain", chinese)),
        (bool(kinds & _BOATS), say("boat", chinese)),
        (any(place.closed_monday for place in stops), say("museum", chinese)),
        (True, say("driving", chinese, duration(MAX_DRIVE, chinese))),
    ]
    weather = _weather_tips((plan.outlook for plan in plans), chinese)
    return [say("tips", chinese), *weather, *(tip for holds, tip in tips if holds)]


def _weather_tips(days: Iterable[Outlook], chinese: bool) -> list[str]:
    """Clothes, umbrella, ice and heat, from the coldest, warmest and wettest values of the days."""
    known = [day.weather for day in days if day.weather]
    if not known:
        return []
    low, high, rain = (
        min(day.low for day in known),
        max(day.high for day in known),
        max(day.rain_chance for day in known),
    )
    clothes = "cold" if high < 12 else "cool" if high < 20 else "mild" if high < 27 else "warm"
    tips = [
        (True, say(f"clothes {clothes}", chinese, low, high)),
        (rain >= 30, say("rain gear", chinese, rain)),
        (low < 0, say("ice", chinese)),
        (high >= 33, say("heat", chinese)),
    ]
    return [tip for holds, tip in tips if holds]


def _left_out(plans: Sequence[DayPlan], wishes: Wishes, chinese: bool) -> list[str]:
    """The places that were asked for and did not fit."""
    planned = {visit.place.name.zh for plan in plans for visit in plan.visits}
    missing = [place.name(chinese) for place in places() if place.name.zh in wishes.wanted - planned]
    return [say("left out", chinese, ("、" if chinese else ", ").join(missing))] if missing else []


def _dates(calendar: Calendar, chinese: bool) -> str:
    return date_range(calendar.days[0].date, calendar.days[-1].date, chinese)


def _remarks(calendar: Calendar, forecast: Forecast, chinese: bool) -> list[str]:
    """Where the weather is from, what was assumed, and what was left out."""
    lines = provenance(forecast, chinese, places=False)
    if forecast.note:
        lines.append(say("note", chinese, forecast.note))
    if calendar.assumed:
        lines.append(say("assumed", chinese, _dates(calendar, chinese)))
    if calendar.cut:
        lines.append(say("cut", chinese, len(calendar.days), calendar.cut))
    return lines
