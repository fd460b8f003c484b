"""Which agent, in which version, a message is for."""

from agentmesh.contracts import Registration, Registry
from agentmesh.scheduling.route import pick


async def route(registry: Registry, topic: str, version: str, message_id: str) -> tuple[Registration, str]:
    """The agent that a message is for, and its lane: the version that was asked for, else the one that the topic's
    route gives it, else the newest of several that are alive. The same id always takes the same route.

    Raises `TopicNotFound`.
    """
    if version:
        return await registry.get(topic, version), version
    weights = await registry.route(topic)
    if any(weights.values()):
        version = pick(weights, message_id)
        return await registry.get(topic, version), version
    registration = await registry.get(topic)
    return registration, registration.version if registration.siblings else ""
