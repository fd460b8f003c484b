"""What the weather codes of a forecast mean.

WMO code table 4677 as Open-Meteo uses it: https://open-meteo.com/en/docs, “WMO Weather interpretation codes”.
"""

_CODES = {
    0: ("晴", "clear"),
    1: ("晴间少云", "mainly clear"),
    2: ("多云", "partly cloudy"),
    3: ("阴", "overcast"),
    45: ("雾", "fog"),
    48: ("雾凇", "rime fog"),
    51: ("零星小雨", "light drizzle"),
    53: ("毛毛雨", "drizzle"),
    55: ("细密小雨", "dense drizzle"),
    56: ("冻毛毛雨", "light freezing drizzle"),
    57: ("冻毛毛雨", "freezing drizzle"),
    61: ("小雨", "light rain"),
    63: ("中雨", "rain"),
    65: ("大雨", "heavy rain"),
    66: ("小冻雨", "light freezing rain"),
    67: ("冻雨", "freezing rain"),
    71: ("小雪", "light snow"),
    73: ("中雪", "snow"),
    75: ("大雪", "heavy snow"),
    77: ("米雪", "snow grains"),
    80: ("小阵雨", "light showers"),
    81: ("阵雨", "showers"),
    82: ("强阵雨", "violent showers"),
    85: ("小阵雪", "light snow showers"),
    86: ("强阵雪", "heavy snow showers"),
    95: ("雷阵雨", "thunderstorm"),
    96: ("雷阵雨伴小冰雹", "thunderstorm with light hail"),
    99: ("雷阵雨伴冰雹", "thunderstorm with hail"),
}


def sky(code: int, chinese: bool) -> str:
    """The condition that a code stands for; empty for one that is not in the table."""
    han, english = _CODES.get(code, ("", ""))
    return han if chinese else english
