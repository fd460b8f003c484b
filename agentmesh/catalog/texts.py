"""Which texts of a card are searched: those whose words count, and those whose meaning does."""

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from agentmesh.catalog.words import LONGEST_TEXT

if TYPE_CHECKING:
    from agentmesh.card import AgentCard, AgentSkill

MOST_TEXTS: Final = 64
"""Of tags, examples and parameters, each."""
MOST_EXAMPLES: Final = 5
LONGEST_EMBEDDED: Final = 600
"""Characters of a description or of all examples; what comes after them would only blur the vector."""


def word_texts(card: "AgentCard", skill: "AgentSkill") -> Iterator[str]:
    """The texts whose words count, each for itself; all tags are one, all examples and all parameters too, so that
    saying a word often gains nothing.
    """
    yield from dict.fromkeys((card.name, card.description, skill.id, skill.name, skill.description))
    for texts in (skill.tags, skill.examples, _parameters(card, skill.id)):
        joined = "\n".join(text[:LONGEST_TEXT] for text in islice(texts, MOST_TEXTS))
        if joined:
            yield joined


def meanings(card: "AgentCard", skill: "AgentSkill") -> tuple[str, ...]:
    """The texts whose meaning counts: the agent's, and the skill's if it says more."""
    agent = _joined(card.name, card.description[:LONGEST_EMBEDDED])
    name = skill.name if skill.name and skill.name != skill.id else skill.id
    examples = " ".join(skill.examples[:MOST_EXAMPLES])[:LONGEST_EMBEDDED]
    told = [skill.description[:LONGEST_EMBEDDED] if skill.description != card.description else "", examples]
    own = _joined(name, *told) if any(told) or (len(card.skills) > 1 and name != card.name) else ""
    return tuple(text for text in (agent, own) if text)


def _joined(*parts: str) -> str:
    return ". ".join(part.strip().rstrip(".") for part in parts if part.strip())


def _parameters(card: "AgentCard", skill_id: str) -> Iterator[str]:
    """Names of the parameters, with what is said of them."""
    schema = card.schemas(skill_id)[0]
    properties = schema.get("properties") if schema else None
    if not isinstance(properties, dict):
        return
    for name, each in properties.items():
        told = each.get("description") if isinstance(each, dict) else None
        yield f"{name} {told}" if isinstance(told, str) else str(name)
