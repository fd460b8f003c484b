"""One connection to Nacos, through nacos-sdk-python 2.0.11 with what is wrong with it repaired. The SDK is used nowhere
else, and only its connection and its requests: not its services, which write tokens and cards into log files, keep what
they read in files of their own, lose changes that come close together, and never tell that the last instance has left.

What is repaired, each to be switched off for a test that shows what happens then, is listed in `Repairs`.
"""

import asyncio
import importlib
import logging
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from agentmesh.errors import Unauthorized
from agentmesh.registry.nacos.address import Address
from agentmesh.registry.nacos.listening import check_listening
from agentmesh.registry.nacos.refusals import Refused, refusal, unreachable

TIMEOUT: Final = 3.0
"""Seconds for a request, and for a connection to be made."""

_PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.0)
_UNREGISTERED: Final = 301
_RETRY_LATER: Final = range(300, 400)
_KEEPALIVE: Final = 20_000

Headers = Callable[[bool], Awaitable[dict[str, str]]]
"""What identifies us, to be sent along with each request; anew if told so."""


class Repairs(msgspec.Struct, frozen=True):
    """Which faults of the SDK are repaired."""

    health: bool = True
    """It takes 301, connection unregistered, for healthy: after a freeze, or a restart shorter than its check every 5
    s, it stays unregistered for ever."""
    reconnect: bool = True
    """Its health check and its failed requests reconnect at the same time and close each other's connection; a failed
    attempt writes to the root logger, which installs a handler there, and may leave a channel open."""
    stream: bool = True
    """It does not see that the server has ended the connection: it finds out by its next check, up to 5 s later, and
    the task's exception is never retrieved, and what sends on the connection waits for ever."""
    requests: bool = True
    """A request that is refused is sent three times, loses its code, and costs the connection; one that fails with an
    error of gRPC is not repeated, and nobody reconnects."""
    tls: bool = True
    """It wants a client's certificate and key, and an authority of one's own: else it opens a file of no name."""
    address: bool = True
    """It cannot send anything from a machine without an IPv4 address beside the loopback's."""


REPAIRED: Final = Repairs()
"""All of them."""


