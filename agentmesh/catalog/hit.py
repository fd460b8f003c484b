"""What a search finds."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from agentmesh.card import AgentCard


class Why(msgspec.Struct, frozen=True, omit_defaults=True):
    """The parts of a hit's score.

    `meaning` is the cosine between the query and the skill, from -1 to 1, absent where nothing was embedded. `words` is
    the share of the query's words that the skill covers, from 0 to 1, each by how rare it is, and `matched` names them;
    absent where the card is in another script than the query. `margin` is the score beyond that of what comes next.
    `probability` is how likely it is that the skill fits at all. What follows settles only near-ties: `waiting` and
    `running` tasks of the topic, the share `succeeded` of its calls, the `seconds` that one took and how many
    milliseconds ago its agent was last heard of (`silent`), as far as they are known.
    """

    words: float | None = None
    matched: tuple[str, ...] = ()
    meaning: float | None = None
    margin: float = 0.0
    probability: float = 0.0
    waiting: int | None = None
    running: int | None = None
    succeeded: float | None = None
    seconds: float | None = None
    silent: int | None = None


class Hit(msgspec.Struct, frozen=True):
    """A skill that is near: `score` is from 0 (not at all) to 1, and `fits` says whether it is near enough to be used.

    `version` is that of the agent, `load` how many tasks it has, waiting and running. `why` holds the parts of the
    score.
    """

    topic: str
    skill: str
    score: float
    card: "AgentCard"
    alive: bool = True
    load: int = 0
    fits: bool = True
    why: Why = Why()
    version: str = ""
