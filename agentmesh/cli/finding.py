"""What `agentmesh doctor` tells."""

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """What was found about an area, and what mends it."""

    area: str
    status: Literal["ok", "warn", "fail"]
    text: str
    fix: str = ""
