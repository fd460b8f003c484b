"""A logical client: its id, its telemetry stream, its heartbeat."""

import asyncio
import contextlib
import itertools
import os
import socket
import uuid
from collections.abc import Callable
from typing import Final

import grpc

from agentmesh.broker.rocketmq.client import wire
from agentmesh.broker.rocketmq.client.connection import Connection
from agentmesh.broker.rocketmq.client.faults import broken, refusal
from agentmesh.clock import sleep
from agentmesh.errors import BrokerUnavailable, MeshError
from agentmesh.log import get_logger

HEARTBEAT: Final = 10.0
"""Seconds between heartbeats."""

_READY: Final = 5.0
"""Seconds that the server's first settings may take."""

_BACK: Final = (0.1, 2.0)
"""The first and the longest wait before a telemetry stream is opened again, in seconds."""

_numbers = itertools.count(1)


class Session:
    """Keeps one logical client known to the proxy, from `start` to `close`, over every break of the connection.

    `hello` is the client's settings as bytes; `on_ready` is called whenever the server has answered them: at the start
    and after each break; `on_command` gets everything else that the server says.
    """

    def __init__(
        self,
        connection: Connection,
        kind: wire.Kind,
        group: str,
        hello: bytes,
        on_ready: Callable[[], None] = lambda: None,
        on_command: Callable[[wire.Command], None] = lambda _: None,
    ) -> None:
        self.id = f"{socket.gethostname()}@{os.getpid()}@{next(_numbers)}@{uuid.uuid4().hex[:10]}"
        self.connection = connection
        self.group = group
        self._kind = kind
        self._hello = hello
        self._on_ready = on_ready
        self._on_command = on_command
        self._ready = asyncio.Event()
        self._refused: MeshError | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Introduce the client. Raises `BrokerUnavailable` if nobody answers within five seconds, `Unauthorized` or
        `ConfigError` if the server refuses it."""
        self._tasks = [asyncio.create_task(self._telemetry()), asyncio.create_task(self._heartbeats())]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_READY):
                await self._ready.wait()
        if self._refused is not None or not self._ready.is_set():
            error = self._refused or BrokerUnavailable(
                f"RocketMQ {self.connection.endpoint} did not answer within {_READY:.0f} s. Check the address."
            )
            await self._end()
            raise error

    async def close(self) -> None:
        """Say goodbye, if anybody is there, and end."""
        if not self._tasks:
            return
        with contextlib.suppress(MeshError):
            doing = self.connection.doing("Saying goodbye", group=self.group)
            await self.connection.call(self.id, wire.TERMINATION, wire.termination(self.group), doing, timeout=1)
        await self._end()

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, []
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _telemetry(self) -> None:
        doing = self.connection.doing("Introducing a client", group=self.group)
        back, longest = _BACK
        while True:
            call = self.connection.telemetry(self.id)
            try:
                await call.write(self._hello)
                async for command in call:
                    back = _BACK[0]
                    if command.kind == "reconnect_endpoints_command":
                        break
                    self._heard(command)
                error: MeshError | None = None
            except grpc.aio.AioRpcError as lost:
                error = broken(lost, doing)
            except (grpc.aio.UsageError, asyncio.InvalidStateError) as ended:  # it broke before the first word
                error = BrokerUnavailable(f"{doing}: the stream ended ({ended}).")
            except MeshError as refused:
                error = refused
            finally:
                call.cancel()
            if error is not None and not self._ready.is_set():
                self._refuse(error)
            await sleep(self.connection.clock, back)
            back = min(back * 2, longest)

    def _heard(self, command: wire.Command) -> None:
        if command.kind == "settings":
            self._refused = None
            self._ready.set()
            self._on_ready()
        elif command.status.code not in (0, 20000):
            raise refusal(command.status, self.connection.doing("Introducing a client", group=self.group))
        else:
            self._on_command(command)

    def _refuse(self, error: MeshError) -> None:
        self._refused = error
        if not isinstance(error, BrokerUnavailable):
            self._ready.set()

    async def _heartbeats(self) -> None:
        doing = self.connection.doing("A heartbeat", group=self.group)
        request = wire.heartbeat(self._kind, self.group)
        failing = False
        while True:
            await sleep(self.connection.clock, HEARTBEAT)
            try:
                await self.connection.call(self.id, wire.HEARTBEAT, request, doing)
                failing = False
            except MeshError as error:
                if not failing:
                    get_logger().warning("a heartbeat failed", error=str(error))
                failing = True
