"""Multi-agent orchestration with semantic topics and a durable reply channel per call.

    from agentmesh import Agent, Context, Mesh, skill

Names are imported when they are first used, so that `import agentmesh` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentmesh.catalog import Hit
    from agentmesh.errors import (
        BrokerUnavailable,
        BudgetExceeded,
        CallCancelled,
        CallDeadLettered,
        CallFailed,
        CallNotFound,
        CallTimedOut,
        ConfigError,
        Conflict,
        DeclarationError,
        InputRequired,
        InvalidInput,
        InvalidOutput,
        LeaseLost,
        MeshError,
        ModelUnavailable,
        PayloadCorrupt,
        PayloadTooLarge,
        QuotaExceeded,
        RegistryUnavailable,
        Retryable,
        RunFailed,
        SkillNotFound,
        TopicNotFound,
        Unauthorized,
    )
    from agentmesh.mesh import Mesh
    from agentmesh.message import Entry, Event
    from agentmesh.runtime.agent import Agent, skill
    from agentmesh.runtime.call import Call
    from agentmesh.runtime.context import Context
    from agentmesh.runtime.lite_topic import LiteTopic

_HOME = {
    "Agent": "agentmesh.runtime.agent",
    "Call": "agentmesh.runtime.call",
    "Context": "agentmesh.runtime.context",
    "Entry": "agentmesh.message",
    "Event": "agentmesh.message",
    "Hit": "agentmesh.catalog",
    "LiteTopic": "agentmesh.runtime.lite_topic",
    "Mesh": "agentmesh.mesh",
    "skill": "agentmesh.runtime.agent",
}

__all__ = [
    "Agent",
    "BrokerUnavailable",
    "BudgetExceeded",
    "Call",
    "CallCancelled",
    "CallDeadLettered",
    "CallFailed",
    "CallNotFound",
    "CallTimedOut",
    "ConfigError",
    "Conflict",
    "Context",
    "DeclarationError",
    "Entry",
    "Event",
    "Hit",
    "InputRequired",
    "InvalidInput",
    "InvalidOutput",
    "LeaseLost",
    "LiteTopic",
    "Mesh",
    "MeshError",
    "ModelUnavailable",
    "PayloadCorrupt",
    "PayloadTooLarge",
    "QuotaExceeded",
    "RegistryUnavailable",
    "Retryable",
    "RunFailed",
    "SkillNotFound",
    "TopicNotFound",
    "Unauthorized",
    "skill",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME.get(name, "agentmesh.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
