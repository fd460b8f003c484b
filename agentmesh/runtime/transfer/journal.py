"""The journal of an import: how far it is, in a log of the mesh that it fills.

So an import that is begun again goes on where it was, whatever process or machine it runs on; the log is no part of
what is exported from there.
"""

from typing import Final

from agentmesh.contracts import Log, LogInfo
from agentmesh.ids import own_log
from agentmesh.message import Draft
from agentmesh.runtime.reading import read_all

_TITLE: Final = "agentmesh import "
_OWNER: Final = ""
"""No tenant has this name."""


class Journal:
    """Which `frames` of an export are in the mesh: all before that number; and the `topics` that it made there."""

    def __init__(self, log: Log, export: str) -> None:
        self._log = log
        self._title = f"{_TITLE}{export}"
        self._name = own_log(_OWNER, self._title)
        self.frames = 0
        self.topics: set[str] = set()

    async def open(self) -> None:
        """Read what is there."""
        for entry in await read_all(self._log, self._name):
            if entry.type == "frame":
                self.frames = max(self.frames, int(entry.data["next"]))
            elif entry.type == "topic":
                self.topics.add(str(entry.data["name"]))

    async def passed(self, number: int) -> None:
        """All of that frame is in the mesh."""
        self.frames = number + 1
        await self._write(Draft("frame", {"next": self.frames}, id=f"frame-{number}"))

    async def makes(self, topic: str) -> None:
        """The topic was not there and is about to be made."""
        self.topics.add(topic)
        await self._write(Draft("topic", {"name": topic}, id=f"topic-{topic}"))

    async def _write(self, draft: Draft) -> None:
        await self._log.append(self._name, [draft], title=self._title)


def is_journal(info: LogInfo) -> bool:
    """Whether a log is the journal of an import."""
    return info.title.startswith(_TITLE) and info.lite_topic == own_log(_OWNER, info.title)
