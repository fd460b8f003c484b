"""`local://DIR`: the embedded broker over a folder, shared by the processes of one machine."""

from agentmesh.broker.local.broker import LocalBroker, open_local
from agentmesh.broker.local.folder import DATABASE, LOCK, file_system

__all__ = ["DATABASE", "LOCK", "LocalBroker", "file_system", "open_local"]
