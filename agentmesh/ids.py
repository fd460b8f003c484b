"""Names and ids: what may be a name, how ids are made, which are hashes of something."""

import base64
import hashlib
import os
import re
import time
from io import BytesIO
from typing import Final, Literal

from agentmesh.errors import ConfigError

Kind = Literal["call", "run"]

TOPIC = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\Z")
LITE_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
DIGEST = re.compile(r"[0-9a-f]{64}\Z")
"""Of a blob."""


def check_topic(name: str) -> str:
    """Return `name` if it may name a topic (a letter, then up to 63 of `[A-Za-z0-9_-]`), else `ConfigError`."""
    if not TOPIC.match(name):
        raise ConfigError(
            f"{name!r} cannot name a topic: use a letter, then up to 63 letters, digits, '_' or '-'. "
            "The display name, in any script, belongs in `name`."
        )
    return name


def check_lite_topic(name: str) -> str:
    """Return `name` if it may name a LiteTopic (1 to 64 of `[A-Za-z0-9_-]`), else `ConfigError`."""
    if not LITE_TOPIC.match(name):
        raise ConfigError(f"{name!r} cannot name a LiteTopic: use 1 to 64 letters, digits, '_' or '-'.")
    return name


_RANDOM: Final = 4096

_last_id = 0
_random = BytesIO()


def _draw(size: int) -> bytes:
    """Random bytes of the system's, fetched many at a time: asking for them costs more than all else here."""
    global _random
    drawn = _random.read(size)
    if len(drawn) < size:
        fresh = BytesIO(os.urandom(_RANDOM))
        drawn = fresh.read(size)
        _random = fresh
    return drawn


def _forked() -> None:
    """What is left of the parent's random bytes is the parent's to use."""
    global _random
    _random = BytesIO()


os.register_at_fork(after_in_child=_forked)


def new_id(kind: Kind) -> str:
    """A fresh time-ordered id such as `call-0192f0c1…` (UUIDv7 as 32 hex digits; RFC 9562, section 5.7). Those of one
    process are in the order in which they were made (section 6.2, method 2: a random step within a millisecond).
    """
    global _last_id
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(_draw(10), "big")
    value = value & ~(0xF000 << 64) | 0x7000 << 64
    value = value & ~(0xC000 << 48) | 0x8000 << 48
    if value <= _last_id:
        value = _last_id + 1 + (value & 0xFFFFFFFF)
    _last_id = value
    return f"{kind}-{value:032x}"


def new_token() -> str:
    """A fresh secret for a lease: 22 characters, 128 bits."""
    return base64.urlsafe_b64encode(_draw(16)).decode()[:22]


def kind_of(lite_topic: str) -> str:
    """`call` of `call-0192…`: what a LiteTopic is the log of."""
    return lite_topic.partition("-")[0]


def digest(*parts: str | bytes) -> str:
    """26 characters that stand for `parts`; each is length-prefixed, so that ("ab", "c") is not ("a", "bc")."""
    state = hashlib.blake2b(digest_size=17)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        state.update(len(raw).to_bytes(8, "big"))
        state.update(raw)
    return base64.b32encode(state.digest()).decode().lower()[:26]


def body_digest(body: bytes) -> str:
    """32 hex digits that stand for a body."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def keyed_call(tenant: str, topic: str, key: str, kind: Kind = "call") -> str:
    """The id of the call that `start(key=…)` names: the same for the same tenant, topic and key."""
    return f"{kind}-{digest(tenant, topic, key)}"


def child_call(parent: str, step: str, kind: Kind = "call") -> str:
    """The id of the call that step `step` of the call `parent` makes, the same on every attempt."""
    return f"{kind}-{digest(parent, step)}"


def own_log(tenant: str, name: str) -> str:
    """The LiteTopic of a log of one's own; `name` may be any text."""
    return f"log-{digest(tenant, name)}"


def session_log(tenant: str, session: str) -> str:
    """The LiteTopic of a chat session; `session` may be any text."""
    return f"session-{digest(tenant, session)}"


def memory_log(tenant: str, principal: str) -> str:
    """The LiteTopic behind `Context.memory`: one for all agents that work for this principal."""
    return f"memory-{digest(tenant, principal)}"
