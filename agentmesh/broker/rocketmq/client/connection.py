"""One HTTP/2 connection to a proxy, shared by any number of logical clients."""

import asyncio
import hashlib
import hmac
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias, TypeVar

import grpc

from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.client import wire
from agentmesh.broker.rocketmq.client.faults import Doing, broken, code_of, forgotten, is_missing, refusal
from agentmesh.broker.rocketmq.client.message import Received
from agentmesh.clock import Clock, SystemClock, sleep
from agentmesh.errors import BrokerUnavailable, ConfigError, MeshError

TIMEOUT: Final = 3.0
"""Seconds that a request may take, unless it says otherwise."""

_SERVICE: Final = "/apache.rocketmq.v2.MessagingService/"
_SIGNED_FOR: Final = 30_000
"""Milliseconds for which a client's headers are used again; their date is signed."""

_ROUTE_FOR: Final = 30_000
"""Milliseconds for which a route is used again."""

GRACE: Final = 3.0
"""Seconds that a topic that is not known yet may take to be."""

_PAUSE: Final = 0.2
_NO_GROUP: Final = 40403
_WELL: Final = (20000,)
_OPTIONS: Final = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 3_000),  # in truth what a connection may take to be made
    ("grpc.max_reconnect_backoff_ms", 1_000),
)

Headers = tuple[tuple[str, str], ...]
_T = TypeVar("_T")
_Part = Received | wire.Status | None
_Stream: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, _Part]"
_Dialogue: TypeAlias = "grpc.aio.StreamStreamMultiCallable[bytes, wire.Command]"


class Closable(Protocol):
    """A logical client."""

    async def close(self, hurry: bool = False) -> None: ...


