"""What the stores have in common: keyed digests, the guard between putting and removing, and what errors say."""

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from agentmesh.contracts.blobs import Hash
from agentmesh.errors import BrokerUnavailable

PIECE: Final = 1 << 20
"""How much is read or written at once."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_REFUSED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})


def keyed_hash(secret: bytes, tenant: str) -> Hash:
    """BLAKE2b (RFC 7693, keyed) of a body, under a key of the tenant that only the mesh's secret tells."""
    key = hashlib.blake2b(tenant.encode(), key=secret, digest_size=32).digest()
    return hashlib.blake2b(key=key, digest_size=32)


def pieces(body: bytes | memoryview) -> Iterator[memoryview]:
    """The body in pieces, without a copy."""
    view = memoryview(body)
    for start in range(0, len(view), PIECE):
        yield view[start : start + PIECE]


class Guard(Protocol):
    """Keeps removing apart from putting, over all processes that use a store."""

    def shared(self) -> AbstractContextManager[object]:
        """While something is put in its place or its time renewed; any number at once."""
        ...

    def alone(self) -> AbstractContextManager[bool]:
        """While something is looked at and removed. False: somebody is putting; try again later."""
        ...


class FileGuard:
    """A lock on a file (flock(2)): it ends with its process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def alone(self) -> Iterator[bool]:
        with self._open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @contextmanager
    def _open(self) -> Iterator[int]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class ThreadGuard:
    """The same within one process, one at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def shared(self) -> AbstractContextManager[object]:
        return self._lock

    @contextmanager
    def alone(self) -> Iterator[bool]:
        taken = self._lock.acquire(blocking=False)
        try:
            yield taken
        finally:
            if taken:
                self._lock.release()


@contextmanager
def explained(where: object) -> Iterator[None]:
    """Errors of the system as `BrokerUnavailable`, with what to do."""
    try:
        yield
    except OSError as error:
        raise BrokerUnavailable(_explanation(where, error)) from error


def _explanation(where: object, error: OSError) -> str:
    if error.errno in _FULL:
        return f"{where}: the disk is full ({error.strerror}). The large body was not stored; free some room."
    if error.errno in _REFUSED:
        return f"{where} cannot be used for large bodies ({error.strerror}). Check its owner and its rights."
    return f"{where} cannot be used for large bodies: {error.strerror or error}. What was to be stored was not."
