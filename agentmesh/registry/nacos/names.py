"""Our names in Nacos: reversible, and valid on every server.

The real server takes ASCII letters, digits and `. : _ -`, and a database below it may not tell capitals from small
letters. So `[a-z0-9.-]` stay, and every other byte of the UTF-8 becomes `_hh`.
"""

from typing import Final
from zlib import crc32

from agentmesh.errors import ConfigError

SHARDS: Final = tuple(f"idx-{number:x}" for number in range(16))
"""The documents that together list all topics."""

_KEPT: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789.-")
_LONGEST: Final = 256
"""Characters in the id of a document."""


def encode(name: str) -> str:
    """The name as Nacos may have it."""
    return "".join(chr(byte) if byte in _KEPT else f"_{byte:02x}" for byte in name.encode())


def decode(encoded: str) -> str:
    """The name that was encoded. Raises `ValueError` for what is none of ours."""
    first, *rest = encoded.split("_")
    if any(len(each) < 2 for each in rest):
        raise ValueError(f"{encoded!r} is no encoded name")
    return b"".join([first.encode(), *(bytes.fromhex(each[:2]) + each[2:].encode() for each in rest)]).decode()


def shard(topic: str) -> str:
    """The index document that a topic is listed in."""
    return SHARDS[crc32(topic.encode()) % len(SHARDS)]


def card_id(topic: str, version: str) -> str:
    """The id of a card's document. Raises `ConfigError` if the version is too long for one."""
    found = f"{encode(topic)}::{encode(version)}"
    if len(found) > _LONGEST:
        raise ConfigError(f"{topic}: its version {version[:40]!r}… is too long for Nacos. Give it a shorter one.")
    return found
