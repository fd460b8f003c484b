"""Frames and stored messages of the remoting protocol, without a server."""

import json
import struct
import zlib

import pytest

from agentmesh.broker.rocketmq.address import Credentials
from agentmesh.broker.rocketmq.remoting.brokers import read_json
from agentmesh.broker.rocketmq.remoting.frame import read_answer, read_length, request
from agentmesh.broker.rocketmq.remoting.record import lite_queue, read_records
from agentmesh.errors import PayloadCorrupt

V1, V2 = -626843481, -626843477


def stored(
    body: bytes = b"body",
    flags: int = 0,
    magic: int = V1,
    properties: str = "KEYS\x01k1 k2\x02TAGS\x01t\x02UNIQ_KEY\x01id\x02",
) -> bytes:
    """A message as a broker writes it."""
    host = bytes(20 if flags & 16 else 8)
    place = bytes(20 if flags & 32 else 8)
    topic = b"topic"
    rest = struct.pack(">iiiqqiq", 0, 3, 0, 7, 1000, flags, 11) + host + struct.pack(">q", 12) + place
    rest += struct.pack(">iqi", 1, 0, len(body)) + body
    rest += (struct.pack(">h", len(topic)) if magic == V2 else bytes([len(topic)])) + topic
    raw = properties.encode()
    rest += struct.pack(">h", len(raw)) + raw
    return struct.pack(">ii", 8 + len(rest), magic) + rest


@pytest.mark.parametrize("magic", [V1, V2])
@pytest.mark.parametrize("flags", [0, 16, 32, 48])
def test_every_form_of_a_stored_message_is_read(magic: int, flags: int) -> None:
    first, second = read_records(stored(b"1", flags, magic) + stored(b"2", flags, magic))
    assert (first.body, second.body) == (b"1", b"2")
    assert (first.topic, first.queue, first.offset, first.born, first.stored) == ("topic", 3, 7, 11, 12)
    assert (first.id, first.keys, first.tag, first.attempt, first.lite_topic) == ("id", ("k1", "k2"), "t", 2, "")


def test_a_compressed_body_is_unpacked() -> None:
    assert read_records(stored(zlib.compress(b"long"), 1))[0].body == b"long"


def test_a_compression_that_we_do_not_have_is_named() -> None:
    with pytest.raises(PayloadCorrupt, match="ZSTD"):
        read_records(stored(b"x", 1 | 2 << 8))


def test_the_offset_is_that_of_the_queue_that_was_read() -> None:
    queue = lite_queue("parent", "call-1")
    properties = f"INNER_MULTI_DISPATCH\x01other,{queue}\x02INNER_MULTI_QUEUE_OFFSET\x014,9\x02"
    assert read_records(stored(properties=properties), queue)[0].offset == 9
    assert read_records(stored(properties=properties), "topic")[0].offset == 7


@pytest.mark.parametrize("cut", [9, 30, 70])
def test_half_a_message_is_corrupt(cut: int) -> None:
    with pytest.raises(PayloadCorrupt):
        read_records(stored()[:cut])


def test_a_request_is_one_frame() -> None:
    raw = request(5, 11, {"topic": "t", "order": False, "queueId": 0}, b"body")
    assert read_length(raw[:4]) == len(raw) - 4
    size = struct.unpack(">i", raw[4:8])[0]
    header = json.loads(raw[8 : 8 + size])
    assert (header["code"], header["opaque"], raw[8 + size :]) == (11, 5, b"body")
    assert header["extFields"] == {"topic": "t", "order": "false", "queueId": "0"}


def test_a_signature_covers_fields_and_body() -> None:
    signatures = set()
    for fields, body in (
        ({"b": 1, "a": 2}, b""),
        ({"a": 2, "b": 1}, b""),
        ({"a": 2, "b": 1}, b"x"),
        ({"a": 3, "b": 1}, b""),
    ):
        raw = request(1, 11, fields, body, Credentials("user", "secret-1"))
        size = struct.unpack(">i", raw[4:8])[0]
        header = json.loads(raw[8 : 8 + size])
        assert header["extFields"]["AccessKey"] == "user"
        assert b"secret-1" not in raw
        signatures.add(header["extFields"]["Signature"])
    assert len(signatures) == 3


def test_an_answer_is_read_with_its_fields_and_body() -> None:
    header = json.dumps({"opaque": 4, "code": 17, "remark": "no", "extFields": {"offset": "3"}}).encode()
    answer = read_answer(struct.pack(">i", len(header)) + header + b"rest")
    assert answer == (4, 17, "no", {"offset": "3"}, b"rest")


@pytest.mark.parametrize("raw", [b"HTTP", b"\x00\x00\x00\x01", b"\x7f\xff\xff\xff"])
def test_another_protocol_is_recognised(raw: bytes) -> None:
    with pytest.raises(PayloadCorrupt, match="remoting protocol"):
        read_length(raw)


def test_java_objects_with_numbers_as_keys_are_read() -> None:
    assert read_json(b'{"t":{0:"a:1",-1:"b"}}') == {"t": {"0": "a:1", "-1": "b"}}
    with pytest.raises(PayloadCorrupt):
        read_json(b"{nonsense")
