"""Finding the agents that fit a text."""

from agentmesh.catalog.hit import Hit
from agentmesh.catalog.lexical import LexicalCatalog, search

__all__ = ["Hit", "LexicalCatalog", "search"]
