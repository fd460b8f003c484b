"""Arguments from a text: by type, in Chinese and English, relative to a day that is passed in."""

from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planner_cards import takes

from agentmesh.supervisor.arguments import fill
from agentmesh.supervisor.dates import days_in, lengths_in, times_in
from agentmesh.supervisor.numbers import han_number, numbers_in
from agentmesh.supervisor.places import places_in
from agentmesh.supervisor.said import without_arguments

MONDAY = date(2026, 11, 16)
NOW = datetime(2026, 11, 16, 10).astimezone()
DATE = {"type": "string", "format": "date"}
MOMENT = {"type": "string", "format": "date-time"}


def at(text: str) -> str:
    """A moment in the machine's time zone."""
    return datetime.fromisoformat(text).astimezone().isoformat()


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("明天", "11-17", "11-17"),
        ("大后天", "11-19", "11-19"),
        ("下周三", "11-25", "11-25"),
        ("下周三到下周日", "11-25", "11-29"),
        ("周五", "11-20", "11-20"),
        ("上周五", "11-13", "11-13"),
        ("这周末", "11-21", "11-22"),
        ("看一下周末", "11-21", "11-22"),
        ("上个月", "10-01", "10-31"),
        ("三天后", "11-19", "11-19"),
        ("12月3日至5日", "12-03", "12-05"),
        ("15号", "12-15", "12-15"),
        ("2026年12月1日", "12-01", "12-01"),
        ("周六到下周二", "11-21", "11-24"),
        ("tomorrow", "11-17", "11-17"),
        ("the day after tomorrow", "11-18", "11-18"),
        ("next Friday", "11-27", "11-27"),
        ("this Friday", "11-20", "11-20"),
        ("last Friday", "11-13", "11-13"),
        ("from 3 to 5 December", "12-03", "12-05"),
        ("Dec 3-5", "12-03", "12-05"),
        ("December 3rd, 2026", "12-03", "12-03"),
        ("from Thursday to Sunday", "11-19", "11-22"),
        ("next weekend", "11-28", "11-29"),
        ("last month", "10-01", "10-31"),
        ("in two weeks", "11-30", "11-30"),
        ("3 days ago", "11-13", "11-13"),
        ("2026-12-01", "12-01", "12-01"),
    ],
)
def test_days_are_read_from_the_day_that_is_passed_in(text: str, first: str, last: str) -> None:
    (days,) = days_in(text, MONDAY)
    assert (days.first, days.last) == (date.fromisoformat(f"2026-{first}"), date.fromisoformat(f"2026-{last}"))


def test_a_day_without_a_year_is_the_coming_one() -> None:
    (days,) = days_in("from 3 to 5 May", MONDAY)
    assert (days.first, days.last) == (date(2027, 5, 3), date(2027, 5, 5))


@pytest.mark.parametrize("text", ["Feb 30", "2026-13-01", "May I ask", "星期", "99号", "下"])
def test_what_is_no_day_is_none(text: str) -> None:
    assert days_in(text, MONDAY) == []


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("下午三点半", ["15:30"]),
        ("早上八点", ["08:00"]),
        ("晚上8点一刻", ["20:15"]),
        ("中午12点", ["12:00"]),
        ("at 3 pm", ["15:00"]),
        ("9:30 am to 5pm", ["09:30", "17:00"]),
        ("15:30", ["15:30"]),
        ("noon", ["12:00"]),
        ("25:00", []),
        ("三点五", ["03:05"]),
    ],
)
def test_times_are_read(text: str, times: list[str]) -> None:
    assert [f"{one.time:%H:%M}" for one in times_in(text)] == times


def test_lengths_count_nights_and_the_days_between() -> None:
    assert [one.days for one in lengths_in("三天，two nights, 1 week")] == [2, 2, 6]


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("三", 3),
        ("十二", 12),
        ("二十", 20),
        ("一百零五", 105),
        ("一百二十万", 1_200_000),
        ("两千三百", 2300),
        ("三点五", 3.5),
        ("二〇二六", 2026),
        ("一亿", 100_000_000),
    ],
)
def test_chinese_numerals_are_numbers(said: str, value: float) -> None:
    assert han_number(said) == value


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("百分之四十", [40]),
        ("3.5% of 1,200.50", [3.5, 1200.5]),
        ("2万和3k", [20_000, 3000]),
        ("two dozen and three hundred", [24, 300]),
        ("看一下，一起", []),
        ("version 2.4.1 on A4", []),
        ("-5 degrees", [-5]),
    ],
)
def test_numbers_are_read(text: str, values: list[float]) -> None:
    assert [one.value for one in numbers_in(text)] == values


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("从上海到南京的高铁", [("上海", "from"), ("南京", "to")]),
        ("上海到北京", [("上海", "from"), ("北京", "to")]),
        ("flights from New York to Paris", [("New York", "from"), ("Paris", "to")]),
        ("weather in Ouagadougou on Monday", [("Ouagadougou", "")]),
        ("weather in hangzhou", [("hangzhou", "")]),
        ("translate into Chinese", []),
    ],
)
def test_places_are_read_with_where_one_goes(text: str, places: list[tuple[str, str]]) -> None:
    assert [(one.name, one.role) for one in places_in(text)] == places


