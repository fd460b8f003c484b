"""Requests that go together when they pile up."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from agentmesh.errors import BrokerUnavailable, MeshError

_T = TypeVar("_T")
_R = TypeVar("_R")


class Batch(Generic[_T, _R]):
    """Sends items through `send`, which returns for each its result or its error, in order.

    At most `flying` requests are on their way at once; what is added meanwhile goes in the next one, up to `most` items
    or `bound` bytes as `size` counts them (one item always goes).
    """

    def __init__(
        self,
        send: Callable[[Sequence[_T]], Awaitable[Sequence[_R | MeshError]]],
        *,
        most: int,
        flying: int,
        bound: int = 0,
        size: Callable[[_T], int] = lambda _: 0,
    ) -> None:
        self._send = send
        self._most = most
        self._flying = flying
        self._bound = bound
        self._size = size
        self._waiting: deque[tuple[_T, asyncio.Future[_R]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._scheduled = False

    def add(self, item: _T) -> "asyncio.Future[_R]":
        """Send `item` with whatever else is added in this turn of the loop. Nothing takes an item back."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_R] = loop.create_future()
        self._waiting.append((item, future))
        if not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._flush)
        return future

    async def close(self) -> None:
        """Wait for everything that was added."""
        while self._waiting or self._tasks:
            self._flush()
            await asyncio.wait(tuple(self._tasks))

    def _flush(self) -> None:
        self._scheduled = False
        while self._waiting and len(self._tasks) < self._flying:
            task = asyncio.create_task(self._go(self._next()))
            self._tasks.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if self._waiting:
            self._flush()

    def _next(self) -> list[tuple[_T, "asyncio.Future[_R]"]]:
        taken = [self._waiting.popleft()]
        size = self._size(taken[0][0])
        while self._waiting and len(taken) < self._most:
            size += self._size(self._waiting[0][0])
            if size > self._bound > 0:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _go(self, taken: Sequence[tuple[_T, "asyncio.Future[_R]"]]) -> None:
        lost = BrokerUnavailable("The connection was closed before there was an answer.")
        results: Sequence[_R | MeshError] = [lost] * len(taken)
        try:
            results = await self._send([item for item, _ in taken])
        except MeshError as error:
            results = [error] * len(taken)
        finally:
            for (_, future), result in zip(taken, results, strict=True):
                _settle(future, result)


def _settle(future: "asyncio.Future[_R]", result: "_R | MeshError") -> None:
    if future.done():
        return
    if isinstance(result, MeshError):
        future.set_exception(result)
        future.exception()  # whoever waits sees it; nobody need
    else:
        future.set_result(result)
