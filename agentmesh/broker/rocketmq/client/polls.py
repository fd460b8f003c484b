"""The long polls of a consumer, and what they brought."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from agentmesh.broker.rocketmq.client.message import Received

Key = tuple[str, str]
"""A logical client's id and a broker's name: of each pair one poll is open at a time."""

Open = Callable[[], Coroutine[Any, Any, list[Received]]]


class Polls:
    """An open poll is never cancelled: the broker would hand the next message to nobody. One that outlives the wait of
    its `take` is left open, and the next `take` gets what it brings.
    """

    def __init__(self) -> None:
        self._open: dict[Key, asyncio.Task[list[Received]]] = {}
        self._arrived: deque[Received] = deque()
        self._error: Exception | None = None
        self._changed = asyncio.Event()
        self._closed = False

    async def take(self, sources: Callable[[], Mapping[Key, Open]], limit: int, wait: float) -> list[Received]:
        """Up to `limit` messages, as soon as there are any; none after `wait` seconds, or when the only poll ended
        without any. Raises what a poll raised."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        opened = False
        while not self._arrived and not self._closed:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            left = until - loop.time()
            there = sources()
            if left <= 0 or (opened and len(there) == 1 and not self._open):
                break
            self._reopen(there)
            opened = True
            self._changed.clear()
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                break
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    def wake(self) -> None:
        """Look at the sources again."""
        self._changed.set()

    async def close(self, hurry: bool) -> list[Received]:
        """Open no more, wait for those that are open unless in a `hurry`; what they brought that nobody took."""
        self._closed = True
        if hurry:
            for each in self._open.values():
                each.cancel()
        await asyncio.gather(*self._open.values(), return_exceptions=True)
        self._changed.set()
        await asyncio.sleep(0)  # whoever waits in `take` goes first
        await asyncio.sleep(0)
        left = list(self._arrived)
        self._arrived.clear()
        return left

    def _reopen(self, sources: Mapping[Key, Open]) -> None:
        for key, source in sources.items():
            if key not in self._open:
                task = asyncio.create_task(source())
                self._open[key] = task
                task.add_done_callback(partial(self._ended, key))

    def _ended(self, key: Key, task: "asyncio.Task[list[Received]]") -> None:
        self._open.pop(key, None)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._error = error
        elif not task.cancelled():
            self._arrived.extend(task.result())
        self._changed.set()
