"""The trips that the travel agent plans. Today is Saturday, 2026-11-21."""

from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

TODAY = date(2026, 11, 21)
GOAL = "帮我做一个下周三到下周日杭州周边自驾游方案"
WEDNESDAY = date(2026, 11, 25)


def forecast(travel, start=WEDNESDAY, days=5, city="杭州", rain=20, low=7, high=15, **other):
    """A forecast with the same weather every day, or with `rain` as a list of chances, one per day."""
    models = travel("forecast")
    chances = rain if isinstance(rain, list) else [rain] * days
    weather = [
        models.Day(
            date=start + timedelta(days=n),
            weekday="",
            condition="晴雨相间",
            low=low,
            high=high,
            rain_chance=chance,
            advice="",
        )
        for n, chance in enumerate(chances)
    ]
    end = start + timedelta(days=len(weather) - 1)
    values = {"source": "测试的天气", "start": start, "end": end, "note": "", "days": weather} | other
    return models.Forecast(city=city, **values)


def plan(travel, request=GOAL, **weather):
    return travel("trip").plan(request, forecast(travel, **weather), TODAY)


def indoor_share(travel, day):
    inside = {place.name.zh for place in travel("places").places() if place.indoor}
    return sum(stop.name in inside for stop in day.stops) / len(day.stops)


def test_the_forecast_of_the_weather_agent_fits_into_the_travel_agent(weather, travel):
    theirs, ours = weather("forecast").Forecast, travel("forecast").Forecast
    assert theirs.model_json_schema(mode="serialization") == ours.model_json_schema(mode="validation")


def test_the_goal_gives_five_days_each_with_weather_and_a_route(weather, travel):
    report = weather("report")
    answer = report.answer(report.understand(GOAL, "", None, None, TODAY), {})
    given_ = travel("forecast").Forecast.model_validate(answer.forecast.model_dump(mode="json"))
    trip = travel("trip").plan(GOAL, given_, TODAY)
    assert [day.date.isoformat() for day in trip.days] == [f"2026-11-{n}" for n in (25, 26, 27, 28, 29)]
    assert all("降雨概率 30%" in day.weather and "℃" in day.weather for day in trip.days)
    assert all(day.stops for day in trip.days)
    assert [bool(day.overnight) for day in trip.days] == [True, True, True, True, False]
    assert [day.back_km > 0 for day in trip.days] == [False, False, False, False, True]
    for words in (
        "# 杭州周边自驾 5 日方案",
        "2026年11月25日 周三 至 11月29日 周日",
        "气候平均值",
        "不是气象台的实时预报",
        "返程",
        "住宿",
    ):
        assert words in trip.text
    for day in trip.days:
        assert all(f"**{stop.name}**" in trip.text for stop in day.stops)


def test_a_day_says_whether_its_weather_is_a_forecast_or_a_normal(travel):
    weather = forecast(travel, days=2)
    weather.days[1].normal = True
    trip = travel("trip").plan(GOAL, weather, TODAY)
    assert ["常年值" in day.weather for day in trip.days] == [False, True]
    assert trip.text.count("常年值") == 1


def test_an_english_request_gets_an_english_guide(travel):
    trip = plan(
        travel, "Plan a road trip around Hangzhou from next Wednesday to next Sunday", city="Hangzhou", source="a test"
    )
    assert trip.text.startswith("# 5-day road trip around Hangzhou")
    assert travel("trip").is_chinese(trip.text) is False
    assert "20% chance of rain" in trip.days[0].weather


def test_the_same_request_gives_the_same_trip(travel):
    assert plan(travel) == plan(travel)


def test_rainy_days_are_spent_indoors(travel):
    open_air = {"山岳", "森林", "峡谷", "瀑布", "观景", "古村", "湖泊", "江河", "湿地", "遗址"}
    for rain in ([10, 10, 80, 10, 10], [80] * 5):
        dry, wet = plan(travel, rain=10), plan(travel, rain=rain)
        for number in (number for number, chance in enumerate(rain) if chance == 80):
            assert not open_air & {stop.kind for stop in wet.days[number].stops}
            assert indoor_share(travel, wet.days[number]) >= 0.5
        assert sum(indoor_share(travel, day) for day in wet.days) > sum(indoor_share(travel, day) for day in dry.days)


