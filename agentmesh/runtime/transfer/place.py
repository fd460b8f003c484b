"""The mesh at one end of a move."""

from dataclasses import dataclass

from agentmesh.clock import Clock
from agentmesh.contracts import Blobs, Broker, Registry


@dataclass(frozen=True, slots=True)
class Place:
    """A mesh by its contracts. `name` is its address, to be shown and to tell whose a file is."""

    broker: Broker
    registry: Registry
    blobs: Blobs
    clock: Clock
    name: str = ""
