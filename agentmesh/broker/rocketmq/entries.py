"""Entries of a LiteTopic as RocketMQ messages: one message an entry, so that its offset is the message's."""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from agentmesh.broker.rocketmq.client import Outgoing
from agentmesh.broker.rocketmq.remoting import Record
from agentmesh.errors import PayloadCorrupt
from agentmesh.message import Entry, decode_entry

FIRST: Final = "first"
"""The tag of messages that may be the first of their LiteTopic: a listing reads no others."""

FOREIGN: Final = "foreign"
"""The type of what somebody else wrote into one of our LiteTopics."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[str, str, bytes])


class Written(NamedTuple):
    """An entry as it was read, and the id that its sender gave the message."""

    entry: Entry
    message_id: str


def outgoing(parent: str, lite_topic: str, entry_id: str, content: bytes, title: str, *, first: bool) -> Outgoing:
    """The message of an entry; `content` is that of `encode_content`."""
    body = _encoder.encode((entry_id, title, content))
    return Outgoing(parent, body, lite_topic=lite_topic, tag=FIRST if first else "")


def read_body(body: bytes) -> tuple[str, str, bytes]:
    """Id, title and content. Raises `PayloadCorrupt` for a body that is not of `outgoing`."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PayloadCorrupt(f"These {len(body)} bytes are no entry of ours: {error}.") from error


def read_entry(offset: int, stored: int, body: bytes) -> Entry:
    """What somebody else wrote is an entry too, so that offsets stay dense; nobody reads its data."""
    try:
        entry_id, _, content = read_body(body)
        return decode_entry(offset, entry_id or None, stored, content)
    except PayloadCorrupt as error:
        return Entry(offset, f"@{offset}", stored, FOREIGN, 0, "", {"error": str(error)})


def read_records(records: Iterable[Record]) -> list[Written]:
    return [Written(read_entry(each.offset, each.stored, each.body), each.id) for each in records]