def test_only_what_is_indoors_is_said_to_be_indoors(travel):
    inside = {place.name.zh for place in travel("places").places() if place.indoor}
    stops = [stop for day in plan(travel, rain=80).days for stop in day.stops]
    assert {stop.name for stop in stops if "雨天在室内" in stop.why} == inside & {stop.name for stop in stops}
    assert not any("雨天在室内" in stop.why for day in plan(travel, rain=10).days for stop in day.stops)


def test_a_day_that_may_bring_rain_has_an_indoor_alternative(travel):
    unsure, dry = plan(travel, rain=35), plan(travel, rain=10)
    assert sum(bool(day.rain_alternative) for day in unsure.days) >= 3
    assert not any(day.rain_alternative for day in dry.days)
    assert "若下雨" in unsure.text
    assert "若下雨" not in dry.text


def test_heat_sends_the_trip_to_cool_places(travel):
    cool = ("山岳", "森林", "峡谷", "瀑布", "溶洞", "博物馆", "名人故居")
    hot = plan(travel, start=date(2026, 7, 22), days=3, low=27, high=37)
    assert all(stop.kind in cool for day in hot.days for stop in day.stops)
    assert "高温" in hot.text


def test_frost_keeps_the_trip_off_the_mountains(travel):
    cold = plan(travel, start=date(2027, 1, 20), days=5, low=-4, high=4)
    assert not any(stop.kind == "山岳" for day in cold.days for stop in day.stops)
    assert "结冰" in cold.text


def test_museums_are_not_planned_for_a_monday(travel):
    closed = {place.name.zh for place in travel("places").places() if place.closed_monday}
    monday = plan(travel, start=date(2026, 11, 23), days=1, rain=90).days[0]
    assert monday.stops
    assert not closed & {stop.name for stop in monday.stops}
    assert monday.rain_alternative not in closed


@pytest.mark.parametrize(
    ("request_", "name", "planned"),
    [
        ("杭州周边自驾五天，一定要去大明山", "大明山", True),
        ("杭州周边自驾五天，想去西湖", "西湖", True),
        ("杭州周边自驾五天", "西湖", False),
        ("杭州周边自驾五天，不去乌镇", "乌镇西栅", False),
        ("杭州周边自驾五天，不去莫干山和乌镇，想去西塘", "西塘古镇", True),
        ("a five-day road trip around Hangzhou, avoid Wuzhen and Moganshan", "Wuzhen (West)", False),
        ("a five-day road trip around Hangzhou with Xitang", "Xitang", True),
    ],
)
def test_places_that_are_named_are_planned_or_left_out(travel, request_, name, planned):
    trip = plan(travel, request_)
    assert (name in [stop.name for day in trip.days for stop in day.stops]) is planned


@pytest.mark.parametrize("place", ["大明山", "天屿山观景台"])
def test_a_place_that_is_too_far_for_the_days_is_left_out_and_said_to_be(travel, place):
    trip = plan(travel, f"一天来回，一定要去{place}", days=1)
    names = [stop.name for stop in trip.days[0].stops]
    assert names
    assert place not in names
    assert f"没有排进：{place}" in trip.text
    assert "没有排进" not in plan(travel, f"杭州周边自驾五天，一定要去{place}").text


def test_what_one_likes_is_planned_more(travel):
    def towns(request):
        return sum(stop.kind in ("古镇", "老街", "古村") for day in plan(travel, request).days for stop in day.stops)

    assert towns("杭州周边自驾五天，喜欢古镇") > towns("杭州周边自驾五天")


def test_a_city_elsewhere_gets_an_honest_outline_without_invented_sights(travel):
    trip = plan(travel, "北京周边自驾，下周三到下周日", city="北京")
    assert len(trip.days) == 5
    assert all(day.stops == [] and day.weather for day in trip.days)
    assert "我只收录了杭州周边" in trip.text
    assert "提纲" in trip.text


