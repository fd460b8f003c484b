"""What an operator does: tenants, dead letters, health, figures."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

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
        """Counters since the host began, and what is now: what `/metrics` and `agentmesh stats` show.

        Names are those of Prometheus's samples without the prefix, labels and all: `tasks_waiting{topic="A"}`. What
        ends in `_total` only grows until the next host begins.
        """
        ...


def figure(name: str, **labels: str) -> str:
    """The name of a figure with labels: `tasks_waiting{topic="A"}`, escaped as in Prometheus's text format."""
    inner = ",".join(f'{label}="{value.translate(_ESCAPES)}"' for label, value in labels.items())
    return f"{name}{{{inner}}}" if inner else name


def parts_of(figure: str) -> tuple[str, dict[str, str]]:
    """The name and the labels of a figure."""
    name, _, inner = figure.partition("{")
    return name, {label: _ESCAPED.sub(_unescape, value) for label, value in _LABEL.findall(inner)}


def _unescape(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)")
