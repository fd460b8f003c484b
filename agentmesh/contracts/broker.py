"""Broker: queue and log in one object, because an ack spans both, and the operator's side of them."""

from typing import Protocol

from agentmesh.contracts.admin import Admin
from agentmesh.contracts.log import Log
from agentmesh.contracts.queue import Queue


class Broker(Queue, Log, Admin, Protocol):
    """All of it in one."""

    async def close(self) -> None:
        """Finish what was asked for and let go of the store. Calls after it raise `BrokerUnavailable`."""
        ...
