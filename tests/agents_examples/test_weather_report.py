"""What the weather agent answers, from the sentence to the text. Today is Saturday, 2026-11-21."""

import json
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

TODAY = date(2026, 11, 21)
CHINESE_SOURCE = "气候平均值"
ENGLISH_SOURCE = "climate normals"


def ask(weather, request="", city="", start=None, end=None):
    report = weather("report")
    return report.answer(report.understand(request, city, start, end, TODAY), {})


def test_a_chinese_goal_gets_its_days_in_chinese_and_is_told_that_they_are_normals(weather):
    report = ask(weather, "帮我做一个下周三到下周日杭州周边自驾游方案")
    forecast = report.forecast
    assert (forecast.city, forecast.start, forecast.end) == ("杭州", date(2026, 11, 25), date(2026, 11, 29))
    assert [day.date.day for day in forecast.days] == [25, 26, 27, 28, 29]
    assert [day.weekday for day in forecast.days] == ["周三", "周四", "周五", "周六", "周日"]
    assert CHINESE_SOURCE in forecast.source
    assert "不是气象台的实时预报" in report.text
    assert "2026年11月25日（周三）至11月29日（周日）" in report.text
    assert forecast.note == ""


def test_an_english_question_gets_an_english_answer(weather):
    report = ask(weather, "Will it rain in Hangzhou on Friday?")
    (day,) = report.forecast.days
    assert (report.forecast.city, day.weekday, day.date) == ("Hangzhou", "Fri", date(2026, 11, 27))
    assert ENGLISH_SOURCE in report.text
    assert report.text.isascii() or "°C" in report.text


def test_arguments_count_more_than_the_sentence(weather):
    forecast = ask(weather, "明天北京天气", city="Shanghai", start=date(2026, 12, 1), end=date(2026, 12, 2)).forecast
    assert (forecast.city, forecast.start, forecast.end) == ("上海", date(2026, 12, 1), date(2026, 12, 2))


def test_a_first_day_alone_is_one_day(weather):
    assert len(ask(weather, city="杭州", start=date(2026, 12, 1)).forecast.days) == 1


@pytest.mark.parametrize(
    ("text", "city"),
    [
        ("杭州市明天", "杭州"),
        ("hangzhou tomorrow", "Hangzhou"),
        ("Xi’an tomorrow", "Xi'an"),
        ("New York tomorrow", "New York"),
        ("从上海出发去北京，明天", "北京"),
        ("上海出发，明天去南京", "南京"),
        ("from Shanghai to Beijing tomorrow", "Beijing"),
        ("杭州出发自驾，明天", "杭州"),
        ("明天千岛湖会下雨吗", "杭州"),
        ("乌镇明天", "嘉兴"),
        ("parisian tomorrow", ""),
        ("明天天气", ""),
    ],
)
def test_the_city_is_read_from_the_sentence(weather, text, city):
    assert ask(weather, text).forecast.city == city


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"request": "火星明天的天气"}, ["没有认出", "杭州", "57 个城市"]),
        ({"request": "weather tomorrow please"}, ["did not recognise", "Hangzhou"]),
        ({"city": "Atlantis"}, ["“Atlantis”", "Hangzhou"]),
        ({"request": ""}, ["name one"]),
        ({"request": "杭州昨天的天气"}, ["已经过去"]),
        ({"request": "杭州2月30日的天气"}, ["2月30日", "没有"]),
        ({"request": "Hangzhou Dec 5-3"}, ["before it begins"]),
        ({"request": "杭州未来100天"}, ["太长", "60"]),
        ({"city": "杭州", "start": date(2026, 12, 3), "end": date(2026, 12, 1)}, ["反了"]),
        ({"city": "Hangzhou", "start": date(2026, 1, 1)}, ["in the past"]),
    ],
)
def test_what_cannot_be_answered_says_why_and_has_no_days(weather, arguments, said):
    report = ask(weather, **arguments)
    assert report.forecast.days == []
    assert report.forecast.note
    for words in said:
        assert words in report.text


def test_an_unknown_city_keeps_the_dates_for_whoever_plans_with_them(weather):
    forecast = ask(weather, "火星下周三到下周日").forecast
    assert (forecast.start, forecast.end, forecast.days) == (date(2026, 11, 25), date(2026, 11, 29), [])


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("杭州天气", "明天起 3 天"),
        ("Hangzhou weather", "3 days from tomorrow"),
        ("千岛湖明天", "“千岛湖”按杭州"),
        ("北京和上海明天天气", "上海请另问"),
    ],
)
def test_what_was_assumed_is_said(weather, request_, said):
    report = ask(weather, request_)
    assert said in report.forecast.note
    assert said in report.text
    assert report.forecast.days


def test_every_city_has_plausible_normals_under_names_that_are_its_own(weather):
    cities = weather("climate").cities()
    assert len(cities) >= 40
    names = [name.casefold() for city in cities for name in (city.zh, city.en, *city.aliases)]
    assert len(names) == len(set(names))
    for city in cities:
        assert len(city.high) == len(city.low) == len(city.rain_days) == 12, city.zh
        assert all(-45 < low < high < 48 for low, high in zip(city.low, city.high, strict=True)), city.zh
        assert all(0 <= days <= 28 for days in city.rain_days), city.zh


@pytest.mark.parametrize(
    ("day", "low", "high"),
    [(date(2026, 1, 15), 2, 8), (date(2026, 7, 15), 26, 34), (date(2026, 12, 31), 3, 10), (date(2028, 2, 29), 6, 13)],
)
def test_values_lie_between_the_middles_of_the_months(weather, day, low, high):
    climate = weather("climate")
    normal = climate.normal(climate.cities()[0], day)
    assert (normal.low, normal.high) == (low, high)


@settings(deadline=None)
@given(day=st.dates(date(2020, 1, 1), date(2040, 12, 31)), number=st.integers(0, 39))
def test_normals_are_the_same_every_time_and_never_jump_from_day_to_day(weather, day, number):
    climate = weather("climate")
    city = climate.cities()[number]
    today, tomorrow = climate.normal(city, day), climate.normal(city, day + timedelta(days=1))
    assert today == climate.normal(city, day)
    assert today.low <= today.high
    assert 0 <= today.rain_chance <= 100
    assert abs(today.high - tomorrow.high) <= 2
    assert abs(today.rain_chance - tomorrow.rain_chance) <= 5


@pytest.mark.parametrize(
    ("rain", "high", "chinese", "english"),
    [
        (5, 20, "少雨", "as a rule dry"),
        (30, 20, "有时有雨", "some rain possible"),
        (60, 20, "多雨", "often rain"),
        (60, -3, "多雪", "often snow"),
        (0, -3, "干冷", "cold and dry"),
    ],
)
def test_the_condition_follows_from_the_chance_of_rain(weather, rain, high, chinese, english):
    condition = weather("wording").condition
    assert (condition(rain, high, True), condition(rain, high, False)) == (chinese, english)


@settings(deadline=None)
@given(request=st.text(max_size=80), city=st.text(max_size=20))
def test_any_sentence_gets_an_answer_that_fits_the_schema(weather, request, city):
    report = ask(weather, request, city)
    again = weather("report").ForecastReport.model_validate(json.loads(report.model_dump_json()))
    assert again == report
    assert report.text
