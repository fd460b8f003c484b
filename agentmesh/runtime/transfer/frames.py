"""Frames: the form of an export, whatever is in it.

A file begins with `MAGIC`, whose number is the version of the format. Then come frames: the length of the content
(4 bytes, big-endian), a digest (16 bytes), the content (zlib). A digest is BLAKE2b of the digest before it and the
content, the first one's of `MAGIC`: what was cut, altered, left out, repeated or put elsewhere is found at the first
frame that it concerns. Whether the whole is there says the last record (`records.End`).
"""

import hashlib
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol

from agentmesh.errors import PayloadCorrupt

MAGIC: Final = b"agentmesh export 1\n"
LARGEST: Final = 64_000_000
"""What a frame may hold, unpacked (bytes)."""

_WORD: Final = b"agentmesh export "
_LENGTH: Final = 4
_DIGEST: Final = 16
_LEVEL: Final = 4


class Readable(Protocol):
    """A file, or a pipe."""

    def read(self, size: int, /) -> bytes: ...


class Writable(Protocol):
    """A file, or a pipe."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> None: ...


class Frame(NamedTuple):
    """A frame's content, its `number` from 0, and the `end` of it in the file."""

    number: int
    content: bytes
    end: int


class FrameWriter:
    """Writes frames to a file that holds `number` of them already, the last with `digest`."""

    def __init__(self, file: Writable, digest: bytes = b"", number: int = 0) -> None:
        self._file = file
        self._digest = digest or _first()
        self.number = number
        self.written = 0
        if not digest:
            self._file.write(MAGIC)

    def write(self, content: bytes) -> None:
        """Write a frame and hand it to the system: the death of this process does not undo it. It may block."""
        packed = zlib.compress(content, _LEVEL)
        self._digest = _next(self._digest, packed)
        raw = len(packed).to_bytes(_LENGTH, "big") + self._digest + packed
        self._file.write(raw)
        self._file.flush()
        self.number += 1
        self.written += len(raw)


class FrameReader:
    """Reads the frames of a file from its beginning. Its methods may block."""

    def __init__(self, file: Readable, name: str) -> None:
        self._file = file
        self._name = name
        self.position = 0
        self.digest = _first()
        self.number = 0

    def begin(self) -> None:
        """Read what the file begins with. Raises `PayloadCorrupt` if it is none of ours, or a newer one's."""
        found = self._file.read(len(MAGIC))
        self.position = len(found)
        if found == MAGIC:
            return
        if found.startswith(_WORD):
            raise PayloadCorrupt(
                f"{self._name} is an export of format {found[len(_WORD) :].decode(errors='replace').strip()}, and this "
                "agentmesh reads 1: upgrade it."
            )
        what = "is empty" if not found else "is no export"
        raise PayloadCorrupt(f"{self._name} {what}: `agentmesh export FILE` writes one.")

    def frames(self) -> Iterator[Frame]:
        """Frame by frame to the end of the file. Raises `PayloadCorrupt` for what is cut short or damaged."""
        while head := self._read(_LENGTH + _DIGEST):
            length = int.from_bytes(head[:_LENGTH], "big")
            if len(head) < _LENGTH + _DIGEST:
                raise self._cut()
            packed = self._read(length) if length <= LARGEST else b""
            if len(packed) < min(length, LARGEST):
                raise self._cut()
            digest = _next(self.digest, packed)
            if length > LARGEST or digest != head[_LENGTH:]:
                raise self._damaged()
            content = self._unpacked(packed)
            self.digest = digest
            self.position += len(head) + length
            self.number += 1
            yield Frame(self.number - 1, content, self.position)

    def _read(self, size: int) -> bytes:
        """So many bytes, or as many as there are: a pipe gives them in pieces."""
        raw = bytearray()
        while len(raw) < size and (piece := self._file.read(size - len(raw))):
            raw += piece
        return bytes(raw)

    def _unpacked(self, packed: bytes) -> bytes:
        opener = zlib.decompressobj()
        try:
            content = opener.decompress(packed, LARGEST)
        except zlib.error as error:
            raise self._damaged() from error
        if opener.unconsumed_tail or not opener.eof:
            raise self._damaged()
        return content

    def _damaged(self) -> PayloadCorrupt:
        return PayloadCorrupt(
            f"{self._name} is damaged after byte {self.position:,} (frame {self.number}): export it again, or copy it "
            "again."
        )

    def _cut(self) -> PayloadCorrupt:
        return PayloadCorrupt(cut_short(self._name, self.position))


def cut_short(name: str, position: int) -> str:
    """What is said of an export whose end is missing; `position` is where (bytes)."""
    return f"{name} is cut short after byte {position:,}: export it again, or copy it again."


def _first() -> bytes:
    return hashlib.blake2b(MAGIC, digest_size=_DIGEST).digest()


def _next(digest: bytes, packed: bytes) -> bytes:
    state = hashlib.blake2b(digest, digest_size=_DIGEST)
    state.update(packed)
    return state.digest()
