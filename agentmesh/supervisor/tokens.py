"""How many tokens a model is charged for a text, without its tokenizer.

The approximation: four ASCII letters of prose or three and a half characters of JSON are about one token in the
encodings in use (cl100k, o200k, Qwen); a CJK character is about one, and any other character of several bytes, such as
an emoji, about two. A function costs about eight more for what the endpoint wraps around it.
"""

import json
import math
import re
from collections.abc import Iterable

from agentmesh.contracts import Function

ASCII_PER_TOKEN = 3.5
AROUND_A_FUNCTION = 8

_ASCII = re.compile(r"[\x00-\x7f]+")
_CJK = re.compile("[\u3000-\u30ff㐀-鿿가-힯\uff00-\uffef]")


def tokens_in(text: str) -> int:
    """About how many tokens a text is."""
    plain = sum(len(run) for run in _ASCII.findall(text))
    cjk = len(_CJK.findall(text))
    return math.ceil(plain / ASCII_PER_TOKEN + cjk + 2 * (len(text) - plain - cjk))


def tokens_of(functions: Iterable[Function]) -> int:
    """About how many tokens a list of functions adds to each request."""
    return sum(
        tokens_in(one.name + one.description + json.dumps(one.parameters, ensure_ascii=False)) + AROUND_A_FUNCTION
        for one in functions
    )
