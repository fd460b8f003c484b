"""The host's side of a connection, and the doorbell of a program that hosts in its own loop."""

import asyncio
import os
from collections import deque
from collections.abc import Callable, Collection
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from agentmesh.broker.local.folder import peer
from agentmesh.broker.local.session import Session
from agentmesh.broker.local.wire import MAGIC, PROTOCOL, Records, Rubbish, Welcome, read_hello, record
from agentmesh.log import get_logger

if TYPE_CHECKING:
    from agentmesh.broker.local.host import Host

HELLO: Final = 10_000
"""The longest first record: whoever sends more than that is no client."""

HURRY: Final = 10.0
"""How long (s) a hello may take."""

_AHEAD: Final = 4_000_000
"""How many bytes of replies may wait for their client; until it has read some, it is not listened to."""


class Connection(asyncio.Protocol):
    """One connection: a hello, then requests."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self._records = Records(HELLO)
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[bytes] = deque()
        self._out: list[bytes] = []
        self._size = 0
        self._paused = False
        self._unsaid: set[str] = set()
        self._hurry = asyncio.get_running_loop().call_later(HURRY, self.cut)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(_AHEAD)
        self._host.connections.add(self)
        if peer(transport.get_extra_info("socket"))[1] not in (os.getuid(), 0):
            self.cut()

    def data_received(self, data: bytes) -> None:
        try:
            self._waiting.extend(self._records.feed(data))
        except Rubbish as error:
            self._refuse_rubbish(error)
        else:
            self._work()

    def connection_lost(self, _: Exception | None) -> None:
        self._hurry.cancel()
        self._host.connections.discard(self)
        self._waiting.clear()
        session, self._session = self._session, None
        if session and session.connection is self:
            self._host.leave(session)

    def pause_writing(self) -> None:
        """The client does not read: it is asked nothing more until it does."""
        self._paused = True
        if self._transport:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        if self._unsaid:
            unsaid, self._unsaid = self._unsaid, set()
            self.push(unsaid)
        self._work()

    def cut(self) -> None:
        self._waiting.clear()
        if self._transport:
            self._transport.abort()

    def send(self, reply: bytes) -> None:
        """What is told in one turn goes in one piece."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(reply)
        self._size += len(reply)

    def push(self, topics: Collection[str]) -> None:
        """Say unasked that registrations changed; to one who does not read, later and once."""
        if self._paused:
            self._unsaid.update(topics)
        else:
            self.send(record((0, True, sorted(topics))))

    def _work(self) -> None:
        """Do what was asked, as long as the answers find room."""
        waiting, transport = self._waiting, self._transport
        try:
            while waiting and self._size < _AHEAD and not self._paused:
                raw = waiting.popleft()
                if self._session is None:
                    self._greet(raw)
                else:
                    self._host.request(self._session, raw)
        except Rubbish as error:
            self._refuse_rubbish(error)
            return
        if transport and not transport.is_closing():
            if waiting or self._paused:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def _refuse_rubbish(self, error: Rubbish) -> None:
        get_logger().warning("a connection sent what is not of the protocol and was cut", error=str(error))
        self.cut()

    def _greet(self, raw: bytes) -> None:
        assert self._transport
        hello = read_hello(raw)
        if hello.magic != MAGIC:
            raise Rubbish(f"A hello from {hello.magic!r}.")
        reason = refusal(hello.protocol, hello.version)
        self._transport.write(welcome("refused" if reason else "welcome", reason))
        if reason:
            self._waiting.clear()
            self._transport.close()
            return
        self._hurry.cancel()
        self._records = Records()
        self._session = self._host.enter(hello.process, self)

    def _flush(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()
        self._size = 0
        if self._waiting and not self._paused:
            self._work()


class Doorbell(asyncio.Protocol):
    """What a program that hosts in its own loop listens with: whoever comes is asked to try again, and the store moves
    out meanwhile; or is refused, if `ring` gives a reason. `open_now` are the connections that are open."""

    def __init__(self, ring: Callable[[], str], open_now: "set[Doorbell]") -> None:
        self._ring = ring
        self._open_now = open_now
        self._records = Records(HELLO)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open_now.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        self._open_now.discard(self)

    def cut(self) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        assert self._transport
        try:
            for raw in self._records.feed(data)[:1]:
                hello = read_hello(raw)
                if hello.magic != MAGIC:
                    raise Rubbish(f"A hello from {hello.magic!r}.")
                reason = refusal(hello.protocol, hello.version) or self._ring()
                self._transport.write(welcome("refused" if reason else "moving", reason))
                self._transport.close()
        except Rubbish:
            self._transport.abort()


def welcome(answer: str, reason: str = "") -> bytes:
    """The host's first record."""
    return record(Welcome(MAGIC, PROTOCOL, version("agentmesh"), answer, reason))


def refusal(protocol: int, theirs: str) -> str:
    """Why a client of that protocol cannot be served; nothing if it can."""
    if protocol == PROTOCOL:
        return ""
    return (
        f"This mesh is hosted by agentmesh {version('agentmesh')} (pid {os.getpid()}, protocol {PROTOCOL}), and this "
        f"is {theirs} (protocol {protocol}). Use one version on a folder: end one of the two, then begin again."
    )
