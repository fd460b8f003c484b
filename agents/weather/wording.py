"""What the weather agent says, in Chinese and in English."""

import re
from collections.abc import Iterable, Set
from datetime import date

from .forecast import Day, Forecast
from .open_meteo import DAYS

_WEEKDAYS = ("周一", "周二", "周三", "周四", "周五", "周六", "周日")
_RAIN = ((15, "少雨", "as a rule dry"), (30, "多半无雨", "mostly dry"), (45, "有时有雨", "some rain possible"))
_SNOW = ((15, "干冷", "cold and dry"), (30, "多半无雪", "mostly dry"), (45, "有时有雪", "some snow possible"))


def is_chinese(text: str) -> bool:
    """Whether `text` has a Chinese character: then it is answered in Chinese, else in English."""
    return re.search(r"[\u3400-\u9fff]", text) is not None


def weekday(day: date, chinese: bool) -> str:
    return _WEEKDAYS[day.weekday()] if chinese else f"{day:%a}"


def date_range(start: date, end: date, chinese: bool) -> str:
    """Both days with their weekdays and years; a year that both share is said once."""
    if chinese:
        first, last = (f"{day.month}月{day.day}日（{weekday(day, True)}）" for day in (start, end))
        year = "" if start.year == end.year else f"{end.year}年"
        return f"{start.year}年{first}" + (f"至{year}{last}" if start != end else "")
    first, last = (f"{day:%a} {day.day} {day:%B}" for day in (start, end))
    year = "" if start.year == end.year else f" {start.year}"
    return (f"{first}{year} to {last}" if start != end else first) + f" {end.year}"


def condition(rain_chance: int, high: int, chinese: bool) -> str:
    """What the chance of rain (of snow, where it does not get warmer than 1 °C) amounts to."""
    often = ("多雪", "often snow") if high <= 1 else ("多雨", "often rain")
    steps = _SNOW if high <= 1 else _RAIN
    han, english = next(((zh, en) for most, zh, en in steps if rain_chance < most), often)
    return han if chinese else english


def advice(low: int, high: int, rain_chance: int, chinese: bool) -> str:
    """What to be ready for on such a day; empty if nothing is out of the ordinary."""
    hints = (
        (rain_chance >= 30 and high > 1, "带伞", "take an umbrella"),
        (high >= 33, "午间避暑，多喝水", "avoid the midday heat"),
        (low <= 0, "防冻防滑", "mind frost and ice"),
        (0 < low <= 7, "早晚较冷，穿厚外套", "cold mornings, take a warm coat"),
        (high - low >= 12, "昼夜温差大", "nights are much colder than days"),
    )
    said = [han if chinese else english for holds, han, english in hints if holds]
    return ("，" if chinese else ", ").join(said)


def source(normal: Set[bool], chinese: bool) -> str:
    """Where the values come from: of days that are `normal` (True), forecast (False), or both."""
    live = (
        "Open-Meteo 天气预报（open-meteo.com，CC BY 4.0）",
        "weather forecast by Open-Meteo (open-meteo.com, CC BY 4.0)",
    )
    bundled = (
        "内置的逐月气候平均值（历年同期的近似平均），不是气象台的实时预报",
        "bundled monthly climate normals (approximate long-term averages), not a forecast from a weather station",
    )
    mixed = f"{live[0]}；标“常年值”的日子用{bundled[0]}", f"{live[1]}; days marked “climate normal”: {bundled[1]}"
    han, english = mixed if len(normal) > 1 else live if False in normal else bundled
    return han if chinese else english


def no_live(reason: str, chinese: bool) -> str:
    """Why there is no live forecast, for those who asked for nothing else."""
    if chinese:
        return f"没有拿到 Open-Meteo 的预报（{reason}）。"
    return f"There is no forecast from Open-Meteo ({reason})."


def found_spot(name: str, region: str, chinese: bool) -> str:
    """Which of the world's places of that name this is."""
    if chinese:
        return (
            f"按 Open-Meteo 查到的{name}（{region.replace(', ', '，')}）。"
            if region
            else f"按 Open-Meteo 查到的{name}。"
        )
    return f"The place, as Open-Meteo found it: {name}{f' ({region})' if region else ''}."


def no_normals(city: str, chinese: bool) -> str:
    """That the days beyond the forecast are left out."""
    if chinese:
        return f"{city}只有 Open-Meteo 预报所及的 {DAYS} 天以内有数据，其余日子没有。"
    return f"For {city} there is only what Open-Meteo forecasts, {DAYS} days ahead at most; other days are left out."


def unknown_city(city: str, names: Iterable[str], total: int, chinese: bool) -> str:
    """That the city is not known, or that none was named, and which ones are."""
    if chinese:
        what = f"我没有“{city}”的气候数据" if city else "没有认出是哪个城市，请告诉我城市名"
        return f"{what}。我知道 {total} 个城市，例如：{'、'.join(names)}。"
    what = f"I have no climate data for “{city}”" if city else "I did not recognise a city: please name one"
    return f"{what}. I know {total} cities, such as {', '.join(names)}."


def assumed_dates(start: date, end: date, chinese: bool) -> str:
    count = (end - start).days + 1
    if chinese:
        return f"没有说从哪天开始，这里按明天起 {count} 天。"
    return f"No starting day was given, so this is for {count} day{'s' * (count > 1)} from tomorrow."


def stands_for(word: str, city: str, chinese: bool) -> str:
    return f"“{word}”按{city}的数据。" if chinese else f"“{word}” is taken as {city}."


def only_one_city(city: str, others: Iterable[str], chinese: bool) -> str:
    if chinese:
        return f"一次只答一个城市，这里是{city}；{'、'.join(others)}请另问。"
    return f"One city at a time: this is {city}; ask again for {', '.join(others)}."


def day_line(day: Day, chinese: bool) -> str:
    if chinese:
        tail = ("，常年值" if day.normal else "") + (f"；{day.advice}" if day.advice else "")
        when = f"{day.date.month}月{day.date.day}日 {day.weekday}"
        return f"- {when}：{day.condition}，{day.low}～{day.high}℃，降雨概率 {day.rain_chance}%{tail}"
    tail = (", climate normal" if day.normal else "") + (f"; {day.advice}" if day.advice else "")
    when = f"{day.weekday} {day.date.day} {day.date:%b}"
    return f"- {when}: {day.condition}, {day.low} to {day.high} °C, {day.rain_chance}% chance of rain{tail}"


def report(forecast: Forecast, chinese: bool) -> str:
    """The forecast as text; without days, what is missing."""
    if not forecast.days:
        return forecast.note
    start, end = forecast.days[0].date, forecast.days[-1].date
    if chinese:
        head = f"{forecast.city}，{date_range(start, end, True)}："
        foot = f"数据来源：{forecast.source}。临近出发请再看实时预报。"
    else:
        head = f"{forecast.city}, {date_range(start, end, False)}:"
        foot = f"Source: {forecast.source}. Check a live forecast before you go."
    notes = [forecast.note] if forecast.note else []
    return "\n".join([*notes, head, *(day_line(day, chinese) for day in forecast.days), "", foot])
