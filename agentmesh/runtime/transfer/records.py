"""Records: what an export holds, in the order in which it comes.

The header; tenants; agents with their routes; topics; dead letters; logs; tasks; then dead letters and logs of calls
that ended meanwhile; the end. A large body comes before the first record that refers to it. Messages and entries are in
their own wire form (`agentmesh.message`), which has a version of its own.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from agentmesh.contracts import Delivery, Tenant
from agentmesh.errors import PayloadCorrupt
from agentmesh.message import Draft, Entry, decode_entry, encode_content

Row = tuple[int, str, int, bytes]
"""An entry: offset, id (empty: none was given), time (ms UTC), content."""


class Header(msgspec.Struct, frozen=True, tag="header"):
    """The first record. `export` names the export, `source` the mesh; `time` is when it began (ms UTC)."""

    export: str
    time: int
    source: str
    version: str


class TenantRecord(msgspec.Struct, frozen=True, tag="tenant"):
    """A tenant that was set."""

    tenant: Tenant


class AgentRecord(msgspec.Struct, frozen=True, tag="agent"):
    """A version of an agent, with its card in JSON."""

    topic: str
    version: str
    card: bytes


class RouteRecord(msgspec.Struct, frozen=True, tag="route"):
    """Which share of a topic's messages each version gets."""

    topic: str
    weights: dict[str, int]


class TopicRecord(msgspec.Struct, frozen=True, tag="topic"):
    """A topic; `delivery` is None where the broker does not tell it."""

    name: str
    delivery: Delivery | None = None


class BlobRecord(msgspec.Struct, frozen=True, tag="blob"):
    """A piece of a large body, from the byte `start` on. `digest` is what the source calls it."""

    digest: str
    tenant: str
    size: int
    start: int
    data: bytes


class LogRecord(msgspec.Struct, frozen=True, tag="log"):
    """Entries of a LiteTopic; `more` follow in the next record of it. `call`: "" for a log of one's own and the like;
    "ended" for a call or run that an entry ended; "timed_out" for one that its deadline did; "open" for any other.
    """

    name: str
    title: str
    call: str
    rows: list[Row]
    more: bool = False


class OpenRecord(msgspec.Struct, frozen=True, tag="open"):
    """Logs of calls that were not over when they were looked at: an export that goes on looks at them again."""

    names: list[str]


class TaskRecord(msgspec.Struct, frozen=True, tag="task"):
    """A task that waits or ran; `attempts` were begun. `history` is what goes on with it."""

    message: bytes
    attempts: int
    history: list[Row]


class DeadRecord(msgspec.Struct, frozen=True, tag="dead"):
    """A dead letter."""

    message: bytes
    attempts: int
    reason: str
    history: list[Row]


class ProblemRecord(msgspec.Struct, frozen=True, tag="problem"):
    """Something that could not be exported, as a sentence."""

    text: str


class End(msgspec.Struct, frozen=True, tag="end"):
    """The last record: how many there are of each kind."""

    counts: dict[str, int]


Record = (
    Header
    | TenantRecord
    | AgentRecord
    | RouteRecord
    | TopicRecord
    | BlobRecord
    | LogRecord
    | OpenRecord
    | TaskRecord
    | DeadRecord
    | ProblemRecord
    | End
)

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[Record])


def encode_records(records: Sequence[Record]) -> bytes:
    """The content of a frame."""
    return _encoder.encode(list(records))


def decode_records(content: bytes, name: str) -> list[Record]:
    """Raises `PayloadCorrupt` for content that is none: its digest was right, so a newer version wrote it."""
    try:
        return _decoder.decode(content)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PayloadCorrupt(
            f"{name} holds a record that this agentmesh does not know ({error}): upgrade it."
        ) from error


def row_of(entry: Entry) -> Row:
    """An entry as it is exported."""
    content = encode_content(Draft(entry.type, entry.data, "", entry.attempt, entry.token))
    return entry.offset, "" if entry.id.startswith("@") else entry.id, entry.time, content


def entry_of(row: Row) -> Entry:
    """As it was. Raises `PayloadCorrupt`."""
    offset, entry_id, time, content = row
    return decode_entry(offset, entry_id or None, time, content)


def size_of(record: Record) -> int:
    """About how many bytes a record takes."""
    if isinstance(record, LogRecord):
        return 100 + sum(50 + len(content) for *_, content in record.rows)
    if isinstance(record, TaskRecord | DeadRecord):
        return 100 + len(record.message) + sum(50 + len(content) for *_, content in record.history)
    if isinstance(record, BlobRecord):
        return len(record.data)
    return len(record.card) if isinstance(record, AgentRecord) else 200
