"""Which rows hold which terms: BM25 as the share of a query's words that a row covers.

BM25: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009). Three things differ. A term's frequency is
the number of a row's texts (name, description, tags, examples, …) that hold it, so that repeating a word gains nothing.
Lengths are measured by their geometric mean, so that one long row does not make the others short. The score is divided
by the best that a short text could reach for the query, so that it says how much of what matters in the query was
understood, however long it is, and a threshold can say that nothing fits.
"""

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import chain
from typing import TYPE_CHECKING, Final

from agentmesh.catalog.words import Term, stems

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

K1: Final = 1.2
B: Final = 0.5
_COUNTS: Final = 16
IDEAL: Final = 6
"""So many of a query's weightiest terms are all that a card could be about."""


class Postings:
    """Rows by term. A row that is removed leaves its place empty; numbers are not given twice."""

    def __init__(self) -> None:
        self._held: dict[str, array[int]] = {}
        """Of each term, the rows in order, each times 16 plus how often it has the term."""
        self._gone: Counter[str] = Counter()
        self._lengths = array("f")
        self._logarithms = 0.0
        self._alive = 0

    def add(self, texts: Iterable[str]) -> Collection[str]:
        """Add a row, and tell its terms."""
        row = len(self._lengths) * _COUNTS
        counts = _counted(texts)
        held = self._held
        for term, count in counts.items():
            rows = held.get(term)
            if rows is None:
                rows = held[term] = array("I")
            rows.append(row + (count if count < _COUNTS else _COUNTS - 1))
        length = counts.total()
        self._lengths.append(length)
        self._logarithms += math.log(1 + length)
        self._alive += 1
        return counts.keys()

    def remove(self, texts: Iterable[str]) -> None:
        """Count a row no longer that was added with these texts. Its coverage is meaningless from now on."""
        counts = _counted(texts)
        self._gone.update(counts.keys())
        self._logarithms -= math.log(1 + counts.total())
        self._alive -= 1

    def coverage(self, query: Mapping[str, Term]) -> "NDArray[float32]":
        """Of each row, which share of the query it covers, from 0 to 1."""
        import numpy as np

        scores = np.zeros(len(self._lengths), np.float32)
        if not self._lengths:
            return scores
        average = math.exp(round(self._logarithms / max(1, self._alive), 6))
        lengths = K1 * (1 - B + B / average * np.frombuffer(self._lengths, np.float32))
        weights = []
        for term, (weight, _) in query.items():
            held = self._held.get(term)
            known = len(held) - self._gone[term] if held else 0
            weight *= math.log(1 + (self._alive + 1) / (max(1, known) + 1))
            weights.append(weight)
            if held:
                entries = np.frombuffer(held, np.uint32)
                rows, counts = entries // _COUNTS, (entries % _COUNTS).astype(np.float32)
                scores[rows] += np.float32(weight) * counts / (counts + lengths[rows])
        best = np.float32(sum(nlargest(IDEAL, weights)))
        return np.minimum(scores / best, np.float32(1)) if best else scores

    def matched(self, query: Mapping[str, Term], rows: Sequence[int]) -> list[tuple[str, ...]]:
        """Of each of these rows, the words of the query that it holds, as the query wrote them."""
        found: list[list[str]] = [[] for _ in rows]
        for term, (_, written) in query.items():
            held = self._held.get(term, ())
            for number, row in enumerate(rows):
                at = bisect_left(held, row * _COUNTS)
                if at < len(held) and held[at] // _COUNTS == row:
                    found[number].append(written)
        return [_longest(each) for each in found]


def _counted(texts: Iterable[str]) -> Counter[str]:
    return Counter(chain.from_iterable(map(stems, texts)))


def _longest(words: list[str]) -> tuple[str, ...]:
    """Without the single characters of pairs that are there too."""
    pairs = "".join(word for word in words if len(word) > 1)
    return tuple(word for word in words if len(word) > 1 or word not in pairs)
