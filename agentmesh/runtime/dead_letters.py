"""Dead letters: found again by the id of their call, tried again as new calls, dropped."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from agentmesh.clock import Clock, SystemClock
from agentmesh.contracts import Broker, Registry, Stored
from agentmesh.errors import CallNotFound, Conflict
from agentmesh.fold import fold
from agentmesh.ids import kind_of, new_id
from agentmesh.message import Entry, Message
from agentmesh.runtime.client import find_skill
from agentmesh.runtime.reading import read_all
from agentmesh.runtime.routing import route

_PAGE: Final = 500
_KINDS: Final = ("call", "run")


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The dead letters that a mesh may see: those of `tenant`, or all of them."""

    broker: Broker
    registry: Registry
    tenant: str | None = None
    clock: Clock = field(default_factory=SystemClock)

    async def list(self, topic: str = "") -> AsyncIterator[Stored]:
        """Those of the topic, or of all topics, in the order in which they died. Raises `TopicNotFound`."""
        topics = [topic] if topic else [stats.topic for stats in await self.broker.stats() if stats.dead]
        for each in topics:
            after = 0
            while page := await self.broker.browse(each, after, _PAGE, dead=True):
                for stored in page:
                    if self.tenant in (None, stored.message.tenant):
                        yield stored
                after = page[-1].position

    async def find(self, call_id: str) -> Stored:
        """The dead letter of this call or run. Raises `CallNotFound`, and `Conflict` for one that is not dead."""
        state = fold(await read_all(self.broker, call_id), self.clock.now()) if kind_of(call_id) in _KINDS else None
        submitted = state.submitted if state else None
        if submitted and self.tenant not in (None, submitted.get("tenant")):
            raise CallNotFound(call_id)
        dead = [stats.topic for stats in await self.broker.stats() if stats.dead]
        if submitted:  # its log says where to look; logs end before dead letters do
            dead = [topic for topic in dead if topic == submitted.get("topic")]
        for topic in dead:
            async for stored in self.list(topic):
                if stored.message.id == call_id:
                    return stored
        if state and submitted:
            end = state.terminal.type if state.terminal else "has not ended"
            raise Conflict(f"{call_id} is not among the dead letters: {end}.")
        raise CallNotFound(call_id)

    async def history(self, stored: Stored) -> Sequence[Entry]:
        """The attempts that raised, as its log tells them; nothing once the log has ended."""
        return [entry for entry in await read_all(self.broker, stored.message.log) if entry.type == "retrying"]

    async def retry(self, stored: Stored) -> str:
        """Start a new call for the dead letter, whose `parent` is the old one; its id.

        The letter is removed in the same transaction. The new call goes to the version that a call takes now, and has
        as long as the old one had. Raises `TopicNotFound`, `SkillNotFound`, `QuotaExceeded`, and `Conflict` if
        somebody else was first.
        """
        message = await self._again(stored.message)
        await self.broker.discard(stored.message.topic, [stored.position], [message])
        return message.id

    async def drop(self, letters: Sequence[Stored]) -> int:
        """Remove these, which are of one topic; how many there were."""
        return await self.broker.discard(letters[0].message.topic, [stored.position for stored in letters])

    async def _again(self, old: Message) -> Message:
        is_run = kind_of(old.id) == "run"
        message_id, now = new_id("run" if is_run else "call"), self.clock.now()
        registration, lane = await route(self.registry, old.topic, "", message_id)
        return msgspec.structs.replace(
            old,
            id=message_id,
            call=message_id,
            run=message_id if is_run else old.run,
            parent=old.id,
            skill=find_skill(registration, old.skill),
            version=lane,
            lane=lane,
            key="",
            reply_to="",
            created=now,
            not_before=0,
            deadline=now + old.deadline - old.created if old.created else 0,
        )
