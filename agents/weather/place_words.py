"""A guess at the place that a sentence is about, where none of the known cities is named in it."""

import re
import unicodedata
from itertools import chain

from .date_words import find

_MAX_TEXT = 2000  # characters of a sentence that are read
_ASKING = re.compile(
    "帮我|帮忙|请问|告诉我|给我|我想知道|想知道|想看看|我想|我要|想去|要去|打算|计划|准备|规划|安排|查一下|查一查|查查|查询|"
    "看一下|看看|做一个|做个|做一份|来个|一个|一下|关于|请|查|和朋友|带孩子|带老人|自己|全家|一起|去一趟|是不是|是否|还是"
)
_BETWEEN_DATES = re.compile(r"(?<=\s)[到至和、~—–-]+(?=\s)")
_TOPICS = (
    "天气|气温|温度|气候|预报|周边|周围|附近|郊区|会不会|会下|会有|下雨|下雪|有雨|有雪|有没有|要不要|需要|要带|带伞|多少度|几度|"
    "冷|热|晴|自驾|旅游|旅行|游玩|之旅|行程|攻略|方案|路线|怎么样|如何|怎样|玩|游"
)
_CHINESE = (
    re.compile(rf"[去到在往飞]([\u3400-\u9fff]{{2,6}}?)\s*的?\s*(?:{_TOPICS}|[，。！？,.!?]|$)"),
    re.compile(rf"(?<![\u3400-\u9fff])([\u3400-\u9fff]{{2,8}}?)\s*的?\s*(?:{_TOPICS})"),
)
_NOT_PLACES = re.compile(
    f"{_TOPICS}|.*(?:哪|什么|怎).*|[去到在往飞].*|[今明后]天|最近|[这那哪][里儿边]|[当本]地|外面|国[内外]|家里|老家|海边|山[里上]|城里|室内|户外|[我你]们"
)
_NAME = r"[A-Z][\w'’-]*(?:[ ](?:[A-Z][\w'’.-]*|de|la|del|upon|am|of))*"
_ENGLISH = (
    re.compile(rf"\b(?:[Ii]n|[Ff]or|[Aa]t|[Aa]round|[Nn]ear|[Oo]f|[Tt]o|[Vv]isit)\s+({_NAME})"),
    re.compile(rf"({_NAME})\s+(?:[Ww]eather|[Ff]orecast|[Tt]emperatures?|road trip|itinerary)\b"),
    re.compile(
        r"\b(?:weather|rain|snow|hot|cold|warm|temperature|forecast)\s+(?:in|for|at|near)\s+([a-z][a-z'’-]{2,})"
    ),
)
_NOT_NAMES = {"the", "a", "an", "my", "our", "your", "this", "that", "here", "there", "i", "me", "it", "weather"}


def guess(sentence: str) -> str:
    """The word before what is asked about it, or after “in”, “around”, …; empty where there is none."""
    text = unicodedata.normalize("NFKC", sentence[:_MAX_TEXT])
    words, lengths = find(text)
    spans = [(word.begin, word.end) for word in words] + [(length.begin, length.end) for length in lengths]
    for begin, end in spans:
        text = text[:begin] + " " * (end - begin) + text[end:]
    plain = _ASKING.sub(" ", _BETWEEN_DATES.sub(" ", text))
    found = (match[1] for pattern in _CHINESE for match in pattern.finditer(plain))
    names = (match[1].rstrip(" .'’-") for pattern in _ENGLISH for match in pattern.finditer(text))
    chinese = (word for word in found if not _NOT_PLACES.fullmatch(word))
    english = (name for name in names if name.casefold() not in _NOT_NAMES)
    return next(chain(chinese, english), "")
