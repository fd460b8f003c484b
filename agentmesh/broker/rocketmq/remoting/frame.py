"""A request or an answer of the remoting protocol as bytes.

A frame is int32 length of what follows, int32 length of the header (its first byte: how it is written, 0 for JSON), the
header, the body.
"""

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from agentmesh.broker.rocketmq.address import Credentials
from agentmesh.errors import PayloadCorrupt

LARGEST: Final = 1 << 28
"""Bytes of the longest frame that we read."""

_HEAD: Final = struct.Struct(">ii")
_LENGTH: Final = struct.Struct(">i")
_VERSION: Final = 513
"""The ordinal of a client version in Java's MQVersion: a server answers in a form that this one knows."""


class Answer(NamedTuple):
    """`number` is the request's; `fields` are the answer's own (`extFields`)."""

    number: int
    code: int
    remark: str
    fields: Mapping[str, str]
    body: bytes


def request(
    number: int, code: int, fields: Mapping[str, Any], body: bytes, credentials: Credentials | None = None
) -> bytes:
    """The frame of a request, signed if there are credentials."""
    texts = {name: _text(value) for name, value in fields.items()}
    if credentials:
        texts["AccessKey"] = credentials.access_key
        signed = "".join(texts[name] for name in sorted(texts)).encode() + body
        digest = hmac.new(credentials.secret_key.encode(), signed, hashlib.sha1).digest()
        texts["Signature"] = base64.b64encode(digest).decode()
    header = {
        "code": code,
        "language": "PYTHON",
        "version": _VERSION,
        "opaque": number,
        "flag": 0,
        "serializeTypeCurrentRPC": "JSON",
        "extFields": texts,
    }
    raw = json.dumps(header).encode()
    return _HEAD.pack(4 + len(raw) + len(body), len(raw)) + raw + body


def read_length(raw: bytes) -> int:
    """Bytes that follow these four. Raises `PayloadCorrupt` if no frame can be of that length."""
    length: int = _LENGTH.unpack(raw)[0]
    if not 4 <= length <= LARGEST:
        raise PayloadCorrupt(f"A frame of {length:,} bytes: this is not RocketMQ's remoting protocol.")
    return length


def read_answer(raw: bytes) -> Answer:
    """The answer in what follows a frame's length. Raises `PayloadCorrupt`."""
    size = _LENGTH.unpack_from(raw)[0] & 0xFFFFFF
    try:
        header = json.loads(raw[4 : 4 + size])
        number, code = int(header["opaque"]), int(header["code"])
    except (ValueError, KeyError, TypeError) as error:
        raise PayloadCorrupt(f"A frame without a header of RocketMQ's remoting protocol ({error}).") from error
    return Answer(number, code, header.get("remark") or "", header.get("extFields") or {}, raw[4 + size :])


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
