"""An asyncio client of Apache RocketMQ 5.5 (gRPC, protocol v2): many logical clients on one connection."""

from agentmesh.broker.rocketmq.client.connection import Connection
from agentmesh.broker.rocketmq.client.consumer import Consumer
from agentmesh.broker.rocketmq.client.faults import code_of, may_pass
from agentmesh.broker.rocketmq.client.lite import LiteConsumer
from agentmesh.broker.rocketmq.client.message import Outgoing, Received
from agentmesh.broker.rocketmq.client.producer import Producer

__all__ = ["Connection", "Consumer", "LiteConsumer", "Outgoing", "Producer", "Received", "code_of", "may_pass"]
