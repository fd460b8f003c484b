"""What a search finds."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from agentmesh.card import AgentCard


class Hit(msgspec.Struct, frozen=True):
    """A skill that fits: `score` is from 0 (not at all) to 1; `load` is how many tasks wait for the agent."""

    topic: str
    skill: str
    score: float
    card: "AgentCard"
    alive: bool = True
    load: int = 0
