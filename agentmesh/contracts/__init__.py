"""What every implementation must do: queue, log, inbox and admin of a broker, registry, planner, model, embedder.

All times in signatures are seconds when they are waits and milliseconds UTC when they are points in time. Every method
raises `BrokerUnavailable` (`RegistryUnavailable`) when the backend cannot be reached or written to; what raised was not
stored, unless its docstring says otherwise.
"""

from agentmesh.contracts.admin import Admin, Health, Tenant
from agentmesh.contracts.blobs import Blob, Blobs
from agentmesh.contracts.broker import Broker
from agentmesh.contracts.log import Batch, Inbox, Log, LogInfo
from agentmesh.contracts.model import (
    ChatModel,
    Decision,
    Embedder,
    Function,
    FunctionCall,
    Outcome,
    PlannedCall,
    Planner,
    Reply,
)
from agentmesh.contracts.queue import (
    Append,
    Delivery,
    Lease,
    Queue,
    Quota,
    Rate,
    Retry,
    RetryOn,
    Stored,
    TopicStats,
)
from agentmesh.contracts.registry import Change, Registration, Registry

__all__ = [
    "Admin",
    "Append",
    "Batch",
    "Blob",
    "Blobs",
    "Broker",
    "Change",
    "ChatModel",
    "Decision",
    "Delivery",
    "Embedder",
    "Function",
    "FunctionCall",
    "Health",
    "Inbox",
    "Lease",
    "Log",
    "LogInfo",
    "Outcome",
    "PlannedCall",
    "Planner",
    "Queue",
    "Quota",
    "Rate",
    "Registration",
    "Registry",
    "Reply",
    "Retry",
    "RetryOn",
    "Stored",
    "Tenant",
    "TopicStats",
]
