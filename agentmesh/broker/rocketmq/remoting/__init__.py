"""RocketMQ's remoting protocol, for what its gRPC proxy does not offer: reading at an offset, topics and groups."""

from agentmesh.broker.rocketmq.remoting.admin import Lag, Remoting
from agentmesh.broker.rocketmq.remoting.reading import Pulled
from agentmesh.broker.rocketmq.remoting.record import Record, lite_queue

__all__ = ["Lag", "Pulled", "Record", "Remoting", "lite_queue"]
