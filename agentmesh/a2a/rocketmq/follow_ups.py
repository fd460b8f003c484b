"""Follow-ups: requests on the LiteTopics that our replies give for them. They are put on the agent's topic, where all
requests are answered.
"""

import asyncio
import contextlib
from typing import Final

from agentmesh.a2a.rocketmq.envelope import FOLLOW_UPS, read_request
from agentmesh.broker.rocketmq.client import Connection, LiteConsumer, Outgoing, Producer, Received
from agentmesh.broker.rocketmq.names import Names
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.clock import Clock, sleep
from agentmesh.errors import MeshError
from agentmesh.log import get_logger

_HIDDEN: Final = 15.0
_PAUSE: Final = 1.0


class FollowUps:
    """One LiteTopic for each agent, shared by all processes that serve it."""

    def __init__(
        self, connection: Connection, producer: Producer, remoting: Remoting, names: Names, clock: Clock
    ) -> None:
        self._names = names
        self._remoting = remoting
        self._producer = producer
        self._clock = clock
        self.parent = names.parent_of(FOLLOW_UPS)
        self._consumer = LiteConsumer(connection, self.parent, self.parent)
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the parent topic, and listen. Raises `BrokerUnavailable`, `ConfigError`, `Unauthorized`."""
        await self._remoting.create_topic(self.parent, type="LITE", expiration_minutes=-1)
        await self._remoting.create_group(self.parent, lite_parent=self.parent)
        await self._consumer.start()
        self._listening = asyncio.create_task(self._listen())

    async def subscribe(self, topic: str) -> None:
        """Take those for the agent on `topic`."""
        await self._consumer.subscribe(topic)

    async def close(self) -> None:
        """Take no more."""
        if self._listening:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        while True:
            try:
                found = await self._consumer.receive(invisible=_HIDDEN)
            except MeshError as error:
                get_logger().warning("follow-ups of rocketmq-a2a clients may be late", error=str(error))
                await sleep(self._clock, _PAUSE)
                continue
            for each in found:
                await self._take(each)

    async def _take(self, received: Received) -> None:
        """Once it is on the agent's topic, it is done with here."""
        try:
            if read_request(received.body) is None:
                get_logger().warning("not a request", topic=received.lite_topic, message=received.id)
                await self._consumer.dead_letter(received)
                return
            await self._producer.send(Outgoing(self._names.lane(received.lite_topic), received.body))
            await self._consumer.ack([received])
        except MeshError as error:
            get_logger().warning("cannot take a follow-up", topic=received.lite_topic, error=str(error))
            with contextlib.suppress(MeshError):
                await self._consumer.change_invisible(received, _PAUSE)
