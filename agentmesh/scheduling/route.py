"""Which version of an agent a message goes to."""

from collections.abc import Mapping
from hashlib import blake2b


def pick(weights: Mapping[str, int], message_id: str) -> str:
    """The version for this message, by its share; the same id always gets the same. At least one weight is above 0."""
    total = sum(weights.values())
    ticket = int.from_bytes(blake2b(message_id.encode(), digest_size=8).digest(), "big") % total
    for version in sorted(weights):
        ticket -= weights[version]
        if ticket < 0:
            return version
    raise AssertionError("the shares add up to the total")
