"""The desk: foreign requests that come on the topics of this process, each held until it is answered.

A request is acknowledged after the end of its answer was sent. If this process dies before, RocketMQ gives the request
to another one within `HOLD`, which answers it again: replies may be doubled, and are never lost.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple

from agentmesh.a2a.rocketmq.asked import SkillLike
from agentmesh.a2a.rocketmq.conversation import Conversation, Line, Unreachable
from agentmesh.a2a.rocketmq.envelope import Request, read_request
from agentmesh.a2a.rocketmq.follow_ups import FollowUps
from agentmesh.broker.rocketmq.broker import RocketMQBroker
from agentmesh.broker.rocketmq.client import Connection, Producer, Received
from agentmesh.broker.rocketmq.lanes import Source
from agentmesh.clock import Clock, sleep
from agentmesh.errors import LeaseLost, MeshError
from agentmesh.log import get_logger
from agentmesh.runtime.client import Client
from agentmesh.runtime.declaration import Declaration

HOLD: Final = 15.0
"""Seconds after which others get the requests of a process that died."""

MOST: Final = 1000
"""Requests that a process answers at once; further ones wait."""

_RENEW: Final = 4.0
_FULL: Final = 5.0
_SOON: Final = 1.0
_LONGEST: Final = 300.0
_TRIES: Final = 8
_GRACE: Final = 1.0


class _Served(NamedTuple):
    topic: str
    skills: Mapping[str, SkillLike]
    client: Client


class Desk:
    """Answers rocketmq-a2a clients for the agents of one process. It has a connection of its own, so that a crowd of
    them does not hold up the mesh.
    """

    def __init__(self, broker: RocketMQBroker, clock: Clock) -> None:
        self._clock = clock
        self._connection = Connection(broker.address, clock)
        self._producer = Producer(self._connection)
        self._follow_ups = FollowUps(self._connection, self._producer, broker.remoting, broker.names, clock)
        self._served: dict[str, _Served] = {}
        self._open: dict[asyncio.Task[None], tuple[Source, Received]] = {}
        self._aside: set[asyncio.Task[None]] = set()
        self._opening = asyncio.Lock()
        self._opened = False
        self._closed = False
        broker.hand_on(self.receive)

    async def serve(self, declaration: Declaration, client: Client) -> None:
        """Answer for this agent too. Raises `BrokerUnavailable`, `ConfigError`, `Unauthorized`."""
        async with self._opening:
            if not self._opened:
                await self._producer.start()
                await self._follow_ups.open()
                self._opened = True
        self._served[declaration.topic] = _Served(declaration.topic, declaration.skills, client)
        await self._follow_ups.subscribe(declaration.topic)

    def receive(self, source: Source, received: Received) -> bool:
        """Take the message, if it is a request for an agent of ours."""
        if self._closed:
            return True  # it comes back, to somebody else
        request, served = read_request(received.body), self._served.get(source.lane.topic)
        if request is None or served is None:
            return False
        if len(self._open) >= MOST:
            self._begin(_later(source, received, _FULL), self._aside.discard)
            return True
        task = self._begin(self._handle(source, received, request, served), self._forget)
        self._open[task] = source, received
        return True

    async def close(self) -> None:
        """Let others answer what is not answered yet."""
        self._closed = True
        await self._follow_ups.close()
        if self._open:
            await asyncio.wait(list(self._open), timeout=_GRACE)
        left = dict(self._open)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, *self._aside, return_exceptions=True)
        await asyncio.gather(*(_later(source, received, _SOON) for source, received in left.values()))
        await self._connection.close(hurry=True)

    async def _handle(self, source: Source, received: Received, request: Request, served: _Served) -> None:
        line = Line(self._producer, request, (self._follow_ups.parent, served.topic))
        conversation = Conversation(request, served.topic, served.skills, served.client, line)
        keeping = asyncio.create_task(self._keep(source, received, asyncio.current_task()))
        try:
            try:
                await conversation.run()
            finally:
                keeping.cancel()
        except Unreachable as error:
            _warn("cannot reach a rocketmq-a2a client", served, request, error)
            if received.attempt >= _TRIES:
                await self._give_up(source, received)
            else:
                await _later(source, received, min(2.0**received.attempt, _LONGEST))
        except MeshError as error:
            _warn("cannot answer a rocketmq-a2a client yet", served, request, error)
            await _later(source, received, min(2.0**received.attempt, _LONGEST))
        except Exception:
            get_logger().exception("cannot answer a rocketmq-a2a client", topic=served.topic)
            await self._give_up(source, received)
        else:
            with contextlib.suppress(MeshError):  # then it is answered again
                await source.consumer.ack([received])

    async def _keep(self, source: Source, received: Received, task: "asyncio.Task[None] | None") -> None:
        """Hold the request. Whoever lost it leaves it to the one who has it now."""
        while True:
            await sleep(self._clock, _RENEW)
            try:
                await source.consumer.change_invisible(received, HOLD)
            except LeaseLost:
                if task:
                    task.cancel()
                return
            except MeshError as error:
                get_logger().warning("cannot hold a request", message=received.id, error=str(error))

    async def _give_up(self, source: Source, received: Received) -> None:
        with contextlib.suppress(MeshError):
            await source.consumer.dead_letter(received)

    def _begin(
        self, work: Coroutine[Any, Any, None], forget: "Callable[[asyncio.Task[None]], object]"
    ) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        if forget == self._aside.discard:
            self._aside.add(task)
        task.add_done_callback(forget)
        return task

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._open.pop(task, None)


async def _later(source: Source, received: Received, seconds: float) -> None:
    with contextlib.suppress(MeshError):
        await source.consumer.change_invisible(received, seconds)


def _warn(what: str, served: _Served, request: Request, error: Exception) -> None:
    get_logger().warning(what, topic=served.topic, request=request.request_id, error=str(error))
