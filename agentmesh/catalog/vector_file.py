"""A file of vectors: a head, then records of one length, which are only ever appended.

A record is a key of 16 bytes, the vector as float16, and a CRC-32 of both. A process that dies while it writes leaves a
piece of a record at the end, which the next one that writes cuts off; a damaged record is as if it were not there.
"""

import fcntl
import hashlib
import os
import secrets
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

_HEAD: Final = struct.Struct("<8sI32s20x")
_MAGIC: Final = b"vectors1"
_KEY: Final = 16
_CRC: Final = struct.Struct("<I")
_AT_ONCE: Final = 4096


class VectorFile:
    """The vectors of one embedder. Its methods block, may be called from several threads, and raise `OSError`."""

    def __init__(self, folder: Path, embedder: str, limit: int) -> None:
        name = hashlib.blake2b(embedder.encode(), digest_size=32).digest()
        self._path = folder / f"vectors-{name.hex()[:16]}"
        self._name = name
        self._limit = limit
        self._lock = Lock()
        self._places: dict[bytes, int] = {}
        self._file: tuple[int, int] | None = None
        self._read_to = _HEAD.size
        self._dimensions = 0

    def read(self, keys: Sequence[bytes]) -> "list[NDArray[float32] | None]":
        """The vector of each key, None where there is none."""
        with self._lock:
            try:
                file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return [None] * len(keys)
            try:
                self._look(file)
                return self._vectors(file, keys)
            finally:
                os.close(file)

    def append(self, keys: Sequence[bytes], vectors: "NDArray[float32]") -> None:
        """Add these vectors, those that another process has added meanwhile not again."""
        import numpy as np

        with self._lock, self._locked() as file:
            self._look(file)
            if self._dimensions != vectors.shape[1]:
                self._begin(file, vectors.shape[1])
            elif (os.fstat(file).st_size - _HEAD.size) % self._size:
                os.ftruncate(file, self._read_to)
            halves = vectors.astype(np.float16)
            raw = b"".join(
                _record(key, half.tobytes()) for key, half in zip(keys, halves, strict=True) if key not in self._places
            )
            if self._read_to + len(raw) > self._limit:
                self._keep_newer_half(file, raw)
            else:
                _write(file, raw)

    @property
    def _size(self) -> int:
        return _KEY + 2 * self._dimensions + _CRC.size

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, made if need be, which no other process writes meanwhile."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _is_at(file, self._path):
                    yield file
                    return
            finally:
                os.close(file)

    def _look(self, file: int) -> None:
        """Learn what has been added since the last look, or all if it is another file."""
        found = os.fstat(file)
        if self._file != (found.st_dev, found.st_ino) or found.st_size < self._read_to:
            self._file, self._read_to, self._dimensions = (found.st_dev, found.st_ino), _HEAD.size, 0
            self._places.clear()
        if not self._dimensions:
            head = os.pread(file, _HEAD.size, 0)
            magic, dimensions, name = _HEAD.unpack(head) if len(head) == _HEAD.size else (b"", 0, b"")
            if magic != _MAGIC or name != self._name:
                return
            self._dimensions = dimensions
        while raw := os.pread(file, self._size * _AT_ONCE, self._read_to):
            count = len(raw) // self._size
            for at in range(count):
                self._places[raw[at * self._size : at * self._size + _KEY]] = self._read_to + at * self._size
            self._read_to += count * self._size
            if count < _AT_ONCE:
                return

    def _vectors(self, file: int, keys: Sequence[bytes]) -> "list[NDArray[float32] | None]":
        """Those that are there and whole, read in the order in which they lie."""
        import numpy as np

        found: dict[bytes, bytes] = {}
        for key in sorted(self._places.keys() & keys, key=self._places.__getitem__):
            raw = os.pread(file, self._size, self._places[key])
            if len(raw) == self._size and raw.startswith(key) and _is_whole(raw):
                found[key] = raw[_KEY : -_CRC.size]
            else:
                del self._places[key]
        halves = np.frombuffer(b"".join(found.values()), np.float16).reshape(len(found), self._dimensions)
        vectors = dict(zip(found, halves.astype(np.float32), strict=True))
        return [vectors.get(key) for key in keys]

    def _begin(self, file: int, dimensions: int) -> None:
        """Make it an empty file for vectors of that length."""
        os.ftruncate(file, 0)
        _write(file, _HEAD.pack(_MAGIC, dimensions, self._name))
        self._places.clear()
        self._read_to, self._dimensions = _HEAD.size, dimensions

    def _keep_newer_half(self, file: int, more: bytes) -> None:
        """Put another file in its place; who has the old one open goes on with that."""
        count = min(self._limit // 2, self._read_to - _HEAD.size) // self._size
        kept = os.pread(file, count * self._size, self._read_to - count * self._size)
        part = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        try:
            new = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                _write(new, _HEAD.pack(_MAGIC, self._dimensions, self._name) + kept + more)
            finally:
                os.close(new)
            part.replace(self._path)
        except OSError:
            with suppress(OSError):
                part.unlink()
            raise


def _record(key: bytes, half: bytes) -> bytes:
    return key + half + _CRC.pack(zlib.crc32(half, zlib.crc32(key)))


def _is_whole(record: bytes) -> bool:
    crc: int = _CRC.unpack_from(record, len(record) - _CRC.size)[0]
    return zlib.crc32(memoryview(record)[: -_CRC.size]) == crc


def _write(file: int, raw: bytes) -> None:
    rest = memoryview(raw)
    while rest:
        rest = rest[os.write(file, rest) :]


def _is_at(file: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    here = os.fstat(file)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
