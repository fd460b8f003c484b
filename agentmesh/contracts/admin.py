"""What an operator does: tenants, dead letters, health, figures."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from agentmesh.contracts.queue import Rate
from agentmesh.message import DEFAULT_TENANT, Message


class Tenant(msgspec.Struct, frozen=True):
    """What a tenant gets. 0 and `None` mean: no limit of its own.

    `weight`: its share among tenants whose tasks of equal priority wait (1 to 1000). `ceiling`: the highest priority it
    may use (`None`: 9 for the default tenant, 5 for others). `running`: how many of its tasks run at once, over all
    topics. `waiting`: how many of its tasks may be unfinished; a publish beyond raises `QuotaExceeded`. `rate`: how
    many of its tasks begin in a time.
    """

    name: str
    weight: int = 1
    ceiling: int | None = None
    running: int = 0
    waiting: int = 0
    rate: Rate | None = None

    @property
    def highest(self) -> int:
        """The ceiling that counts."""
        if self.ceiling is not None:
            return self.ceiling
        return 9 if self.name == DEFAULT_TENANT else 5


class Health(msgspec.Struct, frozen=True):
    """How the store is. `problems` are sentences, each with what to do; empty: all is well. `facts` are figures and
    texts by name, for people to read.
    """

    problems: Sequence[str] = ()
    facts: Mapping[str, str | int | float] = {}


class Admin(Protocol):
    """The operator's side of a broker."""

    async def tenants(self) -> Sequence[Tenant]:
        """The tenants that were set, by name. One that was not set has the defaults of `Tenant`."""
        ...

    async def set_tenant(self, tenant: Tenant) -> None:
        """What holds for this tenant from now on, for tasks that wait too. Raises `ConfigError` for values out of
        range.
        """
        ...

    async def discard(self, topic: str, positions: Sequence[int], publishes: Sequence[Message] = ()) -> int:
        """Remove dead letters of the topic and publish, in one transaction; returns how many there were.

        With `publishes` every position must be there, else `Conflict` and nothing happened. Dead letters of a topic
        that was removed can be discarded too.
        """
        ...

    async def health(self) -> Health:
        """Look at everything: integrity, leases that are stuck, the oldest task, blobs without an owner."""
        ...

    async def figures(self) -> Mapping[str, float]:
        """Counters since the host began, and what is now, by name: what `/metrics` and `agentmesh stats` show."""
        ...
