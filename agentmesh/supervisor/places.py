"""The places in a text: by the words around them, and by the names of large cities."""

import re
from functools import cache
from typing import Literal

import msgspec

CITIES = """
北京 Beijing 上海 Shanghai 天津 Tianjin 重庆 Chongqing 广州 Guangzhou 深圳 Shenzhen 杭州 Hangzhou 南京 Nanjing
苏州 Suzhou 成都 Chengdu 武汉 Wuhan 西安 Xi'an 长沙 Changsha 郑州 Zhengzhou 青岛 Qingdao 宁波 Ningbo 无锡 Wuxi
佛山 Foshan 东莞 Dongguan 合肥 Hefei 济南 Jinan 福州 Fuzhou 厦门 Xiamen 泉州 Quanzhou 大连 Dalian 沈阳 Shenyang
长春 Changchun 哈尔滨 Harbin 石家庄 Shijiazhuang 太原 Taiyuan 南昌 Nanchang 昆明 Kunming 贵阳 Guiyang 南宁 Nanning
海口 Haikou 三亚 Sanya 兰州 Lanzhou 西宁 Xining 银川 Yinchuan 乌鲁木齐 Urumqi 呼和浩特 Hohhot 拉萨 Lhasa
温州 Wenzhou 绍兴 Shaoxing 嘉兴 Jiaxing 湖州 Huzhou 金华 Jinhua 台州 Taizhou 舟山 Zhoushan 衢州 Quzhou 丽水 Lishui
常州 Changzhou 扬州 Yangzhou 徐州 Xuzhou 桂林 Guilin 大理 Dali 丽江 Lijiang 黄山 Huangshan 珠海 Zhuhai 烟台 Yantai
威海 Weihai 洛阳 Luoyang 香港 Hongkong 澳门 Macau 台北 Taipei 高雄 Kaohsiung 乌镇 Wuzhen 千岛湖 莫干山 西湖
东京 Tokyo 大阪 Osaka 京都 Kyoto 首尔 Seoul 釜山 Busan 新加坡 Singapore 曼谷 Bangkok 清迈 普吉 Phuket 河内 Hanoi
吉隆坡 雅加达 Jakarta 马尼拉 Manila 孟买 Mumbai 德里 Delhi 迪拜 Dubai 多哈 Doha 伊斯坦布尔 Istanbul 莫斯科 Moscow
伦敦 London 巴黎 Paris 柏林 Berlin 慕尼黑 Munich 法兰克福 Frankfurt 马德里 Madrid 巴塞罗那 Barcelona 罗马 Rome
米兰 Milan 威尼斯 Venice 阿姆斯特丹 Amsterdam 苏黎世 Zurich 日内瓦 Geneva 维也纳 Vienna 布拉格 Prague 斯德哥尔摩
Stockholm 奥斯陆 Oslo 哥本哈根 Copenhagen 赫尔辛基 Helsinki 里斯本 Lisbon 雅典 Athens 开罗 Cairo 纽约 洛杉矶
旧金山 西雅图 Seattle 芝加哥 Chicago 波士顿 Boston 华盛顿 Washington 多伦多 Toronto 温哥华 Vancouver 悉尼 Sydney
墨尔本 Melbourne 奥克兰 Auckland 内罗毕 Nairobi
""".split()  # noqa: SIM905
"""Names that are known without a word that tells; others are found by “in …”, “from … to …”, 从…到…."""

_HAN_STOP = (
    "的了吗呢在从到去飞往至和与或，。；、！？周边附近旅游天今明后昨上下本这那坐乘怎有是玩出看订买查航高火机动酒住"
)
_HAN_NAME = rf"[^\W\d_a-zA-Z{_HAN_STOP}]{{2,6}}"
_LATIN_NAME = r"(?-i:[A-Z][\w'’-]+(?: [A-Z][\w'’-]+){0,2})"
_NO_NAME = re.compile(
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|january|february|march|april|may|june|july|august|september"
    r"|october|november|december|chinese|english|french|german|japanese|spanish|i|christmas",
    re.IGNORECASE,
)

Role = Literal["from", "to", ""]


class Place(msgspec.Struct, frozen=True):
    """A place, as the text names it from `begin` to `end`, and whether one goes there or comes from there."""

    begin: int
    end: int
    name: str
    role: Role = ""


@cache
def _patterns() -> list[tuple[re.Pattern[str], Role]]:
    han = "|".join(sorted((city for city in CITIES if not city.isascii()), key=len, reverse=True))
    latin = "|".join(city for city in CITIES if city.isascii())
    latin = rf"(?<![a-z])(?:{latin}|new york|san francisco|los angeles|hong kong|kuala lumpur)(?![a-z])"
    name = rf"(?P<name>{han}|{latin}|{_LATIN_NAME}|{_HAN_NAME})"
    patterns: list[tuple[str, Role]] = [
        (rf"(?:从|由|自)(?:{name})(?=市?(?:出发)?(?:到|去|飞|往|至|前往|出发|坐|乘|开))", "from"),
        (rf"(?:{name})(?=市?出发)", "from"),
        (rf"(?:到|去|飞往?|往|至|前往)(?P<name>{han})", "to"),
        (rf"(?P<name>{han})(?=市?(?:到|飞|至)(?:{han}))", "from"),
        (rf"(?<=[到去飞往至])(?P<name>{_HAN_NAME})(?=市?的)", "to"),
        (rf"\bfrom\s+(?P<name>{latin}|{_LATIN_NAME})", "from"),
        (rf"\bto\s+(?P<name>{latin}|{_LATIN_NAME})", "to"),
        (rf"\b(?:in|at|around|near|for|of|visit)\s+(?P<name>{latin}|{_LATIN_NAME})", ""),
        (rf"(?P<name>{han}|{latin})", ""),
    ]
    return [(re.compile(pattern, re.IGNORECASE), role) for pattern, role in patterns]


def places_in(text: str) -> list[Place]:
    """The places of a text, in order; where two readings overlap, the one that tells a role."""
    found: list[Place] = []
    for pattern, role in _patterns():
        for match in pattern.finditer(text):
            begin, end = match.span("name")
            taken = any(begin < other.end and other.begin < end for other in found)
            if not taken and not _NO_NAME.fullmatch(match["name"]):
                found.append(Place(begin, end, match["name"], role))
    return sorted(found, key=lambda place: place.begin)
