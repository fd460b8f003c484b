"""Of several versions of an agent, the one to call."""

import re
from collections.abc import Iterable

from agentmesh.contracts import Registration


def preferred(registrations: Iterable[Registration]) -> list[Registration]:
    """One registration a topic, by topic: an alive one before a dead, then the highest version."""
    best: dict[str, Registration] = {}
    for one in sorted(registrations, key=lambda one: (one.alive, version_key(one.version))):
        best[one.topic] = one
    return [best[topic] for topic in sorted(best)]


def version_key(version: str) -> list[tuple[int, str]]:
    """An order in which 1.10 comes after 1.9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.+-]", version)]
