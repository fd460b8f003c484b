"""The weather agent: reads city and dates from a request and answers with the forecast, or with what is normal then."""

from datetime import date, datetime
from functools import partial
from typing import Annotated, Any

from pydantic import Field

from agentmesh import Agent, Context, skill

from .live import Live
from .report import ForecastReport, answer, understand


class WeatherAgent(Agent):
    """Weather by city and date: Open-Meteo's forecast where it can be had, else monthly climate normals."""

    def __init__(self, today: date | None = None, live: Live | None = None) -> None:
        """`today` is the day that “tomorrow” is counted from; without it, the machine's own. `live` is where forecasts
        come from; without it, what the environment says (see `Live`)."""
        super().__init__()
        self.today = today
        self.live = live or Live()

    @skill(
        tags=[
            *("weather", "forecast", "temperature", "rain", "snow", "hot", "cold", "umbrella", "what to wear"),
            *("天气", "预报", "气温", "下雨", "降雨", "下雪", "天气怎么样", "冷不冷", "热不热", "带伞", "穿什么"),
        ],
        examples=[
            "下周三到下周日杭州的天气",
            "杭州周末会下雨吗",
            "北京明天多少度，冷不冷",
            "未来三天上海天气预报",
            "千岛湖周边周末天气怎么样",
            "明天出差穿什么，要带伞吗",
            "Will it rain in Hangzhou on Friday?",
            "Weather in and around London this weekend",
            "How hot is it in Bangkok next week?",
        ],
    )
    async def forecast(
        self,
        request: Annotated[str, Field(description="the question as a sentence; city and dates are read from it")] = "",
        city: Annotated[str, Field(description="the city, Chinese or English; else it is read from `request`")] = "",
        start: Annotated[date | None, Field(description="first day; else it is read from `request`")] = None,
        end: Annotated[date | None, Field(description="last day, included")] = None,
        *,
        ctx: Context,
    ) -> ForecastReport:
        """Weather of a city for one or more days: temperatures, chance of rain, advice. 某地某几天的天气和气温。"""

        async def report() -> Any:
            made = await self._report(request, city, start, end, ctx)
            return made.model_dump(mode="json")

        # a step: after a crash the weather, and what “tomorrow” was, are what they were
        return ForecastReport.model_validate(await ctx.once("report", report))

    async def _report(
        self, request: str, city: str, start: date | None, end: date | None, ctx: Context
    ) -> ForecastReport:
        today = self.today or datetime.now().astimezone().date()
        read = partial(understand, request, city, start, end, today)
        question = read()
        place = question.city.name(question.chinese) if question.city else question.unknown or "?"
        when = f"{question.start} – {question.end}" if question.start else "?"
        await ctx.progress(
            f"查天气：{place}，{when}" if question.chinese else f"weather: {place}, {when}", fraction=0.5
        )
        found = await self.live.look(question, today)
        return answer(read(spot=found.spot) if found.spot else question, found.skies, found.failure)
