"""The registry: who is there, with their cards."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

if TYPE_CHECKING:
    from agentmesh.card import AgentCard


class Registration(msgspec.Struct, frozen=True):
    """An agent of one process on a topic: `card` describes it, `instance` tells it from its equals elsewhere.

    `alive` is false once no heartbeat has come for 15 s; `renewed` is the last one (ms). `siblings` counts the other
    versions of the topic that are alive.
    """

    topic: str
    version: str
    card: "AgentCard"
    instance: str = ""
    alive: bool = True
    renewed: int = 0
    siblings: int = 0


class Change(msgspec.Struct, frozen=True):
    """What a watch brings."""

    kind: Literal["online", "offline", "removed"]
    registration: Registration


class Registry(Protocol):
    """Who is there, with their cards."""

    async def register(self, registration: Registration) -> None:
        """Put the agent in the registry, alive. Raises `Conflict` if this topic and version has another card."""
        ...

    async def renew(self, instance: str) -> None:
        """The heartbeat of everything that `instance` registered; at least every 15 s."""
        ...

    async def remove(self, topic: str, instance: str = "") -> None:
        """Take one instance offline; without `instance`, remove the topic's registrations altogether."""
        ...

    async def get(self, topic: str, version: str = "") -> Registration:
        """The registration of that version, else of the newest one, an alive one before a dead. Raises
        `TopicNotFound`.
        """
        ...

    async def list(self, *, alive: bool = True) -> Sequence[Registration]:
        """One registration per topic and version, by topic; only the alive ones unless told."""
        ...

    async def route(self, topic: str, weights: Mapping[str, int] | None = None) -> Mapping[str, int]:
        """Set which share of new messages each version gets, or only tell; empty: the newest alive one gets all.

        Raises `TopicNotFound`, also for a version that is not registered, and `ConfigError` for weights below 0.
        """
        ...

    def watch(self) -> AsyncGenerator[Change, None]:
        """What is registered now, as `online` changes, and every change from then on."""
        ...
