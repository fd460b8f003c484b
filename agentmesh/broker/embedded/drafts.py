"""Entries as they are written: checked and encoded before they join a turn."""

from collections.abc import Sequence

from agentmesh.errors import PayloadCorrupt
from agentmesh.ids import body_digest
from agentmesh.message import Draft, Message, encode_content

Encoded = list[tuple[str, str, bytes]]
"""Drafts ready to be written: id, type, content."""


def encode(entries: Sequence[Draft]) -> Encoded:
    """Raises `PayloadCorrupt` for what cannot be stored."""
    for draft in entries:
        if draft.id.startswith("@"):
            raise PayloadCorrupt(f"An entry's id cannot begin with '@': {draft.id!r}.")
        check_text(draft.id)
    return [(draft.id, draft.type, encode_content(draft)) for draft in entries]


def check_text(text: str) -> None:
    """Raises `PayloadCorrupt` for text that cannot be stored: lone halves of surrogate pairs."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise PayloadCorrupt(f"{text!r} is no Unicode text: {error.reason}.") from error


def identity(message: Message) -> tuple[str, str, str]:
    """What must be the same for a message to be the one that was published before: topic, skill, digest."""
    return message.topic, message.skill, body_digest(message.body)


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
        "digest": body_digest(message.body),
    }
    if message.priority > highest:
        told |= {"priority": highest, "wished": message.priority}
    return encode_content(Draft("submitted", told))
