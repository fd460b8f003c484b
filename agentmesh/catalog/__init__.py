"""Finding the agents that fit a text."""

from agentmesh.catalog.catalog import Catalog
from agentmesh.catalog.filters import Filters
from agentmesh.catalog.hit import Hit, Why
from agentmesh.catalog.index import Index
from agentmesh.catalog.lexical import LexicalCatalog, search

__all__ = ["Catalog", "Filters", "Hit", "Index", "LexicalCatalog", "Why", "search"]
