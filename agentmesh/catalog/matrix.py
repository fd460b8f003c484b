"""Vectors of rows, and their cosines with a query: exact, without an index to keep.

What a search costs is the memory it reads. Where there are many rows, all vectors are turned so that most of what tells
them apart is in the first half of their dimensions. One pass over those halves bounds each cosine (Cauchy-Schwarz: what
the other halves add is no more than the product of their lengths), and only the few rows that can still be among the
best are computed in full: the outcome is that of the whole computation.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from numpy import float32, intp
    from numpy.typing import NDArray

_BLOCK: Final = 4096
MANY: Final = 16 * _BLOCK
"""Rows from which on it pays to turn them."""
_SHARED: Final = 3
"""Blocks from which on two threads are faster than one."""

_SAMPLE: Final = 2 * _BLOCK
_FIRST_LOOK: Final = 1024
_threads: Final = ThreadPoolExecutor(2, "agentmesh-matrix")


class Matrix:
    """Unit vectors by row, in blocks, so that a row more copies nothing. Rows without a vector have a cosine of 0."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[float32]] = []
        self._turn: NDArray[float32] | None = None
        self._heads: list[NDArray[float32]] = []
        self._tails: list[NDArray[float32]] = []

    def put(self, row: int, vector: "NDArray[float32]") -> None:
        """The vector of a row, as it is. All have one length."""
        import numpy as np

        while len(self._blocks) * _BLOCK <= row:
            self._blocks.append(np.zeros((_BLOCK, len(vector)), np.float32))
            if self._turn is not None:
                self._halve(self._blocks[-1], self._turn)
        block, at = divmod(row, _BLOCK)
        self._blocks[block][at] = vector
        if self._turn is not None:
            self._heads[block][at] = vector @ self._turn
            self._tails[block][at] = _rest(self._heads[block][at])

    def vector(self, row: int) -> "NDArray[float32] | None":
        """That of a row, if there can be one."""
        block, at = divmod(row, _BLOCK)
        return self._blocks[block][at] if block < len(self._blocks) else None

    def cosines(self, query: "NDArray[float32]", rows: int) -> "NDArray[float32]":
        """With each of the first so many rows."""
        return _products(self._blocks, query, rows)

    def best_cosines(
        self, query: "NDArray[float32]", others: "NDArray[float32]", count: int
    ) -> "NDArray[float32] | None":
        """The cosines of at least those rows of which max(0, cosine) + `others` is among the `count` largest, and -1
        for the rest; None where all are computed as quickly.
        """
        import numpy as np

        rows = len(others)
        if rows < MANY or count + _FIRST_LOOK > rows:
            return None
        if self._turn is None:
            self._turn_all()
            assert self._turn is not None
        head = query @ self._turn
        bounds = np.concatenate(self._tails)[:rows] * _rest(head)
        bounds += _products(self._heads, head, rows)
        np.maximum(bounds, 0, out=bounds)
        bounds += others
        found = np.full(rows, -1, np.float32)
        first = np.argpartition(bounds, rows - _FIRST_LOOK)[rows - _FIRST_LOOK :]
        found[first] = self._some(query, first)
        scores = np.maximum(found[first], 0) + others[first]
        least = np.partition(scores, len(first) - count)[len(first) - count]
        bounds[first] = -1
        more = np.flatnonzero(bounds >= least - np.float32(1e-4))
        found[more] = self._some(query, more)
        return found

    def _some(self, query: "NDArray[float32]", rows: "NDArray[intp]") -> "NDArray[float32]":
        """With each of these rows."""
        import numpy as np

        found = np.zeros(len(rows), np.float32)
        blocks = rows // _BLOCK
        for number in np.unique(blocks):
            here = blocks == number
            found[here] = np.einsum("ij,j->i", self._blocks[number][rows[here] % _BLOCK], query)
        return found

    def _turn_all(self) -> None:
        """Find the directions that tell the rows apart best, in a sample of them."""
        import numpy as np

        step = -(-len(self._blocks) * _BLOCK // _SAMPLE)
        sample = np.concatenate([block[::step] for block in self._blocks])
        _, directions = np.linalg.eigh(sample.T @ sample)
        self._turn = np.ascontiguousarray(directions[:, ::-1][:, : sample.shape[1] // 2], np.float32)
        for block in self._blocks:
            self._halve(block, self._turn)

    def _halve(self, block: "NDArray[float32]", turn: "NDArray[float32]") -> None:
        import numpy as np

        head = block @ turn
        self._heads.append(head)
        self._tails.append(np.sqrt(np.maximum(0, 1 - np.einsum("ij,ij->i", head, head))))


def _products(blocks: Sequence["NDArray[float32]"], query: "NDArray[float32]", rows: int) -> "NDArray[float32]":
    import numpy as np

    found = np.zeros(max(rows, len(blocks) * _BLOCK), np.float32)

    def multiply(numbers: range) -> None:  # not by `dot`, whose threads spin against each other on a busy machine
        for number in numbers:
            np.einsum("ij,j->i", blocks[number], query, out=found[number * _BLOCK : (number + 1) * _BLOCK])

    if len(blocks) < _SHARED:
        multiply(range(len(blocks)))
    else:
        list(_threads.map(multiply, (range(first, len(blocks), 2) for first in (0, 1))))
    return found[:rows]


def _rest(head: "NDArray[float32]") -> "float32":
    """The length of the rest of a unit vector."""
    import numpy as np

    return np.float32(np.sqrt(max(0.0, 1.0 - float(head @ head))))


def units(groups: Sequence[Sequence["NDArray[float32]"]]) -> Sequence["NDArray[float32]"]:
    """Of each group of vectors the direction of their sum."""
    import numpy as np

    if not groups:
        return ()
    begins = np.cumsum([0, *map(len, groups[:-1])])
    totals = np.add.reduceat(np.stack([vector for group in groups for vector in group]), begins, axis=0)
    lengths = np.sqrt(np.einsum("ij,ij->i", totals, totals))
    lengths[lengths == 0] = 1
    directions: Sequence[NDArray[float32]] = totals / lengths[:, None]
    return directions
