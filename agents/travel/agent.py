"""The travel agent: makes a self-drive itinerary around Hangzhou from a request and the weather of its days."""

import asyncio
from datetime import date, datetime
from typing import Annotated

from pydantic import Field

from agentmesh import Agent, Context, ModelUnavailable, skill

from .forecast import Forecast
from .guide import provenance
from .phrases import say
from .trip import MAX_TEXT, TripPlan, is_chinese, plan
from .writer import Writer


class TravelAgent(Agent):
    """Plans self-drive trips around Hangzhou, day by day, from a request and a forecast."""

    def __init__(self, today: date | None = None) -> None:
        """`today` counts only where neither forecast nor request has dates; without it, the machine's own."""
        super().__init__()
        self.today = today

    @skill(
        tags=[
            *("travel", "trip", "itinerary", "road trip", "self-drive", "places to visit", "where to go"),
            *("旅游", "自驾游", "行程", "路线", "方案", "攻略", "景点", "去哪里玩", "两天一夜"),
        ],
        examples=[
            "帮我做一个下周三到下周日杭州周边自驾游方案",
            "杭州周边三日自驾路线",
            "周末带孩子去千岛湖玩两天，安排一下行程",
            "下雨天去哪儿玩",
            "Plan a three-day road trip around Hangzhou",
            "An itinerary for a weekend drive to the water towns",
            "Where can we go if it rains?",
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
        model = ctx.model
        await ctx.progress("行程排好了" if chinese else "the itinerary is ready", fraction=0.6 if model else 1.0)
        if model is None:
            return trip
        return trip.model_copy(update={"text": await _in_words(Writer(model, ctx.emit), request, forecast, trip, ctx)})


async def _in_words(writer: Writer, request: str, forecast: Forecast, trip: TripPlan, ctx: Context) -> str:
    """The guide as the model writes it, and where it comes from; the one made by rule if the model writes none.

    A step: the model is not asked again after a crash.
    """
    chinese = is_chinese(request)

    async def words() -> str:
        try:
            key = f"{ctx.call_id}-text"
            text = await writer.write(request[:MAX_TEXT], forecast, trip, chinese=chinese, key=key)
        except ModelUnavailable as error:
            ctx.log.warning("the model wrote no guide", error=str(error))
            text, end = "", f"{trip.text}\n\n{say('no words', chinese)}"
        else:
            sources = provenance(forecast, chinese, places=any(day.stops for day in trip.days))
            end = "\n".join([say("about", chinese), say("by model", chinese), *sources])
        if writer.text:
            await ctx.emit(f"\n\n{end}")
        return f"{text}\n\n{end}".lstrip()

    return str(await ctx.once("text", words))
