"""The score of a skill for a query: how near its meaning is, and how many of the query's words it covers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from agentmesh.catalog.abstention import BACKGROUND, FITS, background, probability
from agentmesh.catalog.hit import Hit, Why
from agentmesh.catalog.matrix import Matrix
from agentmesh.catalog.table import Accepts, Place, Table, mask
from agentmesh.catalog.words import scripts, terms

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

WORDS: Final = 1.5
"""How much covering all words counts, beside a cosine of 1."""


def score_words(table: Table, query: str, limit: int, accepts: Accepts | None = None) -> list[Hit]:
    """The hits by words alone; the score is the share of the query's words that a skill covers."""
    wanted = terms(query)
    if limit <= 0 or not wanted:
        return []
    words = table.postings.coverage(wanted)
    best = table.best(words, limit + BACKGROUND, accepts)
    return _hits(table, query, best, limit, words, words, None)


def score_both(
    table: Table, matrix: Matrix, query: str, vector: "NDArray[float32]", limit: int, accepts: Accepts | None = None
) -> list[Hit]:
    """The hits by words and meaning, given the vector of the query.

    A card that is in none of the query's scripts cannot share its words: there the cosine stands alone.
    """
    import numpy as np

    if limit <= 0 or not query.strip():
        return []
    wanted = terms(query)
    words = table.postings.coverage(wanted)
    of_rows = np.frombuffer(table.scripts, np.uint8)
    if asked := mask(scripts(wanted)):
        words[(of_rows & asked) == 0] = 0.0
    others = np.float32(WORDS) * words
    others[of_rows == 0] = -WORDS
    count = limit + BACKGROUND
    meaning = matrix.best_cosines(vector, others, 4 * count)
    if meaning is not None:
        scores = np.where(meaning < -0.5, np.float32(0), _fused(meaning, others))
        best = table.best(scores, count, accepts)
        if len(best) == count:
            return _hits(table, query, best, limit, scores, words, meaning)
    meaning = matrix.cosines(vector, len(words))
    scores = _fused(meaning, others)
    return _hits(table, query, table.best(scores, count, accepts), limit, scores, words, meaning)


def _fused(meaning: "NDArray[float32]", others: "NDArray[float32]") -> "NDArray[float32]":
    import numpy as np

    scores: NDArray[float32] = (np.maximum(meaning, 0) + others) / np.float32(1 + WORDS)
    return scores


def _hits(
    table: Table,
    query: str,
    best: Sequence[Place],
    limit: int,
    scores: "NDArray[float32]",
    words: "NDArray[float32]",
    meaning: "NDArray[float32] | None",
) -> list[Hit]:
    """The first of the best rows, with what there is to tell of them."""
    beyond = background([float(scores[row]) for row, _, _ in best]) if best else 0.0
    wanted = terms(query)
    asked = mask(scripts(wanted))
    first = best[:limit]
    matched = table.postings.matched(wanted, [row for row, _, _ in first])
    found = []
    for (row, registration, skill), written in zip(first, matched, strict=True):
        shared = not asked or bool(table.scripts[row] & asked)
        why = Why(
            words=round(float(words[row]), 6) if shared else None,
            matched=written if shared else (),
            meaning=None if meaning is None else round(float(meaning[row]), 6),
            margin=round(float(scores[row]) - beyond, 6),
        )
        likely = probability(why.meaning, why.words, why.margin)
        found.append(
            Hit(
                registration.topic,
                skill.id,
                round(float(scores[row]), 6),
                registration.card,
                registration.alive,
                fits=likely >= FITS,
                why=msgspec.structs.replace(why, probability=round(likely, 6)),
                version=registration.version,
            )
        )
    return found
