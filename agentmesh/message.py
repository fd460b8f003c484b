"""The envelope of a task, the entries of a LiteTopic, and how both look as bytes.

The wire form is one version byte and a MessagePack array. Fields are only ever added to `extra`, which every
version carries along unread, so that a message passes through an older process unharmed. An entry whose data lies in
the blob store has a version of its own: it carries a `Claim` instead, and a process that knows of none says so.

`gc=False`: what holds plain data is in no cycle, and the garbage collector need not look at it.
"""

import re
from typing import Any, Final

import msgspec

from agentmesh.errors import PayloadCorrupt

DEFAULT_TENANT: Final = "default"
DEFAULT_PRIORITY: Final = 4
JSON: Final = "application/json"
WIRE_VERSION: Final = 1
CLAIM_VERSION: Final = 2
INLINE_LIMIT: Final = 4_000_000
"""The largest message or entry (bytes) that a broker stores itself: below the 4 MiB of RocketMQ."""

DAY: Final = 24 * 3600 * 1000
CALL_DEADLINE: Final = DAY
RUN_DEADLINE: Final = 30 * DAY

TERMINAL: Final = frozenset({"completed", "failed", "cancelled", "timed_out", "dead_lettered"})
"""The types of event that end a call or a run."""

QUESTIONS: Final = frozenset({"input_required", "approval_required"})
"""The types of event that wait for an answer."""


class Message(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
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


BODIES: Final = {
    "completed": "result",
    "artifact": "data",
    "delta": "text",
    "step": "result",
    "approval_required": "input",
    "planned": "calls",
    "call_started": "input",
}
"""Which field of the mesh's own entries may go to the blob store, by type: the fold needs the others."""

OWN_TYPES: Final = frozenset(
    {*TERMINAL, *QUESTIONS, *BODIES, "submitted", "accepted", "progress", "retrying", "answered"}
)
"""The types of entries that the mesh itself reads. Any other type is somebody's own, and its data goes as a whole."""


class Claim(msgspec.Struct, frozen=True):
    """What stands for a body in the blob store: its digest (64 hex digits) and its size in bytes.

    `facts` are the other fields of an entry's data, whose one field in `BODIES` is the blob; None: all of the data is.
    """

    digest: str
    size: int
    facts: dict[str, Any] | None = None

    def __str__(self) -> str:
        """As `Message.blob` has it."""
        return f"{self.digest}:{self.size}"


def told(data: Any) -> Any:
    """An entry's data for people to look at: of what lies in the blob store, the facts and the claim."""
    return {**(data.facts or {}), "blob": str(data)} if type(data) is Claim else data


class Draft(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An entry that is not written yet. With an `id`, appending it again is a no-op.

    `data` is plain JSON data, or a `Claim`. `attempt` and `token` are those of the lease of a worker's entry, else 0
    and "". An id may not begin with "@": those are the ids that entries without one are read back with.
    """

    type: str
    data: Any = None
    id: str = ""
    attempt: int = 0
    token: str = ""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry of a LiteTopic. Offsets are dense and start at 0; `time` is the backend's, in ms UTC.

    Read through the contract, `data` that lies in the blob store is a `Claim`.
    """

    offset: int
    id: str
    time: int
    type: str
    attempt: int
    token: str
    data: Any


class Event(msgspec.Struct, frozen=True, gc=False):
    """Something that happened in a call or a run, as its readers see it; `time` is in ms UTC."""

    offset: int
    type: str
    attempt: int
    time: int
    data: Any


_message_encoder = msgspec.msgpack.Encoder()
_message_decoder = msgspec.msgpack.Decoder(Message)
_content_decoder = msgspec.msgpack.Decoder(tuple[str, int, str, Any])
_data_decoder = msgspec.msgpack.Decoder()
_claim_decoder = msgspec.msgpack.Decoder(tuple[str, int, str, str, int, dict[str, Any] | None])
_VERSION_BYTE = bytes([WIRE_VERSION])
_CLAIM_BYTE = bytes([CLAIM_VERSION])
_CLAIM = re.compile(r"([0-9a-f]{64}):(0|[1-9][0-9]{0,14})")
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
        return _message_decoder.decode(raw[1:])
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"These {len(raw)} bytes are no message: {error}.") from error


def encode_content(draft: Draft) -> bytes:
    """What a store keeps of an entry beside its offset, id and time: type, attempt, token, and data or claim."""
    data = draft.data
    try:
        if type(data) is Claim:
            check_claim(data)
            fields = (draft.type, draft.attempt, draft.token, data.digest, data.size, data.facts)
            return _CLAIM_BYTE + _message_encoder.encode(fields)
        return _VERSION_BYTE + _message_encoder.encode((draft.type, draft.attempt, draft.token, data))
    except _CODING_ERRORS as error:
        raise _no_data(draft.type, error) from error


def encode_data(type: str, data: Any) -> bytes:  # noqa: A002
    """The data of an entry of that type alone, as `Draft` may carry it in a `msgspec.Raw`. Raises `PayloadCorrupt`."""
    try:
        return _message_encoder.encode(data)
    except _CODING_ERRORS as error:
        raise _no_data(type, error) from error


def decode_data(raw: bytes | bytearray) -> Any:
    """Raises `PayloadCorrupt`."""
    try:
        return _data_decoder.decode(raw)
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"These {len(raw)} bytes are no data of an entry: {error}.") from error


