"""What the processes of a folder say to each other: records of MessagePack on a Unix socket.

A record is its length (4 bytes, big-endian) and a MessagePack array. The client begins with a `Hello`, the host answers
with a `Welcome`; both name the protocol's version, and another one is refused. Then come requests

    [number, numbers of writes whose answers were seen, operation, [arguments …]]

and replies `[number, ok, value or error]`, in any order. Number 0 is what the host says unasked. Numbers grow within a
session, which outlives connections: a request that is sent again has the same number, and one that wrote something is
answered from what was stored with it (Ongaro, Consensus, 2014, section 6.3).
"""

from typing import Any, Final

import msgspec

from agentmesh import errors
from agentmesh.errors import BrokerUnavailable, MeshError
from agentmesh.message import Entry, decode_entry

PROTOCOL: Final = 1
MAGIC: Final = "agentmesh"
MAX_RECORD: Final = 128_000_000

WRITES: Final = frozenset({"publish", "ack", "nack", "append", "lease", "discard"})
"""The operations whose answers are stored with what they wrote."""

Row = tuple[int, str | None, int, bytes]
"""An entry on its way: offset, id, time, content."""

Appends = list[tuple[str, int | None, list[tuple[str, str, bytes]]]]
"""LiteTopic, expected offset, entries: id, type, content."""

LeaseRow = tuple[bytes, str, int, int, int]
"""Message, token, attempt, raised, expires."""

BatchRow = tuple[str, list[Row], bool]


class Hello(msgspec.Struct, array_like=True):
    """The client's first record. `process` names its session."""

    magic: str
    protocol: int
    version: str
    process: str


class Welcome(msgspec.Struct, array_like=True):
    """The host's first record: `welcome`, `moving` (try again soon), or `refused` with a reason."""

    magic: str
    protocol: int
    version: str
    answer: str
    reason: str = ""


class Rubbish(MeshError):
    """What came is not of this protocol."""


_encoder = msgspec.msgpack.Encoder()
_hello = msgspec.msgpack.Decoder(Hello)
_welcome = msgspec.msgpack.Decoder(Welcome)
_request = msgspec.msgpack.Decoder(tuple[int, list[int], str, msgspec.Raw])
_reply = msgspec.msgpack.Decoder(tuple[int, bool, msgspec.Raw])
_push = msgspec.msgpack.Decoder(list[str])
_error = msgspec.msgpack.Decoder(tuple[str, str, dict[str, Any]])


def record(value: Any) -> bytes:
    """A value as a record."""
    body = _encoder.encode(value)
    return len(body).to_bytes(4, "big") + body


class Records:
    """Cuts a stream of bytes into records."""

    def __init__(self, limit: int = MAX_RECORD) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The records that are whole by now. Raises `Rubbish` for one that is too long."""
        buffer = self._buffer
        buffer += data
        found, position, there = [], 0, len(buffer)
        while there - position >= 4:
            size = int.from_bytes(buffer[position : position + 4], "big")
            if size > self._limit:
                raise Rubbish(f"A record of {size} bytes; {self._limit} is the limit.")
            end = position + 4 + size
            if end > there:
                break
            found.append(bytes(buffer[position + 4 : end]))
            position = end
        if position:
            del buffer[:position]
        return found


def read_hello(raw: bytes) -> Hello:
    """Raises `Rubbish`."""
    return _read(_hello, raw)  # type: ignore[no-any-return]


def read_welcome(raw: bytes) -> Welcome:
    """Raises `Rubbish`."""
    return _read(_welcome, raw)  # type: ignore[no-any-return]


def read_request(raw: bytes) -> tuple[int, list[int], str, msgspec.Raw]:
    """Number, writes whose answers were seen, operation, arguments. Raises `Rubbish`."""
    return _read(_request, raw)  # type: ignore[no-any-return]


def read_reply(raw: bytes) -> tuple[int, bool, msgspec.Raw]:
    """Number, whether it went well, value. Raises `Rubbish`."""
    return _read(_reply, raw)  # type: ignore[no-any-return]


def read_push(raw: msgspec.Raw) -> list[str]:
    """What the host says unasked: the topics whose registrations changed. Raises `Rubbish`."""
    return _read(_push, raw)  # type: ignore[no-any-return]


def decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    """What reads values of this type."""
    return msgspec.msgpack.Decoder(kind)


def write_error(error: BaseException) -> tuple[str, str, dict[str, Any]]:
    """An error on its way: its name, its message, and what plain attributes it has."""
    if not isinstance(error, MeshError):
        return BrokerUnavailable.__name__, f"The broker failed: {error!r}.", {}
    kind = next(each.__name__ for each in type(error).__mro__ if hasattr(errors, each.__name__))
    plain = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | list)}
    return kind, str(error), plain


def read_error(raw: msgspec.Raw) -> MeshError:
    """The error, made again. One that this version does not know is a plain `MeshError`."""
    name, message, attributes = _read(_error, raw)
    kind = getattr(errors, name, MeshError)
    if not (isinstance(kind, type) and issubclass(kind, MeshError)):
        kind = MeshError
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    vars(error).update(attributes)
    return error


def read_rows(rows: list[Row]) -> list[Entry]:
    """Raises `PayloadCorrupt`."""
    return [decode_entry(*row) for row in rows]


def _read(how: "msgspec.msgpack.Decoder[Any]", raw: bytes | msgspec.Raw) -> Any:
    try:
        return how.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Rubbish(f"{len(bytes(raw))} bytes that are not of this protocol: {error}.") from error
