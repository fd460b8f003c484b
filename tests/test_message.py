"""The envelope and the entries: as bytes and back, whatever is in them, and whatever the bytes are."""

import struct
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentmesh.errors import PayloadCorrupt
from agentmesh.message import (
    CLAIM_VERSION,
    WIRE_VERSION,
    Claim,
    Draft,
    Entry,
    Message,
    decode_data,
    decode_entry,
    decode_message,
    encode_content,
    encode_data,
    encode_message,
    from_json,
    read_claim,
    to_json,
)

text = st.text(st.characters(codec="utf-8"), max_size=20)
whole = st.integers(-(2**63), 2**64 - 1)
json = st.recursive(
    st.none() | st.booleans() | whole | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
KINDS = {"str": text, "int": whole, "bytes": st.binary(max_size=50)}
messages = st.builds(
    Message,
    extra=st.dictionaries(text, json, max_size=3),
    **{field.name: KINDS[field.type.__name__] for field in msgspec.structs.fields(Message) if field.name != "extra"},
)
drafts = st.builds(Draft, type=text, data=json, id=text, attempt=whole, token=text)


@given(messages)
def test_a_message_comes_back_as_it_was(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(drafts, st.integers(0, 2**60), st.integers(0, 2**60))
def test_an_entry_comes_back_as_it_was_drafted(draft: Draft, offset: int, time: int) -> None:
    entry = decode_entry(offset, draft.id, time, encode_content(draft))
    assert entry == Entry(offset, draft.id or f"@{offset}", time, draft.type, draft.attempt, draft.token, draft.data)


@given(messages, st.dictionaries(text, json, min_size=1))
def test_unknown_fields_pass_through_an_older_process_unharmed(message: Message, unknown: dict[str, Any]) -> None:
    newer = msgspec.structs.replace(message, extra=unknown)
    passed_on = msgspec.structs.replace(decode_message(encode_message(newer)), hops=7)
    assert decode_message(encode_message(passed_on)).extra == unknown


def test_the_wire_form_is_a_version_byte_and_an_array() -> None:
    raw = encode_message(Message(id="call-1", topic="T", body=b"x"))
    fields = msgspec.msgpack.decode(raw[1:])
    assert raw[0] == WIRE_VERSION == 1
    assert fields[:5] == ["call-1", "T", "", "", b"x"]
    assert len(fields) == len(msgspec.structs.fields(Message))


@given(messages, st.integers(0, 255).filter(lambda byte: byte != WIRE_VERSION))
def test_another_version_is_refused_and_named(message: Message, version: int) -> None:
    raw = bytes([version]) + encode_message(message)[1:]
    with pytest.raises(PayloadCorrupt, match=f"version {version}.*upgrade"):
        decode_message(raw)
    if version != CLAIM_VERSION:
        with pytest.raises(PayloadCorrupt, match=f"version {version}"):
            decode_entry(0, "", 0, raw)


DEEP = bytes([WIRE_VERSION]) + b"\x91" * 200_000
NO_UNICODE = bytes([WIRE_VERSION]) + b"\x94\xa1\xff\x00\xa0\xc0"
ODD_KEYS = bytes([WIRE_VERSION]) + b"\x94\xa1a\x00\xa0\x81\x81\x01\x02\x03"
LAST_DAY = bytes([WIRE_VERSION]) + b"\x94\xa1a\x00\xa0\xc7\x0c\xff" + struct.pack(">Iq", 0, 2**62)


def corrupt_at_worst(raw: bytes) -> None:
    for decode in (decode_message, lambda content: decode_entry(3, "", 0, content)):
        with suppress(PayloadCorrupt):
            decode(raw)


@given(st.binary() | st.binary().map(lambda raw: bytes([WIRE_VERSION]) + raw))
@example(b"")
@example(DEEP)
@example(NO_UNICODE)
@example(ODD_KEYS)
@example(LAST_DAY)
def test_any_bytes_are_a_message_or_corrupt(raw: bytes) -> None:
    corrupt_at_worst(raw)


@settings(max_examples=300)
@given(messages.map(encode_message) | drafts.map(encode_content), st.data())
def test_damaged_bytes_are_a_message_or_corrupt(raw: bytes, data: st.DataObject) -> None:
    damaged = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(1, len(raw) - 1))] = data.draw(st.integers(0, 255))
    corrupt_at_worst(bytes(damaged))
    corrupt_at_worst(bytes(damaged[: data.draw(st.integers(0, len(raw)))]))


