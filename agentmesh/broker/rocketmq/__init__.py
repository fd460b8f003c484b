"""The mesh over Apache RocketMQ, where one machine is too small."""

from agentmesh.broker.rocketmq.opening import open_rocketmq

__all__ = ["open_rocketmq"]
