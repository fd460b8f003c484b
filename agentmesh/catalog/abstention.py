"""Whether a hit fits at all: a logistic function of a few parts of its score, so that a search can say "nothing fits".

The numbers are those that benchmarks/abstention.py prints: learnt on one half of the queries of its data, each asked of
catalogs of several sizes with its answer in them, and taken out of them. They are few, so that they hold for catalogs
that were not among that data.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

FITS: Final = 0.35
"""From which probability on a hit fits: what gave the best F1 on the half that was learnt from."""
BACKGROUND: Final = 10
NEARLY: Final = 0.97
"""Hits with so much of the best score are as good as the best."""


class Weights(NamedTuple):
    """Of the cosine and of the margin, and what is added."""

    meaning: float
    margin: float
    bias: float


BOTH: Final = Weights(3.61, 12.11, -2.95)
"""For a skill that shares the query's script."""
MEANING_ALONE: Final = Weights(4.6, 27.56, -3.31)
"""For a skill in another script."""
WORDS_ALONE: Final = Weights(0.0, 11.1, -1.66)
"""Without an embedder."""


def background(scores: Sequence[float]) -> float:
    """The mean score of what comes after the best and its equals, of `BACKGROUND` places, empty ones as 0.

    `scores` are in order, the best first. A hit's margin is its score beyond this: what fits stands out.
    """
    rest = [score for score in scores if score < NEARLY * scores[0]][:BACKGROUND]
    return sum(rest) / BACKGROUND


def probability(meaning: float | None, words: float | None, margin: float) -> float:
    """How likely it is that a skill fits; which weights count is told by the parts of its score that there are."""
    weights = WORDS_ALONE if meaning is None else MEANING_ALONE if words is None else BOTH
    x = weights.bias + weights.margin * margin + weights.meaning * (meaning or 0.0)
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, x))))
