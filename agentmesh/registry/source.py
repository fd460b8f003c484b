"""Sources of cards: one written in place, one in a file. Those on the web are in `web.py`."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from agentmesh.errors import ConfigError, PayloadCorrupt, RegistryUnavailable

LARGEST: Final = 1_000_000
"""A card that is larger (bytes) is none."""


class Kept(msgspec.Struct, frozen=True):
    """What a source gave: the card's bytes, when that was (ms UTC), and what the next request may ask by.

    `url` is where it was found; `age` for how long (s) it need not be asked again, 0: nothing was said of it;
    `private` says that no disk may keep it.
    """

    raw: bytes
    fetched: int
    url: str = ""
    etag: str = ""
    modified: str = ""
    age: int = 0
    private: bool = False


class Source(Protocol):
    """Where a card is."""

    @property
    def name(self) -> str:
        """What it is called in messages and in the snapshot."""
        ...

    @property
    def place(self) -> str:
        """What tells its agent from another of the same name; empty: the card does."""
        ...

    async def look(self, kept: Kept | None, now: int) -> Kept:
        """The card as it is now; `kept` is what this gave before. Raises `RegistryUnavailable` if it cannot be had, and
        `PayloadCorrupt` for what can be no card.
        """
        ...


class InPlace:
    """A card written in the settings."""

    place: Final = ""

    def __init__(self, card: Mapping[str, Any], position: int) -> None:
        self.name = f"cards[{position}]"
        try:
            self._raw = json.dumps(card, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(f"{self.name} is no card: {error}.") from error

    async def look(self, kept: Kept | None, now: int) -> Kept:  # noqa: ARG002 - as in the contract
        return Kept(self._raw, now)


class InFile:
    """A card in a file, in JSON or YAML."""

    place: Final = ""

    def __init__(self, path: str) -> None:
        self.name = path

    async def look(self, kept: Kept | None, now: int) -> Kept:  # noqa: ARG002 - as in the contract
        return Kept(await asyncio.to_thread(self._read), now)

    def _read(self) -> bytes:
        if not self.name.endswith((".yaml", ".yml")):
            try:
                with Path(self.name).open("rb") as file:
                    raw = file.read(LARGEST + 1)
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise RegistryUnavailable(f"The card {self.name} cannot be read: {reason}.") from error
            return check_size(raw, self.name)
        from agentmesh.document import read_document

        document = read_document(Path(self.name))
        for mistake in document.mistakes:
            where = f"{self.name}:{mistake.line}" if mistake.line else self.name
            raise RegistryUnavailable(f"{where}: {mistake.message}")
        return json.dumps(document.data, ensure_ascii=False).encode()


def check_size(raw: bytes, name: str) -> bytes:
    """Return the bytes of a card; `PayloadCorrupt` if they are too many."""
    if len(raw) > LARGEST:
        raise PayloadCorrupt(f"{name} holds more than {LARGEST // 1_000_000} MB: that is no AgentCard.")
    return raw
