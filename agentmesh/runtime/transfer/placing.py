"""Tasks that had begun, and dead letters: what a publish alone does not bring.

The contract makes no task with a history, nor a dead letter. So each is published, leased here, given its history under
that lease, and handed back, or buried. A second time finds what is there.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from agentmesh.clock import Clock
from agentmesh.contracts import Broker, Lease
from agentmesh.errors import LeaseLost
from agentmesh.message import CALL_DEADLINE, Draft, Entry, Message
from agentmesh.runtime.reading import read_all
from agentmesh.runtime.transfer.history import draft_of, told

LANE: Final = "import"
"""Dead letters pass through a lane that no worker knows."""

_WORKER: Final = "import-"
_PATIENCE: Final = 45_000
_WAIT: Final = 1.0
_AT_ONCE: Final = 50
_MOST: Final = 2_000
_PAUSE: Final = 30_000
"""For so long (ms) a task that was placed is left alone, so that its equals can be leased."""

_ROWS: Final = 200


class Placing:
    """`worker` is whose leases these are. `bodies` turns a draft into one whose large body lies here."""

    def __init__(self, broker: Broker, clock: Clock, export: str, bodies: Callable[[Draft], Draft]) -> None:
        self._broker = broker
        self._clock = clock
        self._worker = f"{_WORKER}{export}"
        self._bodies = bodies
        self._placed: set[str] = set()

    async def begun(self, message: Message, history: Sequence[Entry]) -> bool:
        """Place a task with what its attempts recorded. False if it could not be leased, since somebody works on it
        here, or too many others wait: then it begins anew. Raises what `publish` raises.
        """
        await self._broker.publish(message)
        entries = await read_all(self._broker, message.log)
        if told(entries, self._clock.now()).kind != "open":
            return True
        if any(_is_another_s(each) for each in entries):
            return False
        missing = _missing(history, entries)
        if not missing:
            return True
        lease = await self._leased(message)
        if lease is None:
            return False
        await self._append(lease, missing)
        self._placed.add(message.log)
        await self._broker.nack(lease, not_before=max(message.not_before, self._clock.now() + _PAUSE))
        return True

    async def dead(self, message: Message, reason: str, history: Sequence[Entry]) -> bool:
        """Place a dead letter; its call has as much time as it had, from now on. False if it could not be leased."""
        entries = await read_all(self._broker, message.log)
        now = self._clock.now()
        if told(entries, now).end:
            return True
        span = message.deadline - message.created if message.created else CALL_DEADLINE
        message = msgspec.structs.replace(
            message, lane=LANE, created=now, not_before=0, deadline=now + max(span, 60_000)
        )
        await self._broker.publish(message)
        lease = await self._leased(message)
        if lease is None:
            return False
        await self._append(lease, _missing(history, entries))
        await self._broker.nack(lease, dead=reason or "unknown")
        return True

    async def _append(self, lease: Lease, history: Sequence[Entry]) -> None:
        for start in range(0, len(history), _ROWS):
            drafts = [draft_of(entry, lease.attempt, lease.token) for entry in history[start : start + _ROWS]]
            await self._broker.append(lease.message.log, [self._bodies(draft) for draft in drafts], lease=lease)

    async def _leased(self, message: Message) -> Lease | None:
        """A lease of this message; the others that come before it are held meanwhile, and given back."""
        others: list[Lease] = []
        end = self._clock.now() + _PATIENCE
        try:
            while self._clock.now() < end and len(others) < _MOST:
                leases = await self._broker.lease(
                    [message.topic], _AT_ONCE if others else 1, _WAIT, worker=self._worker, lanes=[message.lane]
                )
                others += [each for each in leases if each.message.log != message.log]
                for lease in leases:
                    if lease.message.log == message.log:
                        return lease
                if any(_is_another_s(each) for each in await read_all(self._broker, message.log)):
                    return None
                await self._broker.extend(self._worker, [each.token for each in others], 0)
            return None
        finally:
            for each in others:
                again = each.message.log in self._placed
                with contextlib.suppress(LeaseLost):
                    await self._broker.nack(
                        each, not_before=self._clock.now() + _PAUSE if again else each.message.not_before
                    )


def _is_another_s(entry: Entry) -> bool:
    """Whether a worker of this mesh has begun with the task."""
    return entry.type == "accepted" and not str(entry.data.get("worker", "")).startswith(_WORKER)


def _missing(history: Sequence[Entry], entries: Sequence[Entry]) -> list[Entry]:
    """The part of the history that is not among the entries yet."""
    there = {each.id for each in entries}
    return [each for each in history if draft_of(each).id not in there]
