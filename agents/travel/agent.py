"""The travel agent: makes a self-drive itinerary around Hangzhou from a request and the weather of its days."""

import asyncio
from datetime import date, datetime
from typing import Annotated

from pydantic import Field

from agentmesh import Agent, Context, skill

from .forecast import Forecast
from .trip import TripPlan, is_chinese, plan


class TravelAgent(Agent):
    """Plans self-drive trips around Hangzhou, day by day, from a request and a forecast."""

    def __init__(self, today: date | None = None) -> None:
        """`today` counts only where neither forecast nor request has dates; without it, the machine's own."""
        super().__init__()
        self.today = today

    @skill(
        tags=[
            "travel",
            "trip",
            "itinerary",
            "road trip",
            "self-drive",
            "旅游",
            "自驾游",
            "行程",
            "路线",
            "方案",
            "攻略",
        ],
        examples=[
            "帮我做一个下周三到下周日杭州周边自驾游方案",
            "杭州周边三日自驾路线",
            "周末带孩子去千岛湖玩两天，安排一下行程",
            "Plan a three-day road trip around Hangzhou",
            "An itinerary for a weekend drive to the water towns",
        ],
    )
    async def plan(
        self,
        request: Annotated[str, Field(description="what is wanted, as a sentence: likes, places, dates")],
        forecast: Annotated[
            Forecast, Field(description="the weather of the days to plan for, from an agent that knows it")
        ],
        *,
        ctx: Context,
    ) -> TripPlan:
        """Day-by-day self-drive itinerary: route, stops, driving times, overnight places. 按天的自驾行程和路线方案。"""
        chinese = is_chinese(request)
        count = len(forecast.days)
        await ctx.progress(
            f"按 {count} 天的天气排路线" if chinese else f"routing {count} days by weather", fraction=0.3
        )
        today = self.today or datetime.now().astimezone().date()
        trip = await asyncio.to_thread(plan, request, forecast, today)
        await ctx.progress("行程排好了" if chinese else "the itinerary is ready", fraction=1.0)
        return trip
