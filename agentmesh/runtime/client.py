"""What a mesh and a running handler share: making calls, finding them again, and logs of one's own."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from agentmesh.clock import Clock
from agentmesh.contracts import Broker, ChatModel, Planner, Registration, Registry
from agentmesh.errors import CallNotFound, ConfigError, MeshError, SkillNotFound, Unauthorized
from agentmesh.fold import fold
from agentmesh.ids import Kind, keyed_call, kind_of, new_id
from agentmesh.message import CALL_DEADLINE, DEFAULT_PRIORITY, DEFAULT_TENANT, RUN_DEADLINE, Message, to_json
from agentmesh.runtime.bodies import Bodies
from agentmesh.runtime.call import Call
from agentmesh.runtime.hub import Hub
from agentmesh.runtime.lite_topic import LiteTopic
from agentmesh.runtime.routing import route
from agentmesh.trace.spans import Sending

MAX_HOPS: Final = 32
_PRIORITIES: Final = range(10)


Saw = Callable[[str, float, bool], None]
"""Is told how a call went that was followed to its end: its topic, how many seconds it took, whether it completed."""


def _nobody(topic: str, seconds: float, succeeded: bool) -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Client:
    """An open mesh, seen from above: the contracts, the hub behind which all followers of this process stand, and whose
    calls these are. `tenant` None is the operator's view of all tenants."""

    broker: Broker
    registry: Registry
    clock: Clock
    hub: Hub
    bodies: Bodies
    planner: Callable[[], Planner]
    model: Callable[[], ChatModel | None]
    tenant: str | None = None
    principal: str = ""
    saw: Saw = _nobody

    async def start(
        self,
        topic: str,
        input: Any = None,  # noqa: A002
        *,
        skill: str = "",
        key: str = "",
        delay: float = 0,
        version: str = "",
        priority: int = DEFAULT_PRIORITY,
        tenant: str = "",
        deadline: float | datetime | None = None,
        session: str = "",
        kind: Kind = "call",
        call_id: str = "",
        parent: Message | None = None,
    ) -> Call:
        """Publish a call and return its handle once it is stored. See `Mesh.start`."""
        owner = parent.tenant if parent else self.owner(tenant)
        now = self.clock.now()
        if priority not in _PRIORITIES:
            raise ConfigError(f"priority={priority!r}: use 0 to 9, 9 first.")
        message_id = call_id or (keyed_call(owner, topic, key, kind) if key else new_id(kind))
        registration, lane = await route(self.registry, topic, version, message_id)
        with Sending(topic, message_id, parent.traceparent if parent else "") as span:
            message = Message(
                id=message_id,
                call=message_id,
                topic=topic,
                skill=find_skill(registration, skill),
                version=lane,
                lane=lane,
                body=to_json({} if input is None else input),
                key=key,
                run=message_id if kind == "run" else (parent.run if parent else ""),
                parent=parent.id if parent else "",
                tenant=owner,
                principal=parent.principal if parent else self.principal,
                session=session or (parent.session if parent else ""),
                priority=priority,
                created=now,
                not_before=now + round(delay * 1000) if delay else 0,
                deadline=_deadline(now, deadline, kind, parent),
                hops=_hops(parent),
                traceparent=span.traceparent(),
            )
            await self.broker.publish(await self.bodies.sent(message))
        return Call(self, message_id, topic)

    async def call(self, topic: str, input: Any = None, *, returns: Any = None, **options: Any) -> Any:  # noqa: A002
        """Start a call and wait for its result. See `Mesh.call`."""
        call = await self.start(topic, input, **options)
        try:
            return await call.wait(returns)
        except asyncio.CancelledError:
            await asyncio.shield(_quietly(call))
            raise

    async def attach(self, call_id: str) -> Call:
        """The call or run of this id. Raises `CallNotFound`."""
        if kind_of(call_id) not in ("call", "run"):
            raise CallNotFound(call_id)
        state = fold(await self.broker.read(call_id, -1, 1), 0)
        if state.submitted is None or self.tenant not in (None, state.submitted.get("tenant")):
            raise CallNotFound(call_id)
        return Call(self, call_id, str(state.submitted.get("topic", "")))

    def lite_topic(self, name: str) -> LiteTopic:
        """A log of one's own, by its readable name."""
        return LiteTopic(self, name, self.owner(""))

    def owner(self, tenant: str) -> str:
        """The tenant that something is done for. Raises `Unauthorized` if it is not this client's."""
        if self.tenant is not None and tenant not in ("", self.tenant):
            raise Unauthorized(f"This mesh is opened for tenant {self.tenant!r}, not {tenant!r}.")
        return tenant or self.tenant or DEFAULT_TENANT


def find_skill(registration: Registration, skill: str) -> str:
    """The skill to call. Raises `SkillNotFound`, which lists those that there are."""
    skills: Sequence[str] = [each.id for each in registration.card.skills]
    if skill in skills:
        return skill
    if skill or len(skills) != 1:
        raise SkillNotFound(registration.topic, skill, skills)
    return skills[0]


def _deadline(now: int, wish: float | datetime | None, kind: Literal["call", "run"], parent: Message | None) -> int:
    """Milliseconds UTC; a child's is never later than its parent's."""
    if isinstance(wish, datetime):
        if wish.tzinfo is None:
            raise ConfigError("deadline= needs a datetime with a time zone, or seconds from now.")
        deadline = round(wish.timestamp() * 1000)
    elif wish is None:
        deadline = now + (RUN_DEADLINE if kind == "run" else CALL_DEADLINE)
    else:
        deadline = now + round(wish * 1000)
    return min(deadline, parent.deadline) if parent and parent.deadline else deadline


def _hops(parent: Message | None) -> int:
    hops = parent.hops + 1 if parent else 0
    if hops > MAX_HOPS:
        raise MeshError(f"Calls are nested {hops} deep, and {MAX_HOPS} is the limit: do two agents call each other?")
    return hops


async def _quietly(call: Call) -> None:
    """Cancel a call whose caller has gone; there is nobody left to tell an error to."""
    try:
        await call.cancel()
    except MeshError:
        return
