"""The weather agent: reads city and dates from a request and answers with what is normal there at that time."""

from datetime import date, datetime
from typing import Annotated

from pydantic import Field

from agentmesh import Agent, Context, skill

from .forecast import Day
from .report import ForecastReport, Question, answer, normal_days, understand
from .wording import source


class WeatherAgent(Agent):
    """Weather by city and date, from monthly climate normals."""

    def __init__(self, today: date | None = None) -> None:
        """`today` is the day that “tomorrow” is counted from; without it, the machine's own."""
        super().__init__()
        self.today = today

    @skill(
        tags=[
            *("weather", "forecast", "temperature", "rain", "snow", "hot", "cold", "umbrella"),
            *("天气", "预报", "气温", "下雨", "降雨", "下雪", "冷不冷", "热不热", "带伞"),
        ],
        examples=[
            "下周三到下周日杭州的天气",
            "杭州周末会下雨吗",
            "北京明天多少度，冷不冷",
            "未来三天上海天气预报",
            "Will it rain in Hangzhou on Friday?",
            "Weather in London this weekend",
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
        question = understand(request, city, start, end, self.today or datetime.now().astimezone().date())
        place = question.city.name(question.chinese) if question.city else "?"
        when = f"{question.start} – {question.end}" if question.start else "?"
        message = f"查气候平均值：{place}，{when}" if question.chinese else f"climate normals: {place}, {when}"
        await ctx.progress(message, fraction=0.5)
        days, origin = await self._days(question)
        return answer(question, days, origin)

    async def _days(self, question: Question) -> tuple[list[Day], str]:
        """The days' weather and where it comes from; a live source takes the place of this one."""
        return normal_days(question), source(question.chinese)
