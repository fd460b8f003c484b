"""Reading a LiteTopic to its end."""

from typing import Final

from agentmesh.contracts import Log
from agentmesh.message import Entry

_PAGE: Final = 1000


async def read_all(log: Log, lite_topic: str, after: int = -1) -> list[Entry]:
    """Every entry past the offset `after` that is stored now, in order, read in pages."""
    entries: list[Entry] = []
    while True:
        page = await log.read(lite_topic, entries[-1].offset if entries else after, _PAGE)
        entries += page
        if len(page) < _PAGE:
            return entries
