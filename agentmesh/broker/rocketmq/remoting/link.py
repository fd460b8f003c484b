"""A connection to one server of the remoting protocol, made again when it breaks."""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import Mapping
from typing import Any, Final

from agentmesh.broker.rocketmq.address import Address, split_endpoint
from agentmesh.broker.rocketmq.remoting.faults import refusal
from agentmesh.broker.rocketmq.remoting.frame import Answer, read_answer, read_length, request
from agentmesh.errors import BrokerUnavailable, ConfigError, MeshError, PayloadCorrupt

TIMEOUT: Final = 5.0
"""Seconds that an answer may take, connecting included, unless a request says otherwise."""

_BACK: Final = 0.2
"""Seconds until a connection is tried again."""

_GOING: Final = 1500
"""A server that is about to stop says so instead of answering."""

_WELL: Final = (0,)
_CERTIFICATE: Final = (
    "Give the certificate of its authority (?tls=true&ca=PATH) and the host as the certificate names it, or "
    "remoting_tls=false if it has none."
)


class Link:
    """Any number of requests on their way at once. Whatever is asked may be asked twice: a request whose connection
    broke is sent again until its time is over."""

    def __init__(self, endpoint: str, address: Address) -> None:
        self.endpoint = endpoint
        self._credentials = address.credentials
        self._host, self._port = split_endpoint(endpoint)
        self._tls = _context(address)
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self._connecting = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    async def ask(
        self,
        what: str,
        code: int,
        fields: Mapping[str, Any] | None = None,
        body: bytes = b"",
        *,
        name: str = "",
        well: tuple[int, ...] = _WELL,
        timeout: float = TIMEOUT,
    ) -> Answer:
        """The answer to a request, if its code is one of `well`; else the error that it means. `what` and `name` (a
        topic or a group) are for that error. Raises `BrokerUnavailable` after `timeout` seconds.
        """
        doing = f"{what}{f' {name!r}' if name else ''} at RocketMQ {self.endpoint}"
        lost: Exception | None = None
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        answer = await self._exchange(code, fields or {}, body)
                    except ssl.SSLCertVerificationError as error:
                        raise ConfigError(f"{doing}: {error.verify_message}. {_CERTIFICATE}") from error
                    except PayloadCorrupt as error:
                        raise BrokerUnavailable(f"{doing}: {error} Check the port.") from error
                    except (OSError, asyncio.IncompleteReadError) as error:
                        lost = error
                        await asyncio.sleep(_BACK)
                        continue
                    if answer.code != _GOING:
                        break
                    await asyncio.sleep(_BACK)
        except TimeoutError as error:
            raise self._silent(doing, timeout, lost) from (lost or error)
        if answer.code not in well:
            raise refusal(answer, doing, name, self._credentials.access_key if self._credentials else "")
        return answer

    async def close(self) -> None:
        """Break off what is on its way, and end."""
        self._closed = True
        self._lose(ConnectionError("closed"))
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def _silent(self, doing: str, timeout: float, lost: Exception | None) -> MeshError:
        if isinstance(lost, ssl.SSLError):
            return BrokerUnavailable(f"{doing}: TLS failed ({lost}). Check ?tls= and ?ca=.")
        why = f" ({lost})" if lost else ""
        return BrokerUnavailable(
            f"{doing}: no answer within {timeout:g} s{why}. Check that a broker (port 10911), a proxy (8080) or a name "
            "server (9876) listens there for the remoting protocol."
        )

    async def _exchange(self, code: int, fields: Mapping[str, Any], body: bytes) -> Answer:
        writer = await self._connect()
        number = next(self._numbers)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open[number] = future
        try:
            writer.write(request(number, code, fields, body, self._credentials))
            await writer.drain()
            return await future
        finally:
            self._open.pop(number, None)

    async def _connect(self) -> asyncio.StreamWriter:
        async with self._connecting:
            if self._writer is None and not self._closed:
                reader, writer = await asyncio.open_connection(self._host.strip("[]"), self._port, ssl=self._tls)
                if self._closed:  # meanwhile
                    writer.close()
                else:
                    self._writer = writer
                    self._reading = asyncio.create_task(self._read(reader))
            if self._writer is None:
                raise BrokerUnavailable(f"The connection to RocketMQ {self.endpoint} is closed.")
            return self._writer

    async def _read(self, reader: asyncio.StreamReader) -> None:
        error: Exception = ConnectionError("the connection was closed")
        try:
            while True:
                raw = await reader.readexactly(read_length(await reader.readexactly(4)))
                answer = read_answer(raw)
                future = self._open.get(answer.number)
                if future and not future.done():
                    future.set_result(answer)
        except (OSError, asyncio.IncompleteReadError, PayloadCorrupt) as broken:
            error = broken
        finally:
            self._lose(error)

    def _lose(self, error: Exception) -> None:
        writer, self._writer = self._writer, None
        if writer:
            with contextlib.suppress(OSError):
                writer.close()
        for future in self._open.values():
            if not future.done():
                future.set_exception(error)


def _context(address: Address) -> ssl.SSLContext | None:
    if not (address.tls if address.remoting_tls is None else address.remoting_tls):
        return None
    try:
        return ssl.create_default_context(cafile=address.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"The authority's certificate {address.ca!r} cannot be used: {error}.") from error
