"""Which topic an agent has that was found by its card."""

import re
from typing import Final

from agentmesh.card import BINDING, AgentCard
from agentmesh.ids import TOPIC, digest

_OURS: Final = "agentmesh:"
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9]+")
_SLUG: Final = 40
_MARK: Final = 13
"""Characters of a digest, 65 bits: enough that no two agents anywhere meet."""


def topic_of(card: AgentCard, place: str) -> str:
    """The topic that the card names, if it is one of an agentmesh; else one made of the agent's name and `place`, where
    it lives: without that, its first interface's URL. It stays the same while these do, whatever else the card says;
    two agents of one name at two places have two.
    """
    for interface in card.supported_interfaces:
        if interface.protocol_binding == BINDING and interface.url.startswith(_OURS):
            topic = interface.url.removeprefix(_OURS)
            if TOPIC.match(topic):
                return topic
    place = place or next((each.url for each in card.supported_interfaces), "")
    slug = _FOREIGN.sub("-", card.name).strip("-")[:_SLUG].strip("-")
    if not slug[:1].isalpha():
        slug = f"Agent-{slug}".strip("-")
    return f"{slug}-{digest(card.name, place)[:_MARK]}"
