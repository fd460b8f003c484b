"""Goals in plain words, through a supervisor without a model: who is called, in which order, and what is answered."""

import re
import shutil

import pytest
import yaml
from agents_examples.conftest import AGENTS

from agentmesh.testing import open_mesh

WEATHER, TRAVEL = "WeatherAgentTask", "TravelAgentTask"
GOAL = "帮我做一个下周三到下周日杭州周边自驾游方案"
ENGLISH_GOAL = "Plan a road trip around Hangzhou from next Wednesday to next Sunday"


async def pursue(goal, folder=AGENTS):
    """The answer, and the data of the calls in the order in which they were started, each with its result."""
    async with open_mesh(folder / "weather", folder / "travel") as mesh:
        run = await mesh.run(goal)
        events = [event async for event in run.events()]
        calls = [event.data for event in events if event.type == "call_started"]
        for call in calls:
            call["result"] = await (await mesh.attach(call["call"])).result()
        return await run.result(), calls


def topics(calls):
    return [call["topic"] for call in calls]


ONLY_WEATHER, WITH_A_TRIP = [WEATHER], [WEATHER, TRAVEL]


@pytest.mark.parametrize(
    ("goal", "called", "said"),
    [
        (GOAL, WITH_A_TRIP, "# 杭州周边自驾 5 日方案"),
        (ENGLISH_GOAL, WITH_A_TRIP, "# 5-day road trip around Hangzhou"),
        ("查一下杭州后天的天气，然后做一个自驾方案", WITH_A_TRIP, "# 杭州自驾 1 日方案"),
        ("下雨天杭州去哪里玩", WITH_A_TRIP, "# 杭州自驾 3 日方案"),
        ("下雨的话杭州周边能去哪儿", WITH_A_TRIP, "# 杭州周边自驾 3 日方案"),
        ("Where can I go near Hangzhou if it rains?", WITH_A_TRIP, "road trip around Hangzhou"),
        ("带老人去千岛湖玩两天", WITH_A_TRIP, "千岛湖"),
        ("杭州下周会下雨吗", ONLY_WEATHER, "降雨概率"),
        ("Will it rain in Hangzhou on Friday?", ONLY_WEATHER, "chance of rain"),
        ("千岛湖明天天气怎么样", ONLY_WEATHER, "“千岛湖”按杭州的数据"),
        ("明天去杭州出差穿什么，要带伞吗", ONLY_WEATHER, "℃"),
        ("What should I wear in London tomorrow?", ONLY_WEATHER, "London, "),
        ("杭州天气", ONLY_WEATHER, "没有说从哪天开始"),
        ("杭州自驾游方案", WITH_A_TRIP, "没有说从哪天开始"),
        ("Weather in Hangzhou", ONLY_WEATHER, "No starting day was given"),
        ("周末去哪儿玩", WITH_A_TRIP, "没有认出你要去哪里"),
        ("火星明天的天气", ONLY_WEATHER, "没有认出是哪个城市"),
        ("Weather in Atlantis tomorrow", ONLY_WEATHER, "no climate data for “Atlantis”"),
        ("火星下周三到下周日自驾游方案", WITH_A_TRIP, "自驾 5 日提纲"),
        ("下周三到下周日北京周边自驾游方案", WITH_A_TRIP, "不编造景点"),
        ("杭州昨天的天气", ONLY_WEATHER, "已经过去了，请说今天或以后的日子"),
        ("What was the weather in Hangzhou yesterday?", ONLY_WEATHER, "is in the past: name a day to come"),
        ("杭州周边自驾，2月30日出发", WITH_A_TRIP, "日历上没有“2月30日”这一天"),
        ("昨天杭州周边自驾游方案", WITH_A_TRIP, "请告诉我你的日期"),
        ("你好", [], "没有找到能完成这个目标的智能体"),
        ("Translate this text into French", [], "No agent was found"),
    ],
)
async def test_a_goal_gets_the_agents_it_needs_and_a_sensible_answer(goal, called, said):
    answer, calls = await pursue(goal)
    assert topics(calls) == called
    assert said in answer
    assert ("没有配置语言模型" in answer) or ("No language model is configured" in answer)


async def test_a_goal_that_is_only_about_weather_makes_exactly_one_call():
    for goal in ("下周三到下周日杭州的天气", "杭州周边周末会下雨吗", "Is it cold around Qiandao Lake next week?"):
        assert topics((await pursue(goal))[1]) == [WEATHER]


async def test_the_trips_input_holds_the_very_forecast_that_the_weather_agent_returned():
    answer, (weather, travel) = await pursue(GOAL)
    assert weather["result"]["forecast"] == travel["input"]["forecast"]
    assert len(travel["input"]["forecast"]["days"]) == 5
    assert travel["result"]["text"] in answer
    for number, day in enumerate(travel["result"]["days"], start=1):
        assert f"## 第 {number} 天" in answer
        assert day["weather"] in answer
        assert all(stop["name"] in answer for stop in day["stops"])


OTHER_CARDS = {
    "weather": (
        "SkyTask",
        "What the sky holds for a town: degrees, rain, wind. 告诉你一座城市接下来的天气：冷热、雨雪、气温。",
        {
            "tags": ["weather", "rain", "天气", "气温", "下雨"],
            "examples": ["南京后天天气如何", "Is rain expected in Suzhou?"],
            "docstring": "Degrees and rain for a town, day by day. 逐日的天气：冷热和雨水。",
        },
    ),
    "travel": (
        "RoadTask",
        "Drafts a journey by car, with a route for each day and beds. 为开车出游的人排出每天的行程：自驾路线和住处。",
        {
            "tags": ["journey", "road trip", "自驾", "方案"],
            "examples": ["从杭州开车出去玩四天，排个方案", "Draft a road trip from Hangzhou"],
            "docstring": "A journey by car, day by day. 自驾出游，逐日排好。",
        },
    ),
}


@pytest.fixture
def renamed(tmp_path):
    """A copy of the agents under other topics, with other words on their cards, in the same languages."""
    for name, (topic, description, words) in OTHER_CARDS.items():
        folder = shutil.copytree(AGENTS / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        card = yaml.safe_load((folder / "agent.yaml").read_text("utf-8"))
        card |= {"topic": topic, "name": topic.removesuffix("Task"), "description": description}
        (folder / "agent.yaml").write_text(yaml.safe_dump(card, allow_unicode=True), "utf-8")
        source = (folder / "agent.py").read_text("utf-8")
        for field in ("tags", "examples"):
            source, count = re.subn(
                rf"(?ms)^        {field}=\[$.*?^        \],$", f"        {field}={words[field]!r},", source
            )
            assert count == 1
        source, count = re.subn(
            r'(?m)^(        """).*某地.*"""$|^(        """).*按天的.*"""$',
            f'        """{words["docstring"]}"""',
            source,
        )
        assert count == 1
        (folder / "agent.py").write_text(source, "utf-8")
    return tmp_path


@pytest.mark.parametrize("goal", [GOAL, ENGLISH_GOAL, "杭州下周会下雨吗"])
async def test_under_other_topics_and_with_other_words_on_the_cards_the_plan_is_the_same(renamed, goal):
    answer, calls = await pursue(goal)
    other_answer, other_calls = await pursue(goal, renamed)
    assert other_answer == answer
    names = {WEATHER: "SkyTask", TRAVEL: "RoadTask"}
    assert topics(other_calls) == [names[topic] for topic in topics(calls)]
    assert [call["input"] for call in other_calls] == [call["input"] for call in calls]
