"""A message on its way to RocketMQ, and one that came from it."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

MAX_LITE: Final = 64


class Outgoing(msgspec.Struct, frozen=True):
    """A message to send. At most one of `lite_topic`, `priority` (0–9) and `deliver_at` (ms UTC) is given: it is the
    message's type, which has to be the topic's."""

    topic: str
    body: bytes
    lite_topic: str = ""
    keys: Sequence[str] = ()
    tag: str = ""
    properties: Mapping[str, str] = {}
    priority: int | None = None
    deliver_at: int | None = None

    @property
    def type(self) -> str:
        """What RocketMQ calls the type of its topic: NORMAL, LITE, PRIORITY or DELAY."""
        if self.lite_topic:
            return "LITE"
        if self.priority is not None:
            return "PRIORITY"
        return "NORMAL" if self.deliver_at is None else "DELAY"


class Received(msgspec.Struct, eq=False):
    """A message that was received and waits for its ack. `attempt` counts from 1; `offset` is the LiteTopic's where
    there is one, else the queue's; `born` and `stored` are ms UTC, by the sender's and the broker's clock.

    `handle` is what an ack names; `change_invisible` replaces it.
    """

    topic: str
    lite_topic: str
    body: bytes
    id: str
    keys: tuple[str, ...]
    tag: str
    properties: dict[str, str]
    attempt: int
    offset: int
    queue: int
    born: int
    stored: int
    handle: str