@given(messages)
def test_a_truncated_message_is_corrupt(message: Message) -> None:
    raw = encode_message(message)
    for length in (0, 1, 2, len(raw) // 2, len(raw) - 1):
        with pytest.raises(PayloadCorrupt):
            decode_message(raw[:length])


def deep(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("data", [object(), "\ud800", 2**64, -(2**63) - 1, {"a": [print]}, deep(100_000)])
def test_what_cannot_be_encoded_is_refused(data: Any) -> None:
    with pytest.raises(PayloadCorrupt):
        encode_content(Draft("data", data))
    with pytest.raises(PayloadCorrupt):
        encode_message(Message(id="call-1", topic="T", extra={"x": data}))


@given(json)
def test_a_body_of_json_comes_back_as_it_was(value: Any) -> None:
    assert from_json(to_json(value)) == value


@pytest.mark.parametrize("value", [object(), "\ud800", {1, print}, deep(100_000)])
def test_a_body_that_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(PayloadCorrupt):
        to_json(value)


@given(st.binary())
@example(b"")
@example(b"\xff")
@example(b"[" * 200_000)
@example(b"NaN")
@example(b'"\xed\xa0\x80"')
@example(b"1e999")
def test_any_body_is_json_or_corrupt(raw: bytes) -> None:
    with suppress(PayloadCorrupt):
        from_json(raw)


def test_a_messages_events_go_to_its_own_log_unless_it_says_otherwise() -> None:
    assert Message(id="call-1", topic="T").log == "call-1"
    assert Message(id="call-1", topic="T", reply_to="run-1").log == "run-1"


# Claims

claims = st.builds(
    Claim,
    digest=st.text("0123456789abcdef", min_size=64, max_size=64),
    size=st.integers(0, 10**9),
    facts=st.none() | st.dictionaries(text, json, max_size=3),
)


@given(drafts, claims, st.integers(0, 2**60))
def test_a_claim_comes_back_as_it_was_drafted(draft: Draft, claim: Claim, offset: int) -> None:
    claimed = Draft(draft.type, claim, draft.id, draft.attempt, draft.token)
    content = encode_content(claimed)
    assert content[0] == CLAIM_VERSION == 2
    entry = decode_entry(offset, draft.id, 0, content)
    assert entry.data == claim
    assert (entry.type, entry.attempt, entry.token) == (draft.type, draft.attempt, draft.token)
    assert read_claim(str(claim)) == Claim(claim.digest, claim.size)


@given(drafts)
def test_data_that_is_encoded_before_is_the_same_entry(draft: Draft) -> None:
    encoded = Draft(draft.type, msgspec.Raw(encode_data(draft.type, draft.data)), draft.id, draft.attempt, draft.token)
    assert encode_content(encoded) == encode_content(draft)
    assert decode_data(encode_data(draft.type, draft.data)) == draft.data


def test_an_older_process_refuses_a_claim_by_its_version() -> None:
    """What version 1 did with any other: this is its check, on what this version writes."""
    content = encode_content(Draft("data", Claim("a" * 64, 1)))
    with pytest.raises(PayloadCorrupt, match="Wire version 2, and this agentmesh reads version 1: upgrade it"):
        decode_message(content)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "阿" * 64, "a/" * 32])
def test_a_hostile_digest_is_no_claim(digest: str) -> None:
    raw = msgspec.msgpack.encode(("data", 0, "", digest, 10, None))
    for read in (
        lambda: decode_entry(0, "", 0, bytes([CLAIM_VERSION]) + raw),
        lambda: encode_content(Draft("data", Claim(digest, 10))),
        lambda: read_claim(f"{digest}:10"),
    ):
        with pytest.raises(PayloadCorrupt, match="no claim"):
            read()


@pytest.mark.parametrize("blob", ["", "x", "a" * 64, f"{'a' * 64}:-1", f"{'a' * 64}:01", f"{'a' * 64}:{10**15}", ":1"])
def test_a_hostile_size_is_no_claim(blob: str) -> None:
    with pytest.raises(PayloadCorrupt, match="no claim"):
        read_claim(blob)
