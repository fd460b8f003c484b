"""The calls part of the public surface, as a program outside the repository would write it."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = '''
import asyncio
import sys

from pydantic import BaseModel

from agentmesh import Agent, CallCancelled, Context, InputRequired, Mesh, skill


class Forecast(BaseModel):
    city: str
    days: int
    answer: str


class GeoAgent(Agent):
    """Where cities are."""

    @skill(examples=["杭州在哪里"])
    async def locate(self, city: str) -> dict:
        """Locate a city."""
        return {"city": city, "lat": 30.25}


class WeatherAgent(Agent):
    """Weather for Chinese cities, up to 15 days ahead."""
    topic = "WeatherAgentTask"

    @skill(examples=["杭州周末天气", "Will it rain in Hangzhou on Friday?"], tags=["weather"])
    async def forecast(self, city: str, days: int = 3, *, ctx: Context) -> Forecast:
        await ctx.progress("asking the station", fraction=0.2)
        await ctx.emit("partial text")
        answer = await ctx.call("GeoAgentTask", {"city": city})
        assert answer["lat"] == 30.25
        more = await ctx.ask("Which Hangzhou district?")
        return Forecast(city=city, days=days, answer=more)

    @skill
    async def simple(self, city: str) -> str:
        return city


async def main(url):
    async with Mesh(url) as mesh:
        await mesh.serve(WeatherAgent(), GeoAgent(), FOLDER)
        assert await mesh.call("WeatherAgentTask", {"city": "杭州"}, skill="simple") == "杭州"
        assert await mesh.call("TravelAgentTask", {"request": "杭州周边三日自驾"}) == {"days": 3}
        try:
            await mesh.call("WeatherAgentTask", {"city": "杭州"}, skill="forecast")
        except InputRequired as question:
            print("asked:", question)
        call = await mesh.start("WeatherAgentTask", {"city": "杭州"}, skill="forecast", priority=5, deadline=60)
        call2 = await mesh.attach(call.id)
        async for event in call2.events(after=-1):
            print(event.offset, event.type)
            if event.type == "input_required":
                await call.answer("西湖区")
        value = await call.result(Forecast)
        assert value == Forecast(city="杭州", days=3, answer="西湖区")
        other = await mesh.start("WeatherAgentTask", {"city": "上海"}, skill="forecast", tenant="acme")
        await other.cancel()
        try:
            await other.result()
        except CallCancelled as error:
            print("cancelled:", error.topic)
        log = mesh.lite_topic("notes-42")
        assert await log.append({"a": 1}) == 0
        async for entry in log.follow(after=-1):
            assert (entry.offset, entry.data) == (0, {"a": 1})
            break
        assert [entry.data for entry in await log.read(after=-1, limit=10)] == [{"a": 1}]
        hits = await mesh.search("杭州周末天气", limit=5)
        assert hits[0].topic == "WeatherAgentTask" and hits[0].alive and hits[0].card.skills
    print("done")


asyncio.run(main(sys.argv[1]))
'''

AGENT_YAML = """
topic: TravelAgentTask
name: TravelAgent
version: 1.0.0
description: Plans self-drive trips around a city.
class: agent:TravelAgent
skills:
  - id: plan
    description: Day-by-day self-drive itinerary
    tags: [travel]
    examples: ["杭州周边三日自驾"]
    input: {type: object, properties: {request: {type: string}}, required: [request]}
    output: {type: object}
delivery: {concurrency: 8, timeout: 120s, lease: 30s, retry: {lost: 3, on: [TimeoutError], attempts: 3, backoff: 1s}}
"""

AGENT = """
from agentmesh import Agent


class TravelAgent(Agent):
    async def plan(self, request):
        return {"days": 3}
"""


@pytest.mark.parametrize("backend", ["memory", "local"])
def test_a_program_outside_runs_the_calls_of_the_public_surface(backend: str, tmp_path: Path) -> None:
    folder = tmp_path / "agents" / "travel"
    folder.mkdir(parents=True)
    (folder / "agent.yaml").write_text(AGENT_YAML)
    (folder / "agent.py").write_text(AGENT)
    (tmp_path / "program.py").write_text(PROGRAM.replace("FOLDER", '"agents/travel"'))
    url = "memory://outside" if backend == "memory" else f"local://{tmp_path / 'mesh'}"
    done = subprocess.run(
        [sys.executable, "program.py", url], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "asked: " + done.stdout.splitlines()[0].removeprefix("asked: "),
        "0 submitted",
        "1 accepted",
        "2 progress",
        "3 delta",
        "4 step",
        "5 step",
        "6 input_required",
        "7 answered",
        "8 step",
        "9 completed",
        "cancelled: WeatherAgentTask",
        "done",
    ]


RUNS = '''
import asyncio
import sys

from pydantic import BaseModel

from agentmesh import Agent, CallCancelled, Context, Mesh, skill


class Report(BaseModel):
    forecast: dict[str, bool]
    text: str


class WeatherAgent(Agent):
    """杭州天气预报: weather for Chinese cities."""

    @skill(examples=["杭州会下雨吗"], tags=["weather"])
    async def forecast(self, request: str, *, ctx: Context) -> Report:
        """Forecast the weather 天气 下雨."""
        district = await ctx.ask("Which Hangzhou district?")
        return Report(forecast={"rain": False}, text=f"{district}不下雨")


class TravelAgent(Agent):
    """自驾游方案: plans trips by car."""

    @skill(examples=["杭州周边自驾游方案"], tags=["travel"])
    async def plan(self, request: str, forecast: dict[str, bool]) -> dict:
        """Plan a trip 自驾游 行程 方案."""
        return {"text": f"自驾游方案，下雨：{forecast['rain']}"}


async def main(url):
    async with Mesh(url) as mesh:
        await mesh.serve(WeatherAgent(), TravelAgent())
        hits = await mesh.search("会下雨吗", limit=5)
        hit = hits[0]
        assert (hit.topic, hit.skill, hit.alive) == ("WeatherAgentTask", "forecast", True)
        assert hit.score > 0 and hit.card.name
        run = await mesh.run("帮我做一个下周三到下周日杭州周边自驾游方案", session="s1")
        started = []
        async for event in run.events():
            if event.type == "input_required":
                await run.answer("西湖区")
            if event.type == "call_started":
                started.append(event.data["topic"])
        text = await run.result()
        assert "自驾游方案，下雨：False" in text, text
        assert started == ["WeatherAgentTask", "TravelAgentTask"], started
        again = await mesh.attach(run.id)
        assert await again.result() == text
        other = await mesh.run("杭州会下雨吗", session="s1")
        await other.cancel()
        try:
            await other.result()
        except CallCancelled:
            print("done")


asyncio.run(main(sys.argv[1]))
'''


@pytest.mark.parametrize("backend", ["memory", "local"])
def test_a_program_outside_searches_and_runs_goals(backend: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(RUNS)
    url = "memory://outside" if backend == "memory" else f"local://{tmp_path / 'mesh'}"
    done = subprocess.run(
        [sys.executable, "program.py", url], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["done"]
