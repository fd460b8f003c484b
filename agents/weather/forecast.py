"""What is passed from the agent that knows the weather to the agents that plan with it.

agents/weather and agents/travel hold the same file, since each folder can be taken away alone: what one answers as
`forecast` the other takes as `forecast`.
"""

import datetime as dt

from pydantic import BaseModel, Field


class Day(BaseModel):
    """The weather of one day."""

    date: dt.date
    weekday: str = Field(description="in the language of the request, such as 周三 or Wed")
    condition: str = Field(description="in the language of the request")
    low: int = Field(description="lowest temperature, °C")
    high: int = Field(description="highest temperature, °C")
    rain_chance: int = Field(description="chance of rain or snow, percent", ge=0, le=100)
    advice: str = Field(description="what to be ready for; may be empty")
    normal: bool = Field(default=False, description="true: no forecast, but what is normal at that time of the year")


class Forecast(BaseModel):
    """The weather of a city from `start` to `end`, day by day; no days if it is not known, and `note` says why."""

    city: str = Field(description="name of the city; empty if none was recognised")
    source: str = Field(description="where the values come from, to be shown with them")
    start: dt.date | None = Field(description="first day asked for, if known")
    end: dt.date | None = Field(description="last day asked for, if known")
    note: str = Field(description="what was assumed, or why there are no days; may be empty")
    days: list[Day]
