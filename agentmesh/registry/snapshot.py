"""The snapshot: what sources gave, in a file, for a start without them."""

import asyncio
import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from agentmesh.log import get_logger
from agentmesh.registry.source import Kept

_decoder = msgspec.json.Decoder(dict[str, Kept])


class Snapshot:
    """A file at `path` that holds what each source gave last. It is a help: a file that cannot be read or written costs
    a warning, no more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: dict[str, Kept] = {}
        self._lock = asyncio.Lock()

    async def read(self) -> dict[str, Kept]:
        """By the source's name; nothing if there is no file yet."""
        try:
            raw = await asyncio.to_thread(self._path.read_bytes)
            self._written = _decoder.decode(raw)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            get_logger(file=str(self._path)).warning("cards that were kept cannot be read", error=str(error))
        return dict(self._written)

    async def write(self, kept: Mapping[str, Kept]) -> None:
        """Keep these, unless they say no more than what is kept."""
        told = {name: each for name, each in kept.items() if not each.private}
        async with self._lock:
            if _content(told) == _content(self._written):
                return
            try:
                await asyncio.to_thread(self._write, msgspec.json.encode(told))
                self._written = told
            except OSError as error:
                get_logger(file=str(self._path)).warning("cards cannot be kept", error=str(error))

    def _write(self, raw: bytes) -> None:
        """A process that dies leaves the old file or the new one."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise


def _content(kept: Mapping[str, Kept]) -> dict[str, tuple[bytes, str, str, str]]:
    return {name: (each.raw, each.url, each.etag, each.modified) for name, each in kept.items()}