class Connection:
    """The connection to `address`. It is made by the first request, and again for ever when it breaks."""

    def __init__(self, address: Address, clock: Clock | None = None) -> None:
        self.address = address
        self.endpoint = address.endpoint
        self.clock: Clock = clock or SystemClock()
        self.clients: set[Closable] = set()
        self.closed = False
        self._channel = _channel(address)
        self._calls: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, Any]] = {}
        self._routes: dict[str, tuple[int, list[wire.Queue]]] = {}
        self._known: set[str] = set()
        self._headers: dict[str, tuple[int, Headers]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close(hurry=error is not None)

    async def close(self, hurry: bool = False) -> None:
        """Close the logical clients, then the connection. Open polls end first, at most about five seconds; `hurry`
        does not wait for them."""
        if self.closed:
            return
        await asyncio.gather(*(each.close(hurry) for each in tuple(self.clients)), return_exceptions=True)
        self.closed = True
        await self._channel.close()

    def doing(self, what: str, topic: str = "", group: str = "") -> Doing:
        """What an error says of where it happened."""
        credentials = self.address.credentials
        return Doing(what, self.endpoint, topic, group, credentials.access_key if credentials else "")

    async def call(
        self,
        client: str,
        method: wire.Method[_T],
        request: bytes,
        doing: Doing,
        timeout: float = TIMEOUT,
        well: tuple[int, ...] = _WELL,
    ) -> _T:
        """What the reply holds, if its code is one of `well`; else the error that it means. `client` is the id of the
        logical client; the answer has `timeout` seconds."""
        self._check_open(doing)
        call = self._calls.get(method.name)
        if call is None:
            call = self._channel.unary_unary(
                _SERVICE + method.name, request_serializer=None, response_deserializer=method.read
            )
            self._calls[method.name] = call
        try:
            reply = await call(request, timeout=timeout, metadata=self.headers(client))
        except grpc.aio.AioRpcError as error:
            raise broken(error, doing) from error
        except asyncio.CancelledError:  # a call that `close` broke off looks like a cancelled task
            task = asyncio.current_task()
            if self.closed and task and not task.cancelling():
                raise _closed(doing) from None
            raise
        if reply.status.code not in well:
            raise self.refused(reply.status, doing)
        self._known.update((doing.topic, doing.group))
        value: _T = reply.value
        return value

    def refused(self, status: wire.Status, doing: Doing) -> MeshError:
        """The error for a verdict. A topic or group that is missing, and was there before, is a matter of time."""
        error = refusal(status, doing)
        name = doing.group if code_of(error) == _NO_GROUP else doing.topic
        return forgotten(error) if name and is_missing(error) and name in self._known else error

    def receive(self, client: str, request: bytes, timeout: float) -> "grpc.aio.UnaryStreamCall[bytes, _Part]":
        """The stream of replies to a poll."""
        call: _Stream = self._channel.unary_stream(
            _SERVICE + "ReceiveMessage", request_serializer=None, response_deserializer=wire.read_received
        )
        return call(request, timeout=timeout, metadata=self.headers(client))

    def telemetry(self, client: str) -> "grpc.aio.StreamStreamCall[bytes, wire.Command]":
        """The stream on which a logical client and the server tell each other their settings."""
        call: _Dialogue = self._channel.stream_stream(
            _SERVICE + "Telemetry", request_serializer=None, response_deserializer=wire.read_command
        )
        return call(metadata=self.headers(client))

    async def route(self, client: str, topic: str) -> list[wire.Queue]:
        """The queues of a topic, as of the last half minute. Raises `ConfigError` if there is no such topic, nor is any
        three seconds later: a new one takes a moment to get around; `BrokerUnavailable` if it was there before."""
        known = self._routes.get(topic)
        if known and self.clock.now() - known[0] < _ROUTE_FOR:
            return known[1]
        doing = self.doing("Looking up a topic", topic)
        until = asyncio.get_running_loop().time() + GRACE
        while True:
            try:
                queues = await self.call(client, wire.ROUTE, wire.route(topic, self.endpoint), doing)
                break
            except MeshError as error:
                if not is_missing(error) or asyncio.get_running_loop().time() > until:
                    raise
            await sleep(self.clock, _PAUSE)
        self._routes[topic] = self.clock.now(), queues
        return queues

    def expect(self, *names: str) -> None:
        """These topics and groups are there: one that is missing is missing for a while, as with a name server that was
        just started."""
        self._known.update(names)

    def forget_route(self, topic: str) -> None:
        """Look the topic up again next time."""
        self._routes.pop(topic, None)

    def headers(self, client: str) -> Headers:
        """What every request of this logical client carries."""
        now = self.clock.now()
        made, headers = self._headers.get(client, (0, ()))
        if not headers or abs(now - made) > _SIGNED_FOR:
            headers = self._sign(client, now)
            self._headers[client] = now, headers
        return headers

    def drop(self, client: Closable, name: str) -> None:
        """A logical client has ended."""
        self.clients.discard(client)
        self._headers.pop(name, None)

    def _sign(self, client: str, now: int) -> Headers:
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now / 1000))
        headers = (
            ("x-mq-language", "PYTHON"),
            ("x-mq-protocol", "GRPC_V2"),
            ("x-mq-client-version", wire.VERSION),
            ("x-mq-date-time", date),
            ("x-mq-client-id", client),
            ("x-mq-namespace", ""),
            ("x-mq-request-id", uuid.uuid4().hex),
        )
        credentials = self.address.credentials
        if credentials is None:
            return headers
        signature = hmac.new(credentials.secret_key.encode(), date.encode(), hashlib.sha1).hexdigest()
        signed = f"Credential={credentials.access_key}, SignedHeaders=x-mq-date-time, Signature={signature}"
        return (*headers, ("authorization", f"MQv2-HMAC-SHA1 {signed}"))

    def _check_open(self, doing: Doing) -> None:
        if self.closed:
            raise _closed(doing)


def _closed(doing: Doing) -> BrokerUnavailable:
    return BrokerUnavailable(f"{doing}: this connection is closed.")


def _channel(address: Address) -> grpc.aio.Channel:
    if not address.tls:
        return grpc.aio.insecure_channel(address.endpoint, _OPTIONS)
    authorities: bytes | None = None
    if address.ca:
        try:
            authorities = Path(address.ca).read_bytes()
        except OSError as error:
            raise ConfigError(
                f"The authority's certificate {address.ca!r} cannot be read: {error.strerror}."
            ) from error
    return grpc.aio.secure_channel(address.endpoint, grpc.ssl_channel_credentials(authorities), _OPTIONS)
