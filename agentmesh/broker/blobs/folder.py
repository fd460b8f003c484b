"""Blobs in a folder: `ab/cd/abcd…`, readable by their owner alone."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agentmesh.broker.blobs.files import PIECE, Guard, explained, keyed_hash, pieces
from agentmesh.contracts.blobs import Blob, Hash, check_digest
from agentmesh.errors import PayloadCorrupt
from agentmesh.ids import DIGEST

_UNFINISHED: Final = re.compile(r"\.[0-9a-f]{16}\.part\Z")


class FolderBlobs:
    """`Blobs` in `root`, which is made by the first of them.

    A body is written under another name in its folder, synced, renamed, and the folder synced: what has a blob's name
    is whole.
    """

    def __init__(self, root: Path, secret: bytes, guard: Guard) -> None:
        self._root = root
        self._secret = secret
        self._guard = guard

    def hash(self, tenant: str) -> Hash:
        return keyed_hash(self._secret, tenant)

    def put(self, digest: str, body: bytes | memoryview, now: int) -> None:
        path = self._path(digest)
        with explained(self._root):
            with self._guard.shared():
                kept = _holds(path, body)
                if kept:
                    _touch(path, now)
            if not kept:
                self._make(path.parent)
                self._write(path, body, now)
            sync(path.parent)  # of one that is kept too: whoever renamed it may not have come to it yet

    def _write(self, path: Path, body: bytes | memoryview, now: int) -> None:
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb", buffering=0) as file:
                for piece in pieces(body):
                    while piece:
                        piece = piece[file.write(piece) :]
                os.fsync(descriptor)
            with self._guard.shared():
                _touch(part, now)
                os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise

    def _make(self, folder: Path) -> None:
        """Make the folder and those above it; each is durable before something is put into it."""
        if folder.is_dir():
            return
        if folder != self._root:
            self._make(folder.parent)
        with contextlib.suppress(FileExistsError):  # somebody else was first
            folder.mkdir(mode=0o700)
        sync(folder.parent)

    def open(self, digest: str) -> Iterator[bytes]:
        path = self._path(digest)
        with explained(self._root):
            try:
                file = path.open("rb", buffering=0)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise PayloadCorrupt(f"Blob {digest} is not there: {path} does not exist.") from error
        return self._pieces(file)

    def _pieces(self, file: "contextlib.AbstractContextManager[object]") -> Iterator[bytes]:
        with explained(self._root), file as opened:
            while piece := opened.read(PIECE):  # type: ignore[attr-defined]
                yield piece

    def delete(self, digest: str, before: int) -> bool:
        path = self._path(digest)
        with explained(self._root), self._guard.alone() as alone:
            try:
                if not alone or path.stat().st_mtime_ns // 1_000_000 >= before:
                    return False
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                pass
            return True

    def list(self) -> Iterator[Blob]:
        for entry in self._entries():
            if DIGEST.match(entry.name):
                with contextlib.suppress(FileNotFoundError):  # it went meanwhile
                    found = entry.stat(follow_symlinks=False)
                    yield Blob(entry.name, found.st_size, found.st_mtime_ns // 1_000_000)

    def tidy(self, before: int) -> None:
        with explained(self._root):
            for entry in self._entries():
                if _UNFINISHED.match(entry.name):
                    with contextlib.suppress(FileNotFoundError):
                        if entry.stat(follow_symlinks=False).st_mtime_ns // 1_000_000 < before:
                            os.unlink(entry.path)

    def _entries(self) -> "Iterator[os.DirEntry[str]]":
        """The files two folders down."""
        with explained(self._root):
            for upper in _scan(self._root):
                for lower in _scan(upper.path):
                    yield from _scan(lower.path)

    def _path(self, digest: str) -> Path:
        check_digest(digest)
        return self._root / digest[:2] / digest[2:4] / digest


def _scan(folder: "str | Path") -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _holds(path: Path, body: bytes | memoryview) -> bool:
    """Whether the file is there and is this body."""
    try:
        with path.open("rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != len(body):
                return False
            return all(file.read(len(piece)) == bytes(piece) for piece in pieces(body))  # memory, not item by item
    except (FileNotFoundError, NotADirectoryError):
        return False


def _touch(path: Path, now: int) -> None:
    os.utime(path, ns=(now * 1_000_000, now * 1_000_000))


def sync(folder: Path) -> None:
    """What was made or renamed in the folder survives a power cut from now on."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
