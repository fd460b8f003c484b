"""Receiving the messages of a topic."""

from agentmesh.broker.rocketmq.client import wire
from agentmesh.broker.rocketmq.client.connection import Connection
from agentmesh.broker.rocketmq.client.receiver import Receiver
from agentmesh.broker.rocketmq.client.session import Session


class Consumer(Receiver):
    """One of the competing consumers of `group`; `expression` chooses by tag: `*`, or `a || b`."""

    def __init__(self, connection: Connection, group: str, topic: str, expression: str = "*") -> None:
        super().__init__(connection, group, topic, expression)
        hello = wire.settings("SIMPLE_CONSUMER", connection.endpoint, group, (), {topic: expression})
        self._sessions.append(Session(connection, "SIMPLE_CONSUMER", group, hello))

    async def start(self) -> None:
        """Introduce the consumer. Raises `BrokerUnavailable`, `Unauthorized`, and `ConfigError` if there is no such
        topic."""
        self._connection.clients.add(self)
        await self._sessions[0].start()
        await self._connection.route(self._sessions[0].id, self.topic)

    async def close(self, hurry: bool = False) -> None:
        await super().close(hurry)
        self._connection.drop(self, self._sessions[0].id)