@pytest.mark.parametrize(
    ("request_", "dates"),
    [
        ("杭州周边自驾，12月3日到12月5日", ["2026-12-03", "2026-12-04", "2026-12-05"]),
        ("Hangzhou road trip 2026-12-03 to 2026-12-04", ["2026-12-03", "2026-12-04"]),
        ("杭州自驾3天", ["2026-11-28", "2026-11-29", "2026-11-30"]),
        ("杭州自驾", ["2026-11-28", "2026-11-29"]),
        ("杭州自驾，2月30日", ["2026-11-28", "2026-11-29"]),
    ],
)
def test_without_a_forecast_the_dates_come_from_the_request_and_the_weather_is_unknown(travel, request_, dates):
    trip = plan(travel, request_, days=0, start=TODAY, end=None, note="没有天气")
    assert [day.date.isoformat() for day in trip.days] == dates
    assert all(stop for day in trip.days for stop in day.stops)
    assert ("没有拿到" in trip.text) or ("none was given" in trip.text)
    assert "没有天气" in trip.text


def test_dates_without_weather_keep_their_dates(travel):
    trip = plan(travel, days=0, start=WEDNESDAY, end=WEDNESDAY + timedelta(days=1))
    assert [day.date for day in trip.days] == [WEDNESDAY, WEDNESDAY + timedelta(days=1)]
    assert "未知" in trip.days[0].weather


def test_a_trip_longer_than_the_places_last_says_so(travel):
    trip = plan(travel, days=30)
    assert len(trip.days) == 14
    assert "其余 16 天没有排" in trip.text


@settings(max_examples=20, deadline=None)
@given(
    start=st.dates(date(2026, 1, 1), date(2028, 12, 31)),
    rain=st.lists(st.integers(0, 100), min_size=1, max_size=14),
    low=st.integers(-15, 30),
    spread=st.integers(0, 15),
    request=st.sampled_from(
        [GOAL, "杭州自驾", "两日古镇，带孩子", "around Hangzhou, no hiking", "想去千岛湖、大明山、西塘"]
    ),
)
def test_every_trip_keeps_its_bounds(travel, start, rain, low, spread, request):
    itinerary, outlook, wishes = travel("itinerary"), travel("outlook"), travel("wishes")
    weather = forecast(travel, start=start, rain=rain, low=low, high=low + spread)
    days = outlook.calendar(weather, request, TODAY).days
    plans = itinerary.plan_trip(days, wishes.read_wishes(request))
    assert [entry.outlook.date for entry in plans] == [start + timedelta(days=n) for n in range(len(rain))]
    names = Counter(visit.place.name.zh for entry in plans for visit in entry.visits)
    names.update(entry.spare[0].name.zh for entry in plans if entry.spare)
    assert max(names.values(), default=1) == 1
    for entry in plans:
        assert entry.driving.minutes <= itinerary.MAX_DRIVE
        assert entry.driving.minutes + sum(visit.place.minutes for visit in entry.visits) <= itinerary.MAX_DAY
    assert plans[-1].back or not plans[-1].visits


@settings(max_examples=60, deadline=None)
@given(
    request=st.text(max_size=60),
    city=st.sampled_from(["", "杭州", "Hangzhou", "绍兴市", "北京", "?"]),
    days=st.integers(0, 3),
)
def test_any_request_gets_a_guide(travel, request, city, days):
    trip = travel("trip").plan(request, forecast(travel, city=city, days=days, start=WEDNESDAY), TODAY)
    assert trip.text.startswith("# ")
    assert trip.days


def test_the_places_are_around_hangzhou_and_known_once(travel):
    places = travel("places")
    all_places = places.places()
    assert len(all_places) >= 40
    for language in ("zh", "en"):
        names = [getattr(place.name, language) for place in all_places]
        assert len(names) == len(set(names))
    kinds = travel("phrases").KINDS
    for place in all_places:
        assert places.great_circle(places.HOME, place.point) < 160, place.name.zh
        assert place.kind in kinds
        assert place.region in places.regions()
        assert all(1 <= month <= 12 for month in place.months)
    assert {place.region for place in all_places} == set(places.regions())
    assert {place.region for place in all_places if place.indoor} == set(places.regions())


@pytest.mark.parametrize(
    ("to", "km", "minutes"),
    [("西湖", (3, 8), (5, 25)), ("乌镇西栅", (65, 100), (60, 110)), ("千岛湖中心湖区", (140, 190), (120, 180))],
)
def test_drives_are_about_what_a_driver_expects(travel, to, km, minutes):
    places = travel("places")
    place = next(place for place in places.places() if place.name.zh == to)
    leg = places.drive(places.HOME, place.point)
    assert km[0] <= leg.km <= km[1]
    assert minutes[0] <= leg.minutes <= minutes[1]
