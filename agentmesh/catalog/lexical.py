"""Search by words alone, at once and without a model."""

from collections.abc import Iterable

from agentmesh.catalog.hit import Hit
from agentmesh.catalog.scoring import score_words
from agentmesh.catalog.table import Table
from agentmesh.catalog.versions import preferred
from agentmesh.contracts import Registration

__all__ = ["LexicalCatalog", "preferred", "search"]


class LexicalCatalog:
    """The skills of these agents, ready to be searched; of several versions of an agent, the one to call."""

    def __init__(self, registrations: Iterable[Registration]) -> None:
        self._table = Table()
        for registration in preferred(registrations):
            self._table.put(registration)

    def search(self, query: str, limit: int = 5) -> list[Hit]:
        """The skills that share words with the query, best first, equals by topic and skill."""
        return score_words(self._table, query, limit)


def search(query: str, registrations: Iterable[Registration], limit: int = 5) -> list[Hit]:
    """One search in agents that are not searched again; else keep a `LexicalCatalog`."""
    return LexicalCatalog(registrations).search(query, limit)
