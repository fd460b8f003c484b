"""Small cards for the planners' tests."""

from typing import Any

from agentmesh.card import AgentCapabilities, AgentCard, AgentSkill, skills_extension
from agentmesh.contracts import Registration

FORECAST = {
    "type": "object",
    "properties": {"forecast": {"$ref": "#/$defs/Forecast"}, "text": {"type": "string"}},
    "$defs": {"Forecast": {"type": "object", "properties": {"days": {"type": "array"}}}},
}


def takes(*required: str, **properties: Any) -> dict[str, Any]:
    """An object's schema; a property's schema may be just its type."""
    given = {name: {"type": each} if isinstance(each, str) else each for name, each in properties.items()}
    return {"type": "object", "properties": given, "required": list(required or properties)}


def agent(
    topic: str,
    description: str,
    source: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
    *,
    skill: str = "do",
    name: str = "",
    examples: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
    version: str = "1.0.0",
    alive: bool = True,
) -> Registration:
    """An agent with one skill."""
    card = AgentCard(
        name=name or topic.removesuffix("Task"),
        description=description,
        version=version,
        skills=(AgentSkill(id=skill, name=skill, examples=examples, tags=tags),),
        capabilities=AgentCapabilities(extensions=(skills_extension({skill: (source, result, False)}),)),
    )
    return Registration(topic, version, card, alive=alive)


WEATHER = agent(
    "WeatherAgentTask",
    "Weather for Chinese cities, up to 15 days ahead. 中国城市天气预报。",
    takes("request", request="string"),
    FORECAST,
    skill="forecast",
    tags=("weather", "天气"),
    examples=("杭州周末天气", "Will it rain in Hangzhou on Friday?"),
)
TRAVEL = agent(
    "TravelAgentTask",
    "Plans self-drive trips around a city from dates, budget and a weather forecast. 根据天气安排城市周边自驾行程。",
    takes("request", "forecast", request="string", forecast="object", budget="number"),
    takes(text="string", days="array"),
    skill="plan",
    tags=("travel",),
    examples=("杭州周边三日自驾", "A road trip around Hangzhou for three days"),
)
CALCULATOR = agent(
    "CalculatorTask",
    "Calculates sums and products. 计算算术表达式。",
    takes(expression="string"),
    takes(answer="number"),
    skill="calculate",
    tags=("arithmetic", "计算"),
    examples=("计算 3*5 等于多少", "What is 12 plus 30?"),
)
TRANSLATOR = agent(
    "TranslatorTask",
    "Translates text between Chinese and English. 中英文翻译。",
    takes("text", text="string", style="string"),
    takes(text="string"),
    skill="translate",
    examples=("把这句话翻译成英文", "Translate 'good morning' into Chinese"),
)
TEAM = (WEATHER, TRAVEL, CALCULATOR, TRANSLATOR)
