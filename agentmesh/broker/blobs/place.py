"""Which store the bodies of a mesh lie in, and the secret that their digests are keyed with.

Both are written once to `DIR/blobs.json`, so that every process of the mesh means the same: the caller, the worker, and
whoever hosts and removes what nobody refers to any more.
"""

import contextlib
import hashlib
import json
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from agentmesh.broker.blobs.files import FileGuard, Guard, ThreadGuard, explained
from agentmesh.broker.blobs.folder import FolderBlobs, sync
from agentmesh.broker.blobs.remote import RemoteBlobs, check_url
from agentmesh.contracts.blobs import Blob, Blobs, Hash, check_digest
from agentmesh.errors import ConfigError, PayloadCorrupt

RECORD: Final = "blobs.json"
FOLDER: Final = "blobs"
LOCK: Final = "blobs.lock"


class Place(NamedTuple):
    """What the record says. `url` is empty for `DIR/blobs`."""

    secret: bytes
    url: str


class LocalBlobs:
    """`Blobs` of the mesh in `folder`: those in `folder/blobs`, or at the URL that the mesh began with.

    Nothing is read or made until it is needed. `url` is what this process was told; empty: whatever holds.
    """

    def __init__(self, folder: Path, url: str = "") -> None:
        self._folder = folder
        self._url = url
        self._lock = threading.Lock()
        self._store: Blobs | None = None

    def settle(self) -> None:
        """Make sure that the store can be used. Raises `ConfigError`, also if the mesh has another one."""
        check_url(self._url)
        self._made()

    def hash(self, tenant: str) -> Hash:
        return self._made().hash(tenant)

    def put(self, digest: str, body: bytes | memoryview, now: int) -> None:
        self._made().put(digest, body, now)

    def open(self, digest: str) -> Iterator[bytes]:
        store = self._found()
        if store is None:
            raise PayloadCorrupt(f"Blob {check_digest(digest)} is not there: {self._folder} has none.")
        return store.open(digest)

    def delete(self, digest: str, before: int) -> bool:
        store = self._found()
        return store.delete(digest, before) if store else bool(check_digest(digest))

    def list(self) -> Iterator[Blob]:
        store = self._found()
        return store.list() if store else iter(())

    def tidy(self, before: int) -> None:
        store = self._found()
        if store:
            store.tidy(before)

    def _made(self) -> Blobs:
        """The store, which begins with this if there is none yet."""
        with self._lock:
            if self._store is None:
                with explained(self._folder):
                    place = self._read() or self._write()
                self._store = self._open(place)
            return self._store

    def _found(self) -> Blobs | None:
        """The store, if there is one."""
        with self._lock:
            if self._store is None:
                with explained(self._folder):
                    place = self._read()
                self._store = place and self._open(place)
            return self._store

    def _open(self, place: Place) -> Blobs:
        if self._url not in ("", place.url):
            raise ConfigError(
                f"blobs={self._url!r}: the bodies of this mesh are at {place.url or self._folder / FOLDER}. "
                f"To move them, stop every process, copy them, and change `url` in {self._folder / RECORD}."
            )
        guard = FileGuard(self._folder / LOCK)
        return _store(place, guard) if place.url else FolderBlobs(self._folder / FOLDER, place.secret, guard)

    def _read(self) -> Place | None:
        path = self._folder / RECORD
        try:
            found = json.loads(path.read_bytes())
            place = Place(bytes.fromhex(found["secret"]), str(found["url"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise PayloadCorrupt(
                f"{path} is damaged, and without it no large body can be read. Bring it back from a backup."
            ) from error
        if len(place.secret) != 32:
            raise PayloadCorrupt(f"{path} holds no secret of 32 bytes. Bring it back from a backup.")
        return place

    def _write(self) -> Place:
        """Make the record, unless somebody else is first; theirs counts then."""
        place = Place(secrets.token_bytes(32), check_url(self._url))
        if place.url:
            _store(place, ThreadGuard())  # what cannot be used is not kept
        path = self._folder / RECORD
        part = path.with_name(f".{RECORD}.{secrets.token_hex(8)}")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump({"secret": place.secret.hex(), "url": place.url}, file)
                file.flush()
                os.fsync(descriptor)
            with contextlib.suppress(FileExistsError):
                os.link(part, path)
        finally:
            part.unlink()
        sync(self._folder)
        kept = self._read()
        assert kept
        return kept


def remote_blobs(url: str) -> Blobs:
    """Blobs at a URL for a mesh that lives in this process alone. Raises `ConfigError`."""
    return _store(Place(secrets.token_bytes(32), check_url(url)), ThreadGuard())


def shared_blobs(url: str, secret: bytes) -> Blobs:
    """Blobs at a URL for a mesh whose processes agreed on this secret. Raises `ConfigError`."""
    return _store(Place(secret, check_url(url)), ThreadGuard())


def _store(place: Place, guard: Guard) -> Blobs:
    """Each mesh has a folder of its own there: it removes what it does not know."""
    name = hashlib.blake2b(b"folder", key=place.secret, digest_size=10).hexdigest()
    parts = urlsplit(place.url)
    if parts.scheme != "file":
        return RemoteBlobs(place.url, name, place.secret, guard)
    root = Path(unquote(parts.path))
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(root, os.W_OK | os.X_OK):
            raise PermissionError(13, "it cannot be written to")
    except OSError as error:
        raise ConfigError(f"blobs: {place.url} cannot be used: {error.strerror}.") from error
    return FolderBlobs(root / name, place.secret, guard)
