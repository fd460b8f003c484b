"""One HTTP GET with an end: whatever the other side does, there is JSON data or `Unavailable` within the time allowed.

urllib, since it goes through the system's proxies and certificates, in a daemon thread: looking up a host's name cannot
be interrupted, and where it hangs it must hold up neither the loop nor the end of the process.
"""

import asyncio
import json
import socket
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import (
    AbstractHTTPHandler,
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    OpenerDirector,
    ProxyHandler,
    Request,
)

MAX_BYTES = 1_000_000


class Unavailable(Exception):
    """There is no usable answer; the message says why in a few words, without the address."""


async def get_json(url: str, *, connect: float, total: float) -> Any:
    """The JSON data at `url`, which is http or https. `connect` and `total` are seconds. Raises `Unavailable`.

    Asked once: redirects are not followed, as what answers with one is somebody's login page.
    """
    errand = _Errand(url, connect, total, asyncio.get_running_loop())
    Thread(target=errand.run, name="weather-web", daemon=True).start()
    try:
        async with asyncio.timeout(total):
            async with asyncio.timeout(connect):
                await errand.connected.wait()
            answer = await errand.answer
    except TimeoutError:
        raise Unavailable("no answer in time") from None
    finally:
        errand.give_up()
    if isinstance(answer, Unavailable):
        raise answer
    return answer


class _Errand:
    """The thread's side of a request, and what the loop waits for."""

    def __init__(self, url: str, connect: float, total: float, loop: asyncio.AbstractEventLoop) -> None:
        self.connected = asyncio.Event()
        self.answer: asyncio.Future[Any] = loop.create_future()
        self._url = url
        self._connect = connect
        self._total = total
        self._loop = loop
        self._socket: socket.socket | None = None
        self._given_up = False

    def run(self) -> None:
        try:
            answer = self._fetch()
        except Exception as error:  # an endpoint can do wrong in more ways than its libraries name
            answer = Unavailable(_reason(error))
        self._tell(self._settle, answer)

    def note_connection(self, connection: HTTPConnection) -> None:
        """A connection stands: from here on it may take all the time there is."""
        if self._given_up:
            raise Unavailable("too late")
        connection.sock.settimeout(self._total)
        self._socket = connection.sock
        self._tell(self.connected.set)

    def give_up(self) -> None:
        """Let the thread end, wherever in its conversation it is; nothing happens if it has ended."""
        self._given_up = True
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _fetch(self) -> Any:
        headers = {"Accept": "application/json", "User-Agent": "agentmesh-example"}
        opener = OpenerDirector()
        for handler in (ProxyHandler(), _Handler(self), HTTPDefaultErrorHandler(), HTTPErrorProcessor()):
            opener.add_handler(handler)
        # each of a host's addresses may take half the time, so that a second one gets its turn
        with opener.open(Request(self._url, headers=headers), timeout=self._connect / 2) as response:  # noqa: S310
            return json.loads(_body(response))

    def _settle(self, answer: Any) -> None:
        self.connected.set()
        if not self.answer.done():
            self.answer.set_result(answer)

    def _tell(self, callback: Any, *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop may be gone by now
            self._loop.call_soon_threadsafe(callback, *arguments)


class _Plain(HTTPConnection):
    """Tells when it is connected. Below TLS too, where that is before the handshake."""

    errand: _Errand

    def connect(self) -> None:
        super().connect()
        self.errand.note_connection(self)


class _Tls(HTTPSConnection, _Plain):
    def connect(self) -> None:
        super().connect()
        self.errand.note_connection(self)  # another socket now: the one in TLS


class _Handler(AbstractHTTPHandler):
    """HTTP and HTTPS for urllib, over connections that tell the errand about themselves."""

    http_request = https_request = AbstractHTTPHandler.do_request_

    def __init__(self, errand: _Errand) -> None:
        super().__init__()
        self._errand = errand

    def http_open(self, request: Request) -> HTTPResponse:
        return self.do_open(self._plain, request)

    def https_open(self, request: Request) -> HTTPResponse:
        return self.do_open(self._tls, request)

    def _plain(self, host: str, **options: Any) -> HTTPConnection:
        return self._told(_Plain(host, **options))

    def _tls(self, host: str, **options: Any) -> HTTPConnection:
        return self._told(_Tls(host, **options))

    def _told(self, connection: _Plain) -> HTTPConnection:
        connection.errand = self._errand
        return connection


def _body(response: HTTPResponse) -> bytes:
    body = bytearray()
    while piece := response.read1(65_536):
        body += piece
        if len(body) > MAX_BYTES:
            raise Unavailable("an answer beyond all measure")
    return bytes(body)


def _reason(error: Exception) -> str:
    if isinstance(error, Unavailable):
        return str(error)
    if isinstance(error, HTTPError):
        error.close()
        return f"status {error.code}"
    if isinstance(error, OSError):
        return "it cannot be reached"
    return "an answer that cannot be read"
