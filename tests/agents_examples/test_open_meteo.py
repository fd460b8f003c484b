"""The weather agent and Open-Meteo: forecasts as they are, and whatever else may come back from there.

Today is Saturday, 2026-11-21, so the forecast ends with 2026-12-06.
"""

import json
from datetime import date, timedelta

import pytest
from agents_examples.open_meteo_server import REYKJAVIK, TODAY, normals, reply, says

from agentmesh import ConfigError, Context, Retryable, skill
from agentmesh.contracts import Delivery, Retry
from agentmesh.testing import open_mesh

TOPIC = "WeatherAgentTask"


async def test_the_forecast_of_open_meteo_is_told_with_its_source(ask, server):
    report = await ask("杭州今天和明天的天气")
    first, second = report["forecast"]["days"]
    assert (first["condition"], first["low"], first["high"], first["rain_chance"]) == ("中雨", 2, 10, 88)
    assert (second["condition"], second["normal"]) == ("晴间少云", False)
    assert "带伞" in first["advice"]
    assert "Open-Meteo" in report["forecast"]["source"]
    assert "CC BY 4.0" in report["text"]
    assert "常年值" not in report["text"]
    assert "气候平均值" not in report["text"]


async def test_the_city_is_asked_for_by_where_it_is(ask, server):
    await ask("Weather in Hangzhou tomorrow")
    ((path, query),) = server.requests
    assert path == "/v1/forecast"
    assert (query["latitude"], query["longitude"], query["timezone"]) == ("30.27", "120.16", "auto")
    assert query["daily"].split(",") == [
        *("weather_code", "temperature_2m_max", "temperature_2m_min", "precipitation_probability_max"),
    ]


async def test_days_beyond_the_forecast_are_normals_and_each_day_says_which_it_is(ask):
    report = await ask("杭州12月5日到12月8日的天气")
    assert normals(report) == [False, False, True, True]
    lines = [line for line in report["text"].splitlines() if line.startswith("- ")]
    assert ["常年值" in line for line in lines] == [False, False, True, True]
    assert "Open-Meteo" in report["forecast"]["source"]
    assert "气候平均值" in report["forecast"]["source"]
    english = await ask("Hangzhou weather December 5 to December 8")
    assert english["text"].count(", climate normal") == 2
    assert "days marked “climate normal”" in english["forecast"]["source"]


async def test_nobody_is_asked_about_days_that_no_forecast_reaches(ask, server):
    report = await ask("杭州12月7日的天气")
    assert (normals(report), server.requests) == ([True], [])


async def test_nobody_is_asked_about_what_cannot_be_answered(ask, server):
    for request in ("杭州昨天的天气", "火星2月30日的天气", "明天天气怎么样", ""):
        assert (await ask(request))["forecast"]["days"] == []
    assert server.requests == []


@pytest.mark.parametrize(
    ("request_", "name", "language"),
    [
        ("Weather in Reykjavik tomorrow", "Reykjavik", "en"),
        ("weather in reykjavik this weekend", "reykjavik", "en"),
        ("Plan a road trip around Lake Tahoe next week", "Lake Tahoe", "en"),
        ("What is it like in Rio de Janeiro on Friday?", "Rio de Janeiro", "en"),
        ("Oslo weather", "Oslo", "en"),
        ("稻城明天的天气", "稻城", "zh"),
        ("大同12月1日到12月3日自驾方案", "大同", "zh"),
        ("帮我做一个下周三到下周日大同周边自驾游方案", "大同", "zh"),
        ("周末去敦煌要带伞吗", "敦煌", "zh"),
        ("从上海去张家界，明天热吗", "张家界", "zh"),
    ],
)
async def test_a_place_that_is_none_of_ours_is_looked_up(ask, server, request_, name, language):
    server.places[name] = [REYKJAVIK | {"name": name.title() if language == "en" else name}]
    report = await ask(request_)
    assert server.requests[0][1]["name"] == name
    assert server.requests[0][1]["language"] == language
    assert report["forecast"]["city"].casefold() == name.casefold()
    assert report["forecast"]["days"]
    assert not any(normals(report))
    assert ("Capital Region, Iceland" if language == "en" else "Capital Region，Iceland") in report["forecast"]["note"]


