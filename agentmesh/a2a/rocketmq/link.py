"""The link to a remote agent: sending requests, and hearing the replies to each call on a LiteTopic of its own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from agentmesh.a2a.rocketmq.envelope import REPLIES, Reply, read_reply
from agentmesh.a2a.rocketmq.interface import Interface
from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.client import Connection, LiteConsumer, Outgoing, Producer, Received
from agentmesh.broker.rocketmq.names import TTL, Names
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.errors import MeshError
from agentmesh.ids import digest, new_token
from agentmesh.log import get_logger

_PAUSE: Final = 1.0
_OVERDUE: Final = (10.0, 20.0, 40.0, 60.0)
"""Seconds of silence after which RocketMQ is asked whether it forgot to wake us."""


class Replies:
    """What comes on one LiteTopic, from its first message on, each once."""

    def __init__(self, consumer: LiteConsumer, name: str) -> None:
        self._consumer = consumer
        self._name = name
        self._arrived: asyncio.Queue[Reply] = asyncio.Queue()
        self._seen = -1

    def offer(self, received: Received) -> None:
        """A message came."""
        if received.offset <= self._seen:
            return
        self._seen = received.offset
        reply = read_reply(received.body)
        if reply is None:
            get_logger().warning("not a reply", lite_topic=self._name, message=received.id)
        else:
            self._arrived.put_nowait(reply)

    async def next(self, request_id: str) -> Reply:
        """The next reply to this request; those to others are passed over."""
        silent = 0
        while True:
            try:
                async with asyncio.timeout(_OVERDUE[min(silent, len(_OVERDUE) - 1)]):
                    reply = await self._arrived.get()
            except TimeoutError:
                silent += 1
                with contextlib.suppress(MeshError):
                    await self._consumer.resubscribe(self._name)
                continue
            if reply.request_id == request_id:
                return reply


class Link:
    """Open while its agent is served. `address`: the cluster; `interface`: the agent."""

    def __init__(self, address: Address, interface: Interface) -> None:
        self._interface = interface
        self._connection = Connection(address)
        self._producer = Producer(self._connection)
        self._remoting = Remoting(address)
        self.reply_topic = Names(address.namespace).parent_of(REPLIES)
        self._parent = interface.within(self.reply_topic)
        self._group = f"{self._parent}-{digest(new_token())}"
        self._consumer = LiteConsumer(self._connection, self._group, self._parent)
        self._replies: dict[str, Replies] = {}
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the topic of the replies, and listen. Raises `BrokerUnavailable`, `ConfigError`, `Unauthorized`."""
        await self._remoting.create_topic(self._parent, type="LITE", expiration_minutes=TTL["call"])
        await self._remoting.create_group(self._group, lite_parent=self._parent)
        await self._producer.start()
        await self._consumer.start()
        self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        if self._listening:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._connection.close(hurry=True)
        with contextlib.suppress(MeshError):
            await self._remoting.delete_group(self._group)
        await self._remoting.close()

    @contextlib.asynccontextmanager
    async def replies(self, lite_topic: str) -> AsyncIterator[Replies]:
        """All that was and will be written to this LiteTopic of `reply_topic`."""
        replies = self._replies[lite_topic] = Replies(self._consumer, lite_topic)
        try:
            await self._consumer.subscribe(lite_topic, "min")
            yield replies
        finally:
            if self._replies.get(lite_topic) is replies:  # else a later attempt listens already
                del self._replies[lite_topic]
                self._consumer.unsubscribe(lite_topic)

    async def send(self, body: bytes, follow_up: tuple[str, str] | None = None) -> None:
        """Send a request, to where a reply said that follow-ups go or else to the agent's topic. Raises
        `BrokerUnavailable`, `ConfigError` (no such topic), `PayloadTooLarge`, `Unauthorized`.
        """
        topic, lite_topic = follow_up or (self._interface.topic, "")
        await self._producer.send(Outgoing(self._interface.within(topic), body, lite_topic=lite_topic))

    async def _listen(self) -> None:
        while True:
            try:
                found = await self._consumer.receive()
                for each in found:
                    replies = self._replies.get(each.lite_topic)
                    if replies:
                        replies.offer(each)
                await self._consumer.ack(found)
            except MeshError as error:
                get_logger().warning("replies of remote agents may be late", error=str(error))
                await asyncio.sleep(_PAUSE)