def decode_entry(offset: int, entry_id: str | None, time: int, content: bytes) -> Entry:
    """Raises `PayloadCorrupt` for content that is none, or of a newer wire version."""
    if content[:1] != _VERSION_BYTE:
        if content[:1] != _CLAIM_BYTE:
            _check_version(content)
        kind, attempt, token, claim = decode_claim(content)
        return Entry(offset, entry_id or f"@{offset}", time, kind, attempt, token, claim)
    try:
        kind, attempt, token, data = _content_decoder.decode(content[1:])
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"Entry {offset} cannot be decoded: {error}.") from error
    return Entry(offset, entry_id or f"@{offset}", time, kind, attempt, token, data)


def decode_claim(content: bytes) -> tuple[str, int, str, Claim]:
    """Type, attempt, token and claim of an entry whose content begins with `CLAIM_VERSION`. Raises `PayloadCorrupt`."""
    try:
        kind, attempt, token, digest, size, facts = _claim_decoder.decode(memoryview(content)[1:])
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"An entry's claim cannot be decoded: {error}.") from error
    return kind, attempt, token, check_claim(Claim(digest, size, facts))


def check_claim(claim: Claim) -> Claim:
    """Raises `PayloadCorrupt` for what cannot be a claim: nothing but 64 hex digits names a blob."""
    if not _CLAIM.fullmatch(str(claim)):
        raise PayloadCorrupt(f"{claim.digest[:80]!r}, {claim.size} bytes, is no claim of a blob.")
    return claim


def read_claim(blob: str) -> Claim:
    """The claim in `Message.blob`. Raises `PayloadCorrupt`."""
    found = _CLAIM.fullmatch(blob)
    if not found:
        raise PayloadCorrupt(f"{blob[:100]!r} is no claim of a blob.")
    return Claim(found[1], int(found[2]))


def to_json(value: Any) -> bytes:
    """`value` as a JSON body. Raises `PayloadCorrupt` if it is not JSON data. NaN and infinities become null."""
    try:
        return msgspec.json.encode(value)
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"The value is not JSON data: {error}.") from error


def from_json(body: bytes | bytearray) -> Any:
    """The value of a JSON body. Raises `PayloadCorrupt`."""
    try:
        return msgspec.json.decode(body)
    except _CODING_ERRORS as error:
        raise PayloadCorrupt(f"The body is not JSON: {error}.") from error


def _no_data(kind: str, error: BaseException) -> PayloadCorrupt:
    return PayloadCorrupt(f"The data of a {kind!r} entry is not JSON data: {error}.")


def _check_version(raw: bytes) -> None:
    if not raw or raw[0] != WIRE_VERSION:
        found = raw[0] if raw else "nothing"
        raise PayloadCorrupt(f"Wire version {found}, and this agentmesh reads version {WIRE_VERSION}: upgrade it.")