async def test_a_name_guessed_from_a_sentence_has_to_be_the_places_own(ask, server):
    server.places["火星"] = [REYKJAVIK | {"name": "火星镇火星村"}]
    assert (await ask("火星明天的天气"))["forecast"]["days"] == []
    server.places["Reykjavíc"] = [REYKJAVIK]
    report = await ask(city="Reykjavíc")
    assert report["forecast"]["city"] == "Reykjavik"


async def test_a_place_that_nobody_knows_is_said_to_be_unknown(ask, server):
    report = await ask("Weather in Atlantis tomorrow")
    assert "did not recognise a city" in report["text"]
    assert [path for path, _ in server.requests] == ["/v1/search"]


async def test_a_place_without_normals_has_the_days_of_the_forecast_only(ask, server):
    server.places["Reykjavik"] = [REYKJAVIK]
    report = await ask("Weather in Reykjavik from December 5 to December 8")
    assert [day["date"] for day in report["forecast"]["days"]] == ["2026-12-05", "2026-12-06"]
    assert "16 days ahead" in report["forecast"]["note"]
    later = await ask("Weather in Reykjavik on December 20")
    assert later["forecast"]["days"] == []
    assert "16 days ahead" in later["text"]


@pytest.mark.parametrize(
    "result",
    [
        {"latitude": "64", "longitude": 1},
        {"latitude": 91, "longitude": 1},
        {"latitude": float("nan"), "longitude": 1},
        {"latitude": 1},
        {"name": None, "latitude": 1, "longitude": 1},
        {"name": "x" * 1000, "latitude": 1, "longitude": 1},
        {"name": "a\u0000b", "latitude": 1, "longitude": 1},
        {"name": "\ud800", "latitude": 1, "longitude": 1},
        "Reykjavik",
        None,
    ],
)
async def test_a_result_that_is_no_place_is_passed_over(ask, server, result):
    broken = {"name": "Reykjavik"} | result if isinstance(result, dict) else result
    server.places["Reykjavik"] = [broken, REYKJAVIK | {"country": 7, "admin1": "\u001b[31m"}]
    report = await ask(city="Reykjavik", request="tomorrow")
    assert report["forecast"]["city"] == "Reykjavik"
    assert report["forecast"]["note"] == "The place, as Open-Meteo found it: Reykjavik."


@pytest.mark.parametrize(
    "value",
    [None, float("nan"), float("inf"), 10**400, 1000, "7", True, [], {"a": 1}],
    ids=lambda value: repr(value)[:9],
)
@pytest.mark.parametrize("column", ["temperature_2m_max", "precipitation_probability_max", "weather_code", "time"])
async def test_a_day_with_a_value_that_cannot_be_is_a_normal_and_the_others_stay(weather, column, value):
    answer = {
        "daily": {
            "time": ["2026-11-22", "2026-11-23"],
            "weather_code": [3, 3],
            "temperature_2m_max": [9.5, 9.5],
            "temperature_2m_min": [1, 1],
            "precipitation_probability_max": [20, 20],
        }
    }
    answer["daily"][column][0] = value
    skies = weather("open_meteo").read_forecast(answer)
    assert list(skies) == [date(2026, 11, 23)]
    report = weather("report")
    asked = report.understand("杭州11月22日到23日天气", "", None, None, TODAY)
    assert [day.normal for day in report.days(asked, skies)] == [True, False]


async def test_a_night_warmer_than_its_day_is_not_believed(ask, server):
    def upside_down(answer):
        answer["daily"]["temperature_2m_min"][1] = 40
        return answer

    server.edit = upside_down
    assert normals(await ask("杭州11月21日到23日天气")) == [False, True, False]


