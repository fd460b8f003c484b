"""Tasks as RocketMQ messages."""

from typing import Final

import msgspec

from agentmesh.broker.drafts import encode_task
from agentmesh.broker.rocketmq.client import Outgoing
from agentmesh.errors import PayloadCorrupt
from agentmesh.ids import check_lite_topic, kind_of
from agentmesh.message import CALL_DEADLINE, RUN_DEADLINE, Message, decode_message

_LAST_TIME: Final = 2**53


def prepare(message: Message, now: int) -> tuple[Message, bytes]:
    """The message with its default deadline, and as bytes. Raises `ConfigError`, `PayloadCorrupt`."""
    check_lite_topic(message.log)
    if not message.deadline:
        lifetime = RUN_DEADLINE if kind_of(message.id) == "run" else CALL_DEADLINE
        message = msgspec.structs.replace(message, deadline=now + lifetime)
    if not 0 <= message.priority <= 9:
        raise PayloadCorrupt(f"{message.id} has priority {message.priority}, and priorities are 0 to 9.")
    check_time(message.deadline)
    check_time(message.not_before)
    return message, encode_task(message)


def check_time(when: int) -> int:
    """Raises `PayloadCorrupt`."""
    if not 0 <= when <= _LAST_TIME:
        raise PayloadCorrupt(f"{when} is no time in milliseconds since 1970.")
    return when


def outgoing(lane: str, message: Message, raw: bytes, *, priority: int | None = None) -> Outgoing:
    """The message for a lane, which finds it by the call's id."""
    return Outgoing(lane, raw, keys=(message.id,), priority=priority)


def read_task(body: bytes) -> Message:
    """Raises `PayloadCorrupt` for what is no task of ours."""
    return decode_message(body)
