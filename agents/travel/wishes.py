"""What a request says about the trip besides its dates: what one likes, and where one wants to go or not."""

import re
from dataclasses import dataclass

from .places import Place, places

_LIKES = (
    (r"古镇|水乡|古村|老街|old town|ancient town|water town|village", ("old_town", "old_street", "village"), 2.5),
    (r"爬山|登山|徒步|山水|看山|hik|mountain|nature", ("mountain", "forest", "valley", "waterfall"), 2.5),
    (r"湖|玩水|游船|lake|boat", ("lake", "river", "wetland"), 2.5),
    (r"博物馆|历史|文化|人文|museum|histor|cultur", ("museum", "memorial", "ruins", "temple"), 2.5),
    (r"孩子|小孩|亲子|带娃|宝宝|kids?\b|child|famil", ("cave", "wetland", "garden", "lake"), 1.5),
    (r"溶洞|\bcaves?\b", ("cave",), 2.5),
    (r"老人|父母|爸妈|长辈|elderly|parents|senior", ("mountain", "valley", "waterfall"), -2.5),
    (r"不爬山|不想爬山|不要爬山|no hik|no mountain", ("mountain", "forest", "valley", "waterfall"), -6.0),
)
_REGIONS = {
    "fuyang": "富阳|fuyang",
    "tonglu": "桐庐|富春江|tonglu|fuchun",
    "qiandao": "千岛湖|淳安|qiandao|chun'an",
    "jiande": "建德|jiande",
    "linan": "临安|天目|lin'an|tianmu",
    "changhua": "昌化|changhua",
    "deqing": "德清|莫干山|deqing|mogan",
    "anji": "安吉|anji",
    "wuzhen": "湖州|乌镇|南浔|huzhou|wuzhen|nanxun",
    "jiaxing": "嘉兴|西塘|海宁|jiaxing|xitang|haining",
    "shaoxing": "绍兴|shaoxing",
}
_AROUND = re.compile(r"周边|周围|附近|郊|around|near|outside|surround", re.IGNORECASE)
_NOT = re.compile(
    r"(?:不去|不想去|不要去|别去|去过了?|避开)[^，。；,.;但想要去]{0,12}$"
    r"|\b(?:not|no|avoid|except|skip|without)\b(?:(?!\bbut\b|\bwant)[^,.;]){0,30}$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Wishes:
    """`likes`: what is added to the worth of a kind of place; `wanted`, `unwanted`: places by their Chinese names."""

    likes: dict[str, float]
    wanted: frozenset[str]
    unwanted: frozenset[str]
    regions: frozenset[str]
    around: bool


def read_wishes(request: str) -> Wishes:
    """The wishes in a request; “周边” and “around” mean outside the city."""
    likes: dict[str, float] = {}
    for pattern, kinds, worth in _LIKES:
        if re.search(pattern, request, re.IGNORECASE):
            likes |= {kind: likes.get(kind, 0.0) + worth for kind in kinds}
    named = {place.name.zh: _named(place, request) for place in places()}
    return Wishes(
        likes=likes,
        wanted=frozenset(name for name, wanted in named.items() if wanted),
        unwanted=frozenset(name for name, wanted in named.items() if wanted is False),
        regions=frozenset(region for region, words in _REGIONS.items() if _asked(words, request)),
        around=_AROUND.search(request) is not None,
    )


def _asked(pattern: str, request: str) -> bool | None:
    """Whether the request names this as a place to go to (True) or to leave out (False); None if not at all."""
    match = re.search(pattern, request, re.IGNORECASE)
    return None if match is None else _NOT.search(request[: match.start()]) is None


def _named(place: Place, request: str) -> bool | None:
    return _asked("|".join(map(re.escape, _words(place))), request)


def _words(place: Place) -> list[str]:
    """The words a place is known by: 西塘古镇 is also 西塘, 灵隐寺·飞来峰 also 灵隐寺."""
    parts = re.split(r"[·（）]", place.name.zh)[:1] + re.split(r" and | \(|,", place.name.en)[:1]
    short = re.sub(r"(?:古镇|湿地|国家森林公园|中心湖区|西栅|观潮胜地)$", "", parts[0])
    return [word for word in (*parts, short) if len(word) > 1]
