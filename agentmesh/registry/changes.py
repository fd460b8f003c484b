"""What is different about the registrations of a topic: how a registry that can only look turns into a watch."""

from collections.abc import Iterator, Sequence

from agentmesh.contracts import Change, Registration

Known = dict[tuple[str, str], Registration]
"""By topic and version."""


def changes(known: Known, topic: str, found: Sequence[Registration]) -> Iterator[Change]:
    """What is different about a topic, or about all when there is none; `known` is what was told and is kept up."""
    now = {(each.topic, each.version): each for each in found}
    for key in [key for key in known if topic in ("", key[0]) and key not in now]:
        yield Change("removed", known.pop(key))
    for key, each in now.items():
        before = known.get(key)
        known[key] = each
        if each.alive and not (before and before.alive and before.card == each.card):
            yield Change("online", each)
        elif before and before.alive and not each.alive:
            yield Change("offline", each)