@pytest.mark.parametrize(
    ("schema", "text", "expected"),
    [
        (
            takes(start_date=DATE, end_date=DATE),
            "下周三到下周日",
            {"start_date": "2026-11-25", "end_date": "2026-11-29"},
        ),
        (takes(check_in=DATE, check_out=DATE), "明天起住三晚", {"check_in": "2026-11-17", "check_out": "2026-11-20"}),
        (takes("day", day=DATE, until=DATE), "tomorrow", {"day": "2026-11-17"}),
        (takes(start=MOMENT), "明天下午两点", {"start": at("2026-11-17T14:00")}),
        (takes(start=MOMENT), "at 3 pm", {"start": at("2026-11-16T15:00")}),
        (takes(start=MOMENT), "at 9 am", {"start": at("2026-11-17T09:00")}),
        (
            takes(start=MOMENT, end=MOMENT),
            "tomorrow from 3 pm to 4 pm",
            {"start": at("2026-11-17T15:00"), "end": at("2026-11-17T16:00")},
        ),
        (takes(guests="integer", nights="integer"), "3 nights for two guests", {"guests": 2, "nights": 3}),
        (
            takes(budget="number", people={"type": "integer", "description": "人数"}),
            "三个人，预算5000元",
            {"budget": 5000, "people": 3},
        ),
        (takes(count={"type": "integer", "maximum": 10}), "order 12 of them, no, 4", {"count": 4}),
        (takes(city="string", days="integer"), "杭州未来5天", {"city": "杭州", "days": 5}),
        (takes(origin="string", destination="string"), "从杭州去成都", {"origin": "杭州", "destination": "成都"}),
        (takes(to={"type": "string", "format": "email"}), "mail it to a.b@example.com.", {"to": "a.b@example.com"}),
        (
            takes(url={"type": "string", "format": "uri"}),
            "看 https://example.com/a?b=1，谢谢",
            {"url": "https://example.com/a?b=1"},
        ),
        (takes(mode={"enum": ["heat", "cool"], "description": "heat 制热, cool 制冷"}), "空调制冷", {"mode": "cool"}),
        (
            takes(mode={"oneOf": [{"const": "a", "title": "Slow 慢"}, {"const": "b", "title": "Fast 快"}]}),
            "a fast one",
            {"mode": "b"},
        ),
        (
            takes(rooms={"type": "array", "items": {"enum": ["hall", "study"]}}),
            "the study and the hall",
            {"rooms": ["study", "hall"]},
        ),
        (
            takes(attendees={"type": "array", "items": {"type": "string", "format": "email"}}),
            "a@x.org, b@x.org",
            {"attendees": ["a@x.org", "b@x.org"]},
        ),
        (takes(on="boolean"), "turn the light off", {"on": False}),
        (takes(on={"type": "boolean", "description": "是否打开"}), "打开灯", {"on": True}),
        (takes(breakfast="boolean"), "a room without breakfast", {"breakfast": False}),
        (takes(symbol={"type": "string", "pattern": "^[A-Z]{2,5}$"}), "price of AAPL?", {"symbol": "AAPL"}),
        (
            takes(text="string", language={"enum": ["en", "fr"], "description": "en 英文, fr 法文"}),
            "把“你好”翻译成法文",
            {"text": "你好", "language": "fr"},
        ),
        (
            takes(place={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
            "in Oslo",
            {"place": {"city": "Oslo"}},
        ),
    ],
)
def test_parameters_take_what_fits_their_type(schema: dict[str, Any], text: str, expected: dict[str, Any]) -> None:
    filled = fill(schema, text, NOW)
    assert filled.values == expected
    assert filled.missing == []


@pytest.mark.parametrize(
    "schema",
    [
        takes(day=DATE),
        takes(start=MOMENT),
        takes(city="string"),
        takes(to={"type": "string", "format": "email"}),
        takes(n="integer"),
        takes(on="boolean"),
        takes(mode={"enum": ["x1"]}),
        takes(a={"type": "string", "pattern": "^#"}),
    ],
)
def test_what_a_text_does_not_say_is_missing(schema: dict[str, Any]) -> None:
    filled = fill(schema, "please do it", NOW)
    assert (filled.values, filled.missing) == ({}, schema["required"])


def test_days_and_places_come_from_the_whole_goal_and_numbers_do_not() -> None:
    schema = takes(city="string", day=DATE, count="integer")
    filled = fill(schema, "看看天气", NOW, "明天去成都，两个人，看看天气")
    assert (filled.values, filled.missing) == ({"city": "成都", "day": "2026-11-17"}, ["count"])


def test_a_pattern_that_would_take_for_ever_is_not_tried() -> None:
    assert fill(takes(a={"type": "string", "pattern": "^(a+)+$"}), "a" * 60 + "!", NOW).missing == ["a"]


def test_a_text_without_its_arguments_says_what_is_wanted() -> None:
    assert without_arguments("明天从杭州去成都的航班").replace(" ", "") == "从去的航班"
    assert without_arguments("Deploy it to a@b.org by 3 pm") == "Deploy it to   by"


@given(st.text(max_size=80))
@settings(deadline=None)
def test_any_text_is_read(text: str) -> None:
    schema = takes(day=DATE, at=MOMENT, city="string", n="number", mode={"enum": ["a"]}, on="boolean", text="string")
    filled = fill(schema, text, NOW)
    assert set(filled.values) | set(filled.missing) == set(schema["required"])
