"""Opening the mesh of a cluster."""

from typing import TYPE_CHECKING

from agentmesh.broker.rocketmq.address import read_address
from agentmesh.clock import Clock

if TYPE_CHECKING:
    from agentmesh.broker.rocketmq.broker import RocketMQBroker


async def open_rocketmq(
    url: str, clock: Clock, *, access_key: str = "", secret_key: str = "", blobs: str = ""
) -> "RocketMQBroker":
    """The mesh at rocketmq://HOST:PORT. Raises `ConfigError`, `BrokerUnavailable`, `Unauthorized`."""
    from agentmesh.broker.rocketmq.broker import RocketMQBroker

    broker = RocketMQBroker(read_address(url, access_key, secret_key), clock)
    try:
        await broker.open(blobs)
    except BaseException:
        await broker.close()
        raise
    return broker
