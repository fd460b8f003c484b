"""What is computed in part is what the whole computation finds."""

import numpy as np
import pytest

from agentmesh.catalog.matrix import MANY, Matrix


@pytest.mark.slow
@pytest.mark.parametrize("spread", [1.0, 0.2], ids=["in all directions", "in few directions"])
def test_the_best_of_many_rows_are_those_of_the_whole_computation(spread: float) -> None:
    random = np.random.default_rng(1)
    weights = spread ** np.arange(32, dtype=np.float32).clip(0, 8)
    vectors = (random.standard_normal((MANY + 100, 32)) * weights).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    matrix = Matrix()
    for row, vector in enumerate(vectors[:-50]):
        matrix.put(row, vector)
    others = (random.random(MANY + 100) < 0.01) * random.random(MANY + 100).astype(np.float32)
    others[7] = -2.0
    for number in range(6):
        if number == 3:  # after the turn
            for row in range(MANY + 50, MANY + 100):
                matrix.put(row, vectors[row])
        query = (random.standard_normal(32) * weights).astype(np.float32)
        query /= np.linalg.norm(query)
        exact = matrix.cosines(query, MANY + 100)
        found = matrix.best_cosines(query, others, 40)
        assert found is not None
        best = np.argsort(-(np.maximum(exact, 0) + others))[:40]
        assert np.allclose(found[best], exact[best], atol=1e-6)
        assert ((found == -1) | np.isclose(found, exact, atol=1e-6)).all()


def test_few_rows_are_computed_whole() -> None:
    matrix = Matrix()
    matrix.put(3, np.array([0.6, 0.8], np.float32))
    query = np.array([0, 1], np.float32)
    assert matrix.best_cosines(query, np.zeros(4, np.float32), 1) is None
    assert matrix.cosines(query, 5).tolist() == pytest.approx([0, 0, 0, 0.8, 0])
