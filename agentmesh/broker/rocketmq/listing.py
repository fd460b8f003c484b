"""Which LiteTopics there are: found in their parent topics, among the messages that may be the first of theirs."""

import asyncio
from typing import Final

from agentmesh.broker.rocketmq.entries import FIRST, read_body
from agentmesh.broker.rocketmq.logs import Logs
from agentmesh.broker.rocketmq.names import BLOBS, KEPT, KINDS, OTHER, TTL, Names
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.contracts import LogInfo
from agentmesh.errors import PayloadCorrupt
from agentmesh.ids import kind_of

_PAGE: Final = 500
_AT_ONCE: Final = 64


class Listing:
    """A listing reads every first message there is."""

    def __init__(self, remoting: Remoting, logs: Logs, names: Names) -> None:
        self._remoting = remoting
        self._logs = logs
        self._names = names
        self._titles: dict[str, str] = {}
        self._next: dict[str, int] = {}

    async def list(self, prefix: str, after: str, limit: int) -> list[LogInfo]:
        """By name."""
        kind = kind_of(prefix) if "-" in prefix else ""
        kinds = [kind if kind in TTL else OTHER] if kind else [each for each in KINDS if each not in (KEPT, BLOBS)]
        for each in kinds:
            await self._look(each)
        names = sorted(n for n in self._titles if n.startswith(prefix) and n > after and kind_of(n) != BLOBS)
        found: list[LogInfo] = []
        for begin in range(0, len(names), _AT_ONCE):
            if len(found) >= limit:
                break
            infos = await asyncio.gather(*(self._info(name) for name in names[begin : begin + _AT_ONCE]))
            found += [info for info in infos if info]
        return found[:limit]

    async def titles(self, kind: str) -> dict[str, str]:
        """All LiteTopics of a kind, with what their first message was titled."""
        await self._look(kind)
        return {name: title for name, title in self._titles.items() if kind_of(name) == kind}

    async def _look(self, kind: str) -> None:
        """Read what is new in the parent topic."""
        parent = self._names.parent_of(kind)
        begin = self._next.get(kind, 0)
        while True:
            pulled = await self._remoting.pull(parent, begin, _PAGE, tag=FIRST)
            for record in pulled.records:
                try:
                    _, title, _ = read_body(record.body)
                except PayloadCorrupt:
                    title = ""
                self._titles[record.lite_topic] = self._titles.get(record.lite_topic) or title
            if pulled.next <= begin:
                break
            begin = pulled.next
        self._next[kind] = begin

    async def _info(self, name: str) -> LogInfo | None:
        following = await self._logs.head(name)
        if not following:
            self._titles.pop(name, None)
            return None
        first, last = await asyncio.gather(self._logs.read(name, -1, 1), self._logs.read(name, following - 2, 1))
        if not first or not last:
            return None
        return LogInfo(name, self._titles[name], following, first[0].time, last[-1].time)
