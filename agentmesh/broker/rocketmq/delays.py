"""Tasks that wait for their time: one topic for all, from which they go on to their lanes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from agentmesh.broker.rocketmq.client import Connection, Consumer, Outgoing, Producer, Received
from agentmesh.broker.rocketmq.tasks import read_task
from agentmesh.clock import Clock
from agentmesh.errors import MeshError, PayloadCorrupt
from agentmesh.log import get_logger
from agentmesh.message import Message

LONGEST: Final = 20 * 3600 * 1000
"""Milliseconds of one hop: RocketMQ delays a message for a day at most."""

_HIDDEN: Final = 30.0
_POLL: Final = 5.0
_PAUSE: Final = 1.0
_EARLY: Final = 500

Forward = Callable[[Message, bytes], Awaitable[None]]


class Delays:
    """`forward` sends a task whose time has come to its lane. Any process that works on tasks sees to it."""

    def __init__(self, connection: Connection, producer: Producer, topic: str, forward: Forward, clock: Clock) -> None:
        self._producer = producer
        self._topic = topic
        self._forward = forward
        self._clock = clock
        self._consumer = Consumer(connection, topic, topic)
        self._task: asyncio.Task[None] | None = None

    async def put(self, message: Message, raw: bytes) -> None:
        """Keep the task until its time."""
        when = min(message.not_before, self._clock.now() + LONGEST)
        await self._producer.send(Outgoing(self._topic, raw, keys=(message.id,), deliver_at=when))

    def start(self) -> None:
        """See to those whose time has come."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._consumer.close()

    async def _run(self) -> None:
        started = False
        while True:
            try:
                if not started:
                    await self._consumer.start()
                    started = True
                found = await self._consumer.receive(32, _HIDDEN, _POLL)
                await asyncio.gather(*(self._pass_on(each) for each in found))
            except MeshError as error:
                get_logger().warning("cannot pass on delayed tasks", error=str(error))
                await asyncio.sleep(_PAUSE)

    async def _pass_on(self, received: Received) -> None:
        """Send it on, then let go of it: after a crash in between it is sent twice, and taken once."""
        with contextlib.suppress(PayloadCorrupt):
            message = read_task(received.body)
            if message.not_before > self._clock.now() + _EARLY:
                await self.put(message, received.body)
            else:
                await self._forward(message, received.body)
        await self._consumer.ack([received])
