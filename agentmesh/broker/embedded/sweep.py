"""Removal of blobs that nobody refers to any more.

A blob goes an hour after its last reference went: first its row, in a turn, then its file, in a thread. A file without
a row — its process died before it was referred to, or the host died between the two — goes an hour after it was last
put. Whoever puts the same body meanwhile renews the file's time first and refers to it afterwards, so that either the
file is spared or it is written anew.
"""

import asyncio
import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Final

from agentmesh.broker.embedded.state import State
from agentmesh.broker.embedded.store import Store
from agentmesh.broker.embedded.turns import Turns
from agentmesh.clock import Clock, Timer
from agentmesh.contracts.blobs import Blobs
from agentmesh.errors import MeshError
from agentmesh.log import get_logger

KEPT: Final = 3_600_000
"""How long (ms) a blob is kept for nobody."""

_LOOK: Final = 3_600_000
"""How often (ms) all files are looked at."""

_SOON: Final = 60_000
_SLICE: Final = 200


class Sweep:
    """Removes blobs of one store when their time is over, and looks for strangers a minute after it began and then
    every hour.
    """

    def __init__(self, blobs: Blobs, store: Store, state: State, turns: Turns, clock: Clock) -> None:
        self._blobs = blobs
        self._store = store
        self._state = state
        self._turns = turns
        self._clock = clock
        self._look_at = self._at = clock.now() + _SOON
        self._timer: Timer = clock.call_at(self._at, self._begin)
        self._round: asyncio.Task[None] | None = None

    def told(self) -> None:
        """After a commit: what was released in it goes when its time is over."""
        if self._state.changes.release_blob:
            self._arm(self._clock.now() + KEPT + 1)

    def end(self) -> None:
        self._timer.cancel()
        if self._round:
            self._round.cancel()

    async def ended(self) -> None:
        """Wait until the round that goes on is over."""
        if self._round:
            await asyncio.wait([self._round])

    def _arm(self, when: int) -> None:
        """Begin a round then at the latest."""
        if when < self._at:
            self._timer.cancel()
            self._at = when
            self._timer = self._clock.call_at(when, self._begin)

    def _begin(self) -> None:
        if self._turns.closed:
            return
        self._at = self._clock.now() + _LOOK
        self._timer = self._clock.call_at(self._at, self._begin)
        if self._round is None or self._round.done():
            self._round = asyncio.get_running_loop().create_task(self._sweep())

    async def _sweep(self) -> None:
        now = self._clock.now()
        before = now - KEPT
        try:
            while digests := await self._turns.submit(self._forget, before, rows=_SLICE):
                await asyncio.to_thread(self._remove, digests, before)
            if now >= self._look_at:
                self._look_at = now + _LOOK
                await self._remove_strangers(before)
            for (released,) in self._store.query("first_released"):
                self._arm(max(released + KEPT + 1, self._clock.now() + _SOON))
        except MeshError as error:
            get_logger().warning("blobs that nobody needs cannot be removed yet", error=str(error))

    def _forget(self, before: int) -> Sequence[str]:
        """Within a turn: take away the rows of blobs that were released long ago."""
        digests = [row[0] for row in self._store.query("released_blobs", before, _SLICE)]
        self._state.changes.delete_blob.extend((digest,) for digest in digests)
        self._state.changes.rows += len(digests)
        return digests

    def _remove(self, digests: Iterable[str], before: int) -> None:
        """In a thread. What is not removed now is a stranger later."""
        for digest in digests:
            self._blobs.delete(digest, before)

    async def _remove_strangers(self, before: int) -> None:
        old = (blob.digest for blob in self._blobs.list() if blob.touched < before)
        while digests := await asyncio.to_thread(lambda: list(itertools.islice(old, _SLICE))):
            known = {row[0] for row in self._store.query("known_blobs", json.dumps(digests))}
            await asyncio.to_thread(self._remove, [each for each in digests if each not in known], before)
        await asyncio.to_thread(self._blobs.tidy, before)
