"""The example agents served and called, as folders and as objects."""

from datetime import date
from pathlib import Path

from agentmesh import Mesh

AGENTS = Path(__file__).parents[2] / "agents"
GOAL = "帮我做一个下周三到下周日杭州周边自驾游方案"


async def test_the_weather_of_one_agent_becomes_the_trip_of_the_other(weather, travel):
    today = date(2026, 11, 21)
    async with Mesh("memory://example-agents") as mesh:
        await mesh.serve(weather("agent").WeatherAgent(today), travel("agent").TravelAgent(today))
        report = await mesh.call("WeatherAgentTask", {"request": GOAL})
        call = await mesh.start("TravelAgentTask", {"request": GOAL, "forecast": report["forecast"]})
        events = [event async for event in call.events()]
        trip = await call.result()
    assert [day["date"] for day in trip["days"]] == [day["date"] for day in report["forecast"]["days"]]
    assert trip["days"][0]["date"] == "2026-11-25"
    assert "自驾 5 日方案" in trip["text"]
    assert "progress" in [event.type for event in events]


async def test_the_folders_can_be_served_as_they_are():
    async with Mesh("memory://example-folders") as mesh:
        await mesh.serve(AGENTS / "weather", AGENTS / "travel")
        days = {"start": "2040-05-01", "end": "2040-05-02"}
        report = await mesh.call("WeatherAgentTask", {"city": "Hangzhou"} | days)
        request = {"request": "A road trip around Hangzhou", "forecast": report["forecast"]}
        trip = await mesh.call("TravelAgentTask", request, skill="plan")
    assert "climate normals" in report["text"]
    assert trip["text"].startswith("# 2-day road trip around Hangzhou")


async def test_a_forecast_without_days_and_a_goal_of_a_megabyte_are_answered(weather, travel):
    async with Mesh("memory://example-odd") as mesh:
        await mesh.serve(weather("agent").WeatherAgent(), travel("agent").TravelAgent())
        goal = "去" * 350_000
        report = await mesh.call("WeatherAgentTask", {"request": goal})
        trip = await mesh.call("TravelAgentTask", {"request": goal, "forecast": report["forecast"]})
    assert report["forecast"]["days"] == []
    assert "没有认出" in report["text"]
    assert trip["days"]
