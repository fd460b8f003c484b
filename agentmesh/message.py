"""The envelope of a task, the entries of a LiteTopic, and how both look as bytes.

The wire form is one version byte and a MessagePack array. Fields are only ever added to `extra`, which every
version carries along unread, so that a message passes through an older process unharmed.
"""

from typing import Any, Final

import msgspec

from agentmesh.errors import PayloadCorrupt

DEFAULT_TENANT: Final = "default"
DEFAULT_PRIORITY: Final = 4
JSON: Final = "application/json"
WIRE_VERSION: Final = 1

DAY: Final = 24 * 3600 * 1000
CALL_DEADLINE: Final = DAY
RUN_DEADLINE: Final = 30 * DAY

TERMINAL: Final = frozenset({"completed", "failed", "cancelled", "timed_out", "dead_lettered"})
"""The types of event that end a call or a run."""

QUESTIONS: Final = frozenset({"input_required", "approval_required"})
"""The types of event that wait for an answer."""


class Message(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A task on its way to an agent. Times are milliseconds UTC; 0 means none.

    `id` names the call or run and, unless `reply_to` says otherwise, the LiteTopic of its events.
    `priority` is 0 to 9, 9 first. `deadline` bounds the whole call, `not_before` holds the message back.
    """

    id: str
    topic: str
    skill: str = ""
    version: str = ""
    body: bytes = b""
    blob: str = ""
    content_type: str = JSON
    key: str = ""
    call: str = ""
    run: str = ""
    reply_to: str = ""
    parent: str = ""
    tenant: str = DEFAULT_TENANT
    principal: str = ""
    session: str = ""
    priority: int = DEFAULT_PRIORITY
    lane: str = ""
    created: int = 0
    not_before: int = 0
    deadline: int = 0
    hops: int = 0
    traceparent: str = ""
    extra: dict[str, Any] = {}

    @property
    def log(self) -> str:
        """The LiteTopic that this message's events go to."""
        return self.reply_to or self.id


class Draft(msgspec.Struct, array_like=True, frozen=True):
    """An entry that is not written yet. With an `id`, appending it again is a no-op.

    `data` is plain JSON data. `attempt` and `token` are those of the lease of a worker's entry, else 0 and "".
    An id may not begin with "@": those are the ids that entries without one are read back with.
    """

    type: str
    data: Any = None
    id: str = ""
    attempt: int = 0
    token: str = ""


class Entry(msgspec.Struct, frozen=True):
    """An entry of a LiteTopic. Offsets are dense and start at 0; `time` is the backend's, in ms UTC."""

    offset: int
    id: str
    time: int
    type: str
    attempt: int
    token: str
    data: Any


class Event(msgspec.Struct, frozen=True):
    """Something that happened in a call or a run, as its readers see it; `time` is in ms UTC."""

    offset: int
    type: str
    attempt: int
    time: int
    data: Any


_message_encoder = msgspec.msgpack.Encoder()
_message_decoder = msgspec.msgpack.Decoder(Message)
_content_decoder = msgspec.msgpack.Decoder(tuple[str, int, str, Any])
_VERSION_BYTE = bytes([WIRE_VERSION])
_CODING_ERRORS = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)


def encode_message(message: Message) -> bytes:
    """Raises `PayloadCorrupt` for what cannot be stored: lone surrogates, integers beyond 64 bits, foreign objects."""
    try:
        return _VERSION_BYTE + _message_encoder.encode(message)
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"The message {message.id!r} cannot be encoded: {error}.") from error


def decode_message(raw: bytes) -> Message:
    """Raises `PayloadCorrupt` for bytes that are no message, or one of a newer wire version."""
    _check_version(raw)
    try:
        return _message_decoder.decode(memoryview(raw)[1:])
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"These {len(raw)} bytes are no message: {error}.") from error


def encode_content(draft: Draft) -> bytes:
    """What a store keeps of an entry beside its offset, id and time: type, attempt, token, data."""
    try:
        return _VERSION_BYTE + _message_encoder.encode((draft.type, draft.attempt, draft.token, draft.data))
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"The data of a {draft.type!r} entry is not JSON data: {error}.") from error


def decode_entry(offset: int, entry_id: str | None, time: int, content: bytes) -> Entry:
    """Raises `PayloadCorrupt` for content that is none, or of a newer wire version."""
    _check_version(content)
    try:
        kind, attempt, token, data = _content_decoder.decode(memoryview(content)[1:])
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"Entry {offset} cannot be decoded: {error}.") from error
    return Entry(offset, entry_id or f"@{offset}", time, kind, attempt, token, data)


def to_json(value: Any) -> bytes:
    """`value` as a JSON body. Raises `PayloadCorrupt` if it is not JSON data. NaN and infinities become null."""
    try:
        return msgspec.json.encode(value)
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"The value is not JSON data: {error}.") from error


def from_json(body: bytes) -> Any:
    """The value of a JSON body. Raises `PayloadCorrupt`."""
    try:
        return msgspec.json.decode(body)
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"The body is not JSON: {error}.") from error


def _check_version(raw: bytes) -> None:
    if not raw or raw[0] != WIRE_VERSION:
        found = raw[0] if raw else "nothing"
        raise PayloadCorrupt(f"Wire version {found}, and this agentmesh reads version {WIRE_VERSION}: upgrade it.")
