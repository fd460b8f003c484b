"""The documents of a Nacos: read, written, compared and set, and watched."""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import md5
from typing import Any, Final

from agentmesh.errors import MeshError
from agentmesh.registry.nacos.address import Address
from agentmesh.registry.nacos.refusals import Refused
from agentmesh.registry.nacos.sdk import REPAIRED, TIMEOUT, Headers, Link, Repairs

_MISSING: Final = 300
_BUSY: Final = "is being modified"
"""What the real server says of a document that somebody writes just then."""

_MOMENT: Final = 0.03
_AT_ONCE: Final = 16
_PAUSE: Final = 0.5


class Configs:
    """Documents by (group, id). `changed` is called with a group and an id that was listened to, and with neither after
    the connection was made anew: anything may have changed meanwhile."""

    def __init__(
        self, address: Address, headers: Headers, changed: Callable[[str, str], object], repairs: Repairs = REPAIRED
    ) -> None:
        pushed = {"ConfigChangeNotifyRequest": lambda request: changed(request.group, request.dataId)}
        self.link = Link(address, headers, "config", self._connected, pushed, repairs)
        self._namespace = address.namespace
        self._changed = changed
        self._listened: dict[tuple[str, str], None] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._listening: asyncio.Task[None] | None = None

    async def get(self, group: str, name: str) -> str:
        """The document; empty if there is none. The real server may give the one before for 0.1 s after a write."""
        from v2.nacos.config.model.config_request import ConfigQueryRequest  # type: ignore[import-untyped]

        request = ConfigQueryRequest(group=group, dataId=name, tenant=self._namespace)
        request.put_header("notify", "False")
        loop = asyncio.get_running_loop()
        end = loop.time() + TIMEOUT
        while True:
            try:
                return (await self._ask(request)).content or ""
            except Refused as refused:
                if refused.code == _MISSING:
                    return ""
                if _BUSY not in str(refused) or loop.time() > end:
                    raise
            await asyncio.sleep(_MOMENT)

    async def put(self, group: str, name: str, content: str, *, before: str | None = None) -> None:
        """Write the document. With `before` only if that is what it holds now (empty: if there is none), else it raises
        `Stale`; a server that cannot compare writes all the same.
        """
        from v2.nacos.config.model.config_request import ConfigPublishRequest

        compared = "" if before is None else _md5(before)
        request = ConfigPublishRequest(
            group=group, dataId=name, tenant=self._namespace, content=content, casMd5=compared
        )
        request.additionMap["type"] = "json"
        await self._ask(request)

    async def delete(self, group: str, name: str) -> None:
        """Remove the document, if it is there."""
        from v2.nacos.config.model.config_request import ConfigRemoveRequest

        await self._ask(ConfigRemoveRequest(group=group, dataId=name, tenant=self._namespace))

    async def listen(self, group: str, names: Sequence[str]) -> None:
        """Have `changed` called when one of them changes."""
        self._listened |= dict.fromkeys((group, name) for name in names)
        await self._listen()

    async def close(self) -> None:
        if self._listening:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self.link.close()

    async def _ask(self, request: Any) -> Any:
        async with self._slots:
            return await self.link.request(request)

    async def _listen(self) -> None:
        from v2.nacos.config.model.config import ConfigListenContext  # type: ignore[import-untyped]
        from v2.nacos.config.model.config_request import ConfigBatchListenRequest

        request = ConfigBatchListenRequest(group="", dataId="", tenant="")
        request.configListenContexts = [
            ConfigListenContext(group=group, dataId=name, tenant=self._namespace, md5="")
            for group, name in self._listened
        ]
        await self._ask(request)

    def _connected(self) -> None:
        """The server has forgotten what we listen to."""
        if self._listened:
            if self._listening:
                self._listening.cancel()
            self._listening = asyncio.create_task(self._listen_again())

    async def _listen_again(self) -> None:
        while True:
            try:
                await self._listen()
            except MeshError:
                await asyncio.sleep(_PAUSE)
            else:
                self._changed("", "")
                return


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
