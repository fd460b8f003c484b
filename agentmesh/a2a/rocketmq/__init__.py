"""A2A 0.3 over RocketMQ, in the wire format of rocketmq-a2a (Java 1.0.9): both directions.

envelope.py      requests and replies as RocketMQ messages
rpc.py           the JSON-RPC inside of them
asked.py         what a request's message asks of an agent of ours: which skill, with which input
tasks.py         a call of ours as A2A's Task and its updates
desk.py          takes foreign requests that come on the topics of this process, and keeps them until they are answered
conversation.py  answers one of them
follow_ups.py    takes requests on the LiteTopics that replies give for follow-ups
interface.py     where a card says that an agent is
agent.py         RocketMQA2AAgent: a remote agent as one of ours
exchange.py      one call of a remote agent
link.py          sends requests and receives their replies
heard.py         what replies amount to

It stands on agentmesh[rocketmq].
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentmesh.a2a.rocketmq.agent import RocketMQA2AAgent
    from agentmesh.a2a.rocketmq.interface import card_for_rocketmq

__all__ = ["RocketMQA2AAgent", "card_for_rocketmq"]


def __getattr__(name: str) -> Any:
    """Imported when it is used: it needs grpc."""
    if name == "RocketMQA2AAgent":
        from agentmesh.a2a.rocketmq.agent import RocketMQA2AAgent

        return RocketMQA2AAgent
    if name == "card_for_rocketmq":
        from agentmesh.a2a.rocketmq.interface import card_for_rocketmq

        return card_for_rocketmq
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