def load() -> None:
    """Import the SDK, which takes up to a second. Raises `ImportError`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its models are written in the style of an older pydantic
        importlib.import_module("v2.nacos")


class Link:
    """A connection for `module` ("config" or "naming"), which Nacos tells apart. It stays, over restarts of the server.

    `on_connected` is called after each time that it was made, the first included; `pushed` takes the type of a request
    that the server sends to what is done with it. Neither may block or raise.
    """

    def __init__(
        self,
        address: Address,
        headers: Headers,
        module: str,
        on_connected: Callable[[], object],
        pushed: Mapping[str, Callable[[Any], object]],
        repairs: Repairs = REPAIRED,
    ) -> None:
        self.address = address
        self.connects = 0
        """How many connections were made."""
        self._headers = headers
        self._module = module
        self._on_connected = on_connected
        self._pushed = pushed
        self._repairs = repairs
        self._rpc: Any = None
        self._lock = asyncio.Lock()
        self._streams: set[asyncio.Task[Any]] = set()
        self._ready = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._rpc is not None and bool(self._rpc.is_running())

    async def open(self) -> None:
        """Connect. Raises `RegistryUnavailable` at once where nobody listens, else within ten seconds."""
        await check_listening(self.address, TIMEOUT)  # the SDK takes nine seconds to find out
        rpc = self._make()
        try:
            await rpc.register_connection_listener(_Listener(self._connected, self._ready.clear))
            for kind, callback in self._pushed.items():
                await rpc.register_server_request_handler(kind, _Handler(callback))
            await rpc.start()
        except Exception as error:
            await rpc.shutdown()
            raise unreachable(self.address, error) from error
        self._rpc = rpc

    async def close(self) -> None:
        """End the connection: what was registered through it is gone at once."""
        rpc, self._rpc = self._rpc, None
        self._ready.clear()
        if rpc is None:
            return
        if rpc.current_connection:
            rpc.current_connection.set_abandon(True)
            rpc.current_connection.queue.put_nowait(None)
            await asyncio.sleep(0)
        await rpc.shutdown()
        for task in tuple(self._streams):
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    async def request(self, request: Any) -> Any:
        """Send a request of the SDK and return the answer. It is repeated once, over a new connection or with a new
        token, so it must bear that. Raises `RegistryUnavailable`, `Refused`, `Stale`, `Unauthorized`.
        """
        if self._rpc is None:
            raise unreachable(self.address)
        if not self._repairs.requests:
            request.put_all_headers(await self._headers(False))
            return await self._rpc.request(request, int(TIMEOUT * 1000))
        for attempt in (1, 2):
            request.put_all_headers(await self._headers(attempt > 1))
            try:
                return await self._request_once(request)
            except Unauthorized:
                if attempt > 1:
                    raise
            except _Lost as error:
                if attempt > 1 or not await self._reconnected():
                    raise unreachable(self.address, error) from error
        raise AssertionError("the second attempt returns or raises")

    async def _request_once(self, request: Any) -> Any:
        """Raises `_Lost` if it must go over another connection."""
        from grpc.aio import AioRpcError
        from v2.nacos.transport.model.internal_response import ErrorResponse  # type: ignore[import-untyped]

        rpc = self._rpc
        connection = rpc.current_connection
        if connection is None or not rpc.is_running():
            raise _Lost("it is reconnecting")
        try:
            answer = await connection.request(request, int(TIMEOUT * 1000))
        except asyncio.CancelledError as error:
            if _cancelled():
                raise
            raise _Lost("the connection was replaced") from error
        except AioRpcError as error:
            self._doubt()
            raise _Lost(str(error.details() or error.code())) from error
        except ValueError as error:
            raise Refused(
                f"{self.address} answers {request.get_request_type()} with what is no answer: {error}"
            ) from error
        code = answer.get_error_code()
        if code == _UNREGISTERED:
            self._doubt()
            raise _Lost("the server does not know this connection any more")
        if isinstance(answer, ErrorResponse) or answer.get_result_code() != 200:
            raise refusal(self.address, request.get_request_type(), code, answer.get_message())
        from v2.nacos.utils.common_util import get_current_time_millis  # type: ignore[import-untyped]

        rpc.last_active_timestamp = get_current_time_millis()
        return answer

    async def _reconnected(self) -> bool:
        """Whether there is a connection again, within `TIMEOUT`."""
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._ready.wait()
        except TimeoutError:
            return False
        return self.running

    def _doubt(self) -> None:
        """Something is wrong with the connection: have it checked, and replaced."""
        if self._rpc is None or self._rpc.is_shutdown() or not self._ready.is_set():
            return
        from v2.nacos.transport.rpc_client import ReconnectContext, RpcClientStatus  # type: ignore[import-untyped]

        self._ready.clear()
        self._rpc.rpc_client_status = RpcClientStatus.UNHEALTHY
        self._rpc.reconnection_chan.put_nowait(ReconnectContext(None, True))

    async def _connected(self) -> None:
        self.connects += 1
        self._ready.set()
        self._on_connected()

    def _make(self) -> Any:
        from v2.nacos.common.client_config import ClientConfig  # type: ignore[import-untyped]
        from v2.nacos.transport.grpc_client import GrpcClient  # type: ignore[import-untyped]
        from v2.nacos.transport.nacos_server_connector import NacosServerConnector  # type: ignore[import-untyped]

        config = ClientConfig(
            server_addresses=",".join(f"{host}:{port}" for host, port in self.address.servers),
            namespace_id=self.address.namespace,
        )
        config.tls_config.enabled = self.address.tls
        config.tls_config.ca_file = self.address.ca
        config.grpc_config.max_keep_alive_ms = _KEEPALIVE
        rpc = GrpcClient(_SILENT, self._module, config, NacosServerConnector(_SILENT, config, None))
        rpc.put_all_labels({"source": "sdk", "module": self._module})
        self._repair(rpc)
        return rpc

    def _repair(self, rpc: Any) -> None:
        if self._repairs.address:
            _repair_local_address()
        if self._repairs.health:
            rpc.send_health_check = lambda: _is_healthy(rpc)
        if self._repairs.reconnect:
            rpc.reconnect = lambda context: self._reconnect(rpc, context)
        if self._repairs.tls and self.address.tls:
            rpc._create_new_managed_channel = lambda host, port: _secure_channel(rpc, self.address, host, port)
        if self._repairs.stream:
            watch = rpc._server_request_watcher
            rpc._server_request_watcher = lambda connection: self._watch(rpc, watch, connection)

    async def _reconnect(self, rpc: Any, context: Any) -> None:
        """One at a time, and not if the connection turns out to be healthy, for instance because it is a new one."""
        from v2.nacos.transport.rpc_client import RpcClientStatus

        before = rpc.current_connection
        async with self._lock:
            if rpc.current_connection is not before and rpc.is_running():
                return
            if context.server_info is None and await _is_healthy(rpc):
                rpc.rpc_client_status = RpcClientStatus.RUNNING
                self._ready.set()
                return
            attempts = 0
            while not rpc.is_shutdown():
                connection = await _connect(rpc, rpc._next_rpc_server())
                if connection:
                    await _replace(rpc, connection)
                    return
                await asyncio.sleep(_PAUSES[min(attempts, len(_PAUSES) - 1)])
                attempts += 1

    async def _watch(self, rpc: Any, watch: Callable[[Any], Awaitable[None]], connection: Any) -> None:
        """Take what the server sends; when it ends, so did the connection."""
        task = asyncio.current_task()
        assert task
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        connection.request_payloads = lambda: _payloads(connection.queue)
        try:
            await watch(connection)
        except Exception:  # noqa: S110 - whatever it was, the connection is over
            pass
        finally:
            connection.queue.put_nowait(None)
        if not connection.is_abandon() and connection is rpc.current_connection:
            self._doubt()


class _Lost(Exception):
    """The connection is over."""


class _Listener:
    """What the SDK calls when a connection was made, or lost."""

    def __init__(self, connected: Callable[[], Awaitable[None]], lost: Callable[[], object]) -> None:
        self.on_connected = connected
        self._lost = lost

    async def on_disconnect(self) -> None:
        self._lost()


class _Handler:
    """Answers what the server pushes, and hands it on."""

    def __init__(self, callback: Callable[[Any], object]) -> None:
        self._callback = callback

    def name(self) -> str:
        return "agentmesh"

    async def request_reply(self, request: Any) -> Any:
        from v2.nacos.transport.model.internal_response import NotifySubscriberResponse

        self._callback(request)
        return NotifySubscriberResponse()


_SILENT: Final = logging.Logger("agentmesh.nacos", logging.CRITICAL + 1)
"""What the SDK logs to, at whatever level: tokens and cards would be among it. Nobody else can get hold of it."""


async def _payloads(queue: "asyncio.Queue[Any]") -> AsyncIterator[Any]:
    """What is to be sent on a connection, until there comes None; the SDK's own waits for ever."""
    while payload := await queue.get():
        yield payload