async def test_missing_days_are_normals(ask, server):
    def without_tomorrow(answer):
        return answer | {"daily": {name: values[:1] + values[2:] for name, values in answer["daily"].items()}}

    server.edit = without_tomorrow
    assert normals(await ask("杭州11月21日到23日天气")) == [False, True, False]


def test_every_code_has_words_and_an_unknown_one_goes_by_the_chance_of_rain(weather):
    sky = weather("sky")
    for chinese in (True, False):
        words = [sky.sky(code, chinese) for code in sky._CODES]
        assert all(words)
    models = weather("open_meteo")
    report = weather("report")
    asked = report.understand("Hangzhou tomorrow", "", None, None, TODAY)
    (day,) = report.days(asked, {date(2026, 11, 22): models.Sky(42, 3, 9, 35)})
    assert (day.condition, day.normal) == ("some rain possible", False)


async def test_open_meteo_and_nothing_else_is_asked_every_time_and_its_failure_told(ask, live, server):
    source = live("open-meteo")
    server.play = says(reply('{"error": true, "reason": "Daily limit exceeded"}', 429))
    for _ in range(2):
        report = await ask("杭州明天天气", source)
        assert normals(report) == [True]
        assert "没有拿到 Open-Meteo 的预报（status 429）" in report["text"]
    assert len(server.requests) == 2
    server.play = None
    assert normals(await ask("杭州明天天气", source)) == [False]


async def test_climate_asks_nobody(ask, live, server):
    assert normals(await ask("杭州明天天气", live("climate"))) == [True]
    assert (await ask("Weather in Reykjavik tomorrow", live("climate")))["forecast"]["days"] == []
    assert server.requests == []


async def test_the_environment_configures_the_agent_in_yaml(weather, server, monkeypatch):
    monkeypatch.setenv("WEATHER_SOURCE", "auto")
    monkeypatch.setenv("OPEN_METEO_URL", f"{server.url}?apikey=secret")
    monkeypatch.setenv("OPEN_METEO_GEOCODING_URL", server.geocoding_url)
    async with open_mesh(weather("agent").WeatherAgent(TODAY)) as mesh:
        report = await mesh.call(TOPIC, {"request": "杭州明天天气"})
    assert normals(report) == [False]
    assert server.requests[0][1]["apikey"] == "secret"
    assert "secret" not in json.dumps(report)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEATHER_SOURCE", "sometimes"),
        ("OPEN_METEO_URL", "file:///etc/hostname"),
        ("OPEN_METEO_URL", "api.open-meteo.com"),
        ("OPEN_METEO_GEOCODING_URL", "https://[::1"),
    ],
)
def test_a_setting_that_is_wrong_is_told(weather, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        weather("agent").WeatherAgent()


async def test_the_systems_proxy_is_gone_through(ask, weather, server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    source = weather("live").Live("auto", "http://weather.invalid/v1/forecast")
    assert normals(await ask("杭州明天天气", source)) == [False]
    assert server.targets[0].startswith("http://weather.invalid/v1/forecast?")


async def test_a_second_attempt_has_the_weather_of_the_first(weather, live, server):
    class Interrupted(weather("agent").WeatherAgent):
        """Loses its first attempt after the forecast came."""

        topic = TOPIC
        delivery = Delivery(retry=Retry(attempts=2))

        @skill
        async def forecast(self, request: str = "", *, ctx: Context) -> weather("report").ForecastReport:
            report = await super().forecast(request, ctx=ctx)
            if ctx.attempt == 1:
                server.today += timedelta(days=1)
                self.today += timedelta(days=1)
                raise Retryable(after=0)
            return report

    async with open_mesh(Interrupted(TODAY, live())) as mesh:
        call = await mesh.start(TOPIC, {"request": "杭州明天的天气"})
        report = await call.result()
        assert sum([event.type == "accepted" async for event in call.events()]) == 2
    (day,) = report["forecast"]["days"]
    assert (day["date"], day["normal"], day["high"]) == ("2026-11-22", False, 11)
    assert len(server.requests) == 1
