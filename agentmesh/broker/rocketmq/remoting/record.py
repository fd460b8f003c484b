"""A stored message, as a broker keeps it."""

import struct
import zlib
from typing import Final

import msgspec

from agentmesh.errors import PayloadCorrupt

_LITE: Final = "%LMQ%$"
_FIRST: Final = struct.Struct(">iiiiiqqiq")
_SHORT: Final = struct.Struct(">h")
_INT: Final = struct.Struct(">i")
_LONG: Final = struct.Struct(">q")
_TAIL: Final = struct.Struct(">iqi")
_COMPRESSED: Final = 1
_COMPRESSION: Final = 7 << 8
_ZLIB: Final = (0, 3 << 8)
_BORN_V6: Final = 1 << 4
_STORED_V6: Final = 1 << 5
_VERSION_2: Final = -626843477
"""The magic number of messages whose topic's length takes two bytes."""


def lite_queue(parent: str, lite_topic: str) -> str:
    """The name under which a broker keeps a LiteTopic as a queue that can be read at an offset."""
    return f"{_LITE}{parent}${lite_topic}"


class Record(msgspec.Struct, frozen=True):
    """`offset` is that of the queue that was read; `born` and `stored` are ms UTC, by the sender's and the broker's
    clock. `properties` are RocketMQ's own (KEYS, TAGS, UNIQ_KEY, …) and the sender's."""

    topic: str
    queue: int
    offset: int
    born: int
    stored: int
    attempt: int
    properties: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The id that the producer gave it."""
        return self.properties.get("UNIQ_KEY", "")

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.properties.get("KEYS", "").split())

    @property
    def tag(self) -> str:
        return self.properties.get("TAGS", "")

    @property
    def lite_topic(self) -> str:
        return self.properties.get("__LITE_TOPIC", "")


def read_records(raw: bytes, queue: str = "") -> list[Record]:
    """Messages one after the other. `queue` is the name of the queue that was read, for the offsets in it. Raises
    `PayloadCorrupt`."""
    records = []
    at = 0
    try:
        while at + 8 <= len(raw):
            length = _INT.unpack_from(raw, at)[0]
            if length <= 0 or at + length > len(raw):
                raise PayloadCorrupt(f"A stored message of {length:,} bytes, with {len(raw) - at:,} there.")
            records.append(_record(raw, at, queue))
            at += length
    except (struct.error, ValueError, zlib.error) as error:
        raise PayloadCorrupt(f"A stored message cannot be read ({error}).") from error
    return records


def _record(raw: bytes, at: int, queue: str) -> Record:
    _, magic, _, number, _, offset, _, flags, born = _FIRST.unpack_from(raw, at)
    at += _FIRST.size + (20 if flags & _BORN_V6 else 8)
    stored = _LONG.unpack_from(raw, at)[0]
    at += 8 + (20 if flags & _STORED_V6 else 8)
    attempt, _, size = _TAIL.unpack_from(raw, at)
    at += _TAIL.size
    body = raw[at : at + size]
    at += size
    wide = magic == _VERSION_2
    length = _SHORT.unpack_from(raw, at)[0] if wide else raw[at]
    at += 2 if wide else 1
    topic = raw[at : at + length].decode()
    at += length
    length = _SHORT.unpack_from(raw, at)[0]
    properties = _properties(raw[at + 2 : at + 2 + length].decode())
    return Record(
        topic=topic,
        queue=number,
        offset=_lite_offset(properties, queue, offset),
        born=born,
        stored=stored,
        attempt=attempt + 1,
        properties=properties,
        body=_plain(body, flags) if flags & _COMPRESSED else body,
    )


def _plain(body: bytes, flags: int) -> bytes:
    if flags & _COMPRESSION not in _ZLIB:
        raise PayloadCorrupt("A message is compressed by LZ4 or ZSTD: its producer has to use ZLIB, or nothing.")
    return zlib.decompress(body)


def _properties(text: str) -> dict[str, str]:
    pairs = (each.split("\x01", 1) for each in text.split("\x02") if "\x01" in each)
    return dict(pairs)


def _lite_offset(properties: dict[str, str], queue: str, offset: int) -> int:
    """A message that lies in several queues has its offsets in properties, apart from that of its own topic."""
    queues = properties.get("INNER_MULTI_DISPATCH", "").split(",")
    if not queue or queue not in queues:
        return offset
    offsets = properties.get("INNER_MULTI_QUEUE_OFFSET", "").split(",")
    return int(offsets[queues.index(queue)])
