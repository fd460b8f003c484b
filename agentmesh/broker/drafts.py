"""Entries as they are written: checked and encoded before they join a turn."""

from collections.abc import Sequence

from agentmesh.errors import Conflict, PayloadCorrupt, PayloadTooLarge
from agentmesh.ids import body_digest
from agentmesh.message import INLINE_LIMIT, Draft, Message, encode_content, encode_message, read_claim

Encoded = list[tuple[str, str, bytes]]
"""Drafts ready to be written: id, type, content."""


def encode(entries: Sequence[Draft]) -> Encoded:
    """Raises `PayloadCorrupt` for what cannot be stored, `PayloadTooLarge` for what belongs in the blob store."""
    encoded = []
    for draft in entries:
        if draft.id:
            if draft.id.startswith("@"):
                raise PayloadCorrupt(f"An entry's id cannot begin with '@': {draft.id!r}.")
            check_text(draft.id)
        content = encode_content(draft)
        if len(content) > INLINE_LIMIT:
            raise too_large(f"A {draft.type!r} entry", len(content))
        encoded.append((draft.id, draft.type, content))
    return encoded


def encode_task(message: Message) -> bytes:
    """As `encode`, of a message."""
    if message.blob:
        read_claim(message.blob)
    raw = encode_message(message)
    if len(raw) > INLINE_LIMIT:
        raise too_large(f"The message {message.id}", len(raw))
    return raw


def too_large(what: str, size: int) -> PayloadTooLarge:
    return PayloadTooLarge(
        f"{what} has {size:,} bytes, and the broker takes {INLINE_LIMIT:,}. Through `Mesh` large inputs, results, "
        "artifacts and entries of one's own go to the blob store; shorten what this is, or put it there."
    )


def check_text(text: str) -> None:
    """Raises `PayloadCorrupt` for text that cannot be stored: lone halves of surrogate pairs."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise PayloadCorrupt(f"{text!r} is no Unicode text: {error.reason}.") from error


def identity(message: Message) -> tuple[str, str, str]:
    """What must be the same for a message to be the one that was published before: topic, skill, digest."""
    return message.topic, message.skill, _digest(message)


def other_call(message: Message) -> Conflict:
    """The error for an id that is known with another identity."""
    return Conflict(
        f"{message.id} was started before with another topic, skill or input. "
        "A key names one call: use another key for another input."
    )


def _digest(message: Message) -> str:
    return message.blob or body_digest(message.body)


def submitted(message: Message, highest: int) -> bytes:
    """The content of entry 0 of a call's log (CONTRACT, Entry and fold, rule 2).

    A priority above the `highest` that the tenant may use is lowered, and `wished` tells it.
    """
    told = {
        "topic": message.topic,
        "skill": message.skill,
        "version": message.version,
        "lane": message.lane,
        "priority": message.priority,
        "deadline": message.deadline,
        "tenant": message.tenant,
        "principal": message.principal,
        "session": message.session,
        "parent": message.parent,
        "digest": _digest(message),
    }
    if message.priority > highest:
        told |= {"priority": highest, "wished": message.priority}
    return encode_content(Draft("submitted", told))