def _cancelled() -> bool:
    """Whether it is us who are to end, and not only a request whose channel was closed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _is_healthy(rpc: Any) -> bool:
    from v2.nacos.transport.model.internal_request import HealthCheckRequest  # type: ignore[import-untyped]

    if not rpc.current_connection:
        return False
    try:
        answer = await rpc.current_connection.request(HealthCheckRequest(), int(TIMEOUT * 1000))
    except Exception:
        return False
    code = answer.get_error_code()
    return bool(answer.is_success()) or (code in _RETRY_LATER and code != _UNREGISTERED)


async def _connect(rpc: Any, server: Any) -> Any:
    """A connection, or None. What was opened on the way to a failure is closed."""
    channels: list[Any] = []
    open_channel = rpc._create_new_managed_channel

    async def noted(host: str, port: int) -> Any:
        channels.append(await open_channel(host, port))
        return channels[-1]

    rpc._create_new_managed_channel = noted
    try:
        return await rpc.connect_to_server(server)
    except Exception:
        for channel in channels:
            await channel.close()
        return None
    finally:
        rpc._create_new_managed_channel = open_channel


async def _replace(rpc: Any, connection: Any) -> None:
    from v2.nacos.transport.rpc_client import ConnectionStatus, RpcClientStatus

    old, rpc.current_connection = rpc.current_connection, connection
    rpc.rpc_client_status = RpcClientStatus.RUNNING
    if old:
        old.set_abandon(True)
        await old.close()
        await rpc._notify_connection_change(ConnectionStatus.DISCONNECTED)
    await rpc._notify_connection_change(ConnectionStatus.CONNECTED)


async def _secure_channel(rpc: Any, address: Address, host: str, port: int) -> Any:
    import grpc
    from v2.nacos.common.nacos_exception import CLIENT_DISCONNECT, NacosException  # type: ignore[import-untyped]

    authority = await asyncio.to_thread(Path(address.ca).read_bytes) if address.ca else None
    options = [
        ("grpc.max_receive_message_length", rpc.grpc_config.max_receive_message_length),
        ("grpc.keepalive_time_ms", rpc.grpc_config.max_keep_alive_ms),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    credentials = grpc.ssl_channel_credentials(root_certificates=authority)
    channel = grpc.aio.secure_channel(f"{host}:{port}", credentials, options=options)
    try:
        await asyncio.wait_for(channel.channel_ready(), TIMEOUT)
    except TimeoutError as error:
        await channel.close()
        raise NacosException(
            CLIENT_DISCONNECT, "no secure connection: is the certificate one that ca= vouches for?"
        ) from error
    return channel


def _repair_local_address() -> None:
    from v2.nacos.common.nacos_exception import NacosException
    from v2.nacos.utils.net_util import NetUtils  # type: ignore[import-untyped]

    try:
        NetUtils.get_local_ip()
    except NacosException:
        NetUtils.get_local_ip = staticmethod(lambda: "127.0.0.1")
