"""`/metrics` and `/healthz` over HTTP/1.1 (RFC 9112), on loopback alone.

One request a connection, GET or HEAD, without a body. Whoever is slow, sends too much or sends something else is told
so and cut off; nothing that a client does holds up the mesh.
"""

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from http import HTTPStatus
from importlib.metadata import version
from typing import Final, NamedTuple

from agentmesh.cli.metrics import CONTENT_TYPE, exposition
from agentmesh.errors import ConfigError, MeshError

HEADERS: Final = 8192
"""The longest request line and headers (bytes)."""

CONNECTIONS: Final = 32
PATIENCE: Final = 5.0
"""Seconds for a request to come, for the figures, and for an answer to be read."""

_REQUEST: Final = re.compile(rb"([A-Z]+) ([!-~]+) HTTP/1\.([01])")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*")
_LEFT: Final = 1_000_000
"""Bytes that a client may still send while it is told that it sent too much."""

Figures = Callable[[], Awaitable[Mapping[str, float]]]


class Answer(NamedTuple):
    """What is answered."""

    status: HTTPStatus
    text: str = ""
    kind: str = "text/plain; charset=utf-8"


class Refused(Exception):
    """A request that is not served."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.answer = Answer(status, f"{text}\n")


def address_of(text: str) -> tuple[str, int]:
    """Host and port of `9100`, `127.0.0.1:9100` or `[::1]:9100`. Raises `ConfigError`, for places off loopback too."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ConfigError(f"--metrics {text}: use a port from 1 to 65535, or 0 for any that is free.")
    if not _is_loopback(host):
        raise ConfigError(
            f"--metrics {text}: {host} is not loopback, and nobody proves there who he is. Use a port alone; to reach "
            "it from elsewhere, put a proxy that checks who comes in front of it."
        )
    return ("127.0.0.1" if host == "localhost" else host), int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@asynccontextmanager
async def serving(figures: Figures, host: str, port: int, patience: float = PATIENCE) -> AsyncIterator[str]:
    """Serve while the block runs; yields the address. Raises `ConfigError` if the port cannot be had."""
    exporter = _Exporter(figures, patience)
    try:
        server = await asyncio.start_server(exporter.connected, host, port, limit=HEADERS)
    except OSError as error:
        raise ConfigError(
            f"--metrics {port}: it cannot be listened to ({error.strerror or error}). "
            "Use another port, or 0 for any that is free."
        ) from error
    try:
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{server.sockets[0].getsockname()[1]}/metrics"
    finally:
        server.close()
        await exporter.end()


class _Exporter:
    """The connections of one server."""

    def __init__(self, figures: Figures, patience: float) -> None:
        self._figures = figures
        self._patience = patience
        self._tasks: set[asyncio.Task[None]] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            async with asyncio.timeout(3 * self._patience):
                await self._converse(reader, writer)
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def end(self) -> None:
        """Cut what is still open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = b"GET"
        try:
            method, path = await self._request(reader)
            answer = await self._answer(path)
        except Refused as refused:
            answer = refused.answer
        except asyncio.IncompleteReadError:  # it left in the middle
            return
        writer.write(_response(answer, with_body=method != b"HEAD"))
        async with asyncio.timeout(self._patience):
            await writer.drain()
            writer.write_eof()
            await _discard(reader)
            writer.close()
            await writer.wait_closed()

    async def _request(self, reader: asyncio.StreamReader) -> tuple[bytes, str]:
        """Method and path. Raises `Refused`."""
        if len(self._tasks) > CONNECTIONS:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, f"There are {CONNECTIONS} connections already.")
        try:
            async with asyncio.timeout(self._patience):
                raw = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError as error:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"No request within {self._patience:g} s.") from error
        except asyncio.LimitOverrunError as error:
            text = f"More than {HEADERS} bytes of headers."
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text) from error
        line, *rest = raw[:-4].split(b"\r\n")
        request = _REQUEST.fullmatch(line)
        headers = [_HEADER.fullmatch(each) for each in rest]
        hosts = [each[2] for each in headers if each and each[1].lower() == b"host"]
        if not request or not all(headers) or len(hosts) > 1 or (not hosts and request[3] == b"1"):
            raise Refused(HTTPStatus.BAD_REQUEST, "That is no HTTP/1.1 request.")
        if hosts and not _is_loopback(_name_of(hosts[0].decode("latin-1"))):
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "Ask for it as localhost: a page elsewhere may not read it.")
        if request[1] not in (b"GET", b"HEAD"):
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD are what there is.")
        return request[1], request[2].decode().partition("?")[0]

    async def _answer(self, path: str) -> Answer:
        """What is at the path. Raises `Refused`."""
        if path not in ("/metrics", "/healthz"):
            raise Refused(HTTPStatus.NOT_FOUND, "There are /metrics and /healthz.")
        try:
            async with asyncio.timeout(self._patience):
                figures = await self._figures()
        except (MeshError, TimeoutError) as error:
            text = str(error) or f"The mesh does not answer within {self._patience:g} s."
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, text) from error
        if path == "/healthz":
            return Answer(HTTPStatus.OK, "ok\n")
        return Answer(HTTPStatus.OK, exposition(figures, version("agentmesh")), CONTENT_TYPE)


def _name_of(host: str) -> str:
    """The host of a Host field, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _response(answer: Answer, *, with_body: bool) -> bytes:
    body = answer.text.encode()
    allow = ["Allow: GET, HEAD"] if answer.status == HTTPStatus.METHOD_NOT_ALLOWED else []
    head = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Date: {formatdate(usegmt=True)}",
        f"Content-Type: {answer.kind}",
        f"Content-Length: {len(body)}",
        *allow,
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + (body if with_body else b"")


async def _discard(reader: asyncio.StreamReader) -> None:
    """Read what still comes: a connection that is closed over unread data is reset, and the answer lost."""
    left = _LEFT
    with contextlib.suppress(OSError):
        while left > 0 and (data := await reader.read(65_536)):
            left -= len(data)
