"""Blobs behind a URL that fsspec knows: `s3://BUCKET/PREFIX`, `gs://…`, `sftp://…`, `memory://…`."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Any, Final
from urllib.parse import urlsplit

from agentmesh.broker.blobs.files import PIECE, Guard, explained, keyed_hash, pieces
from agentmesh.contracts.blobs import Blob, Hash, check_digest
from agentmesh.errors import BrokerUnavailable, ConfigError, PayloadCorrupt
from agentmesh.ids import DIGEST

_FRESH: Final = 30 * 60_000
"""A blob this young (ms) is not sent again."""

_UNFINISHED: Final = "unfinished"


class RemoteBlobs:
    """`Blobs` in the folder `name` below `url`. Opening it makes sure that it can be written to, which takes some
    requests.

    The times of its files are the store's own. Raises `ConfigError` for a URL that cannot be used.
    """

    def __init__(self, url: str, name: str, secret: bytes, guard: Guard) -> None:
        self._url = url
        self._secret = secret
        self._guard = guard
        self._fs: Any = _file_system(url)
        root = str(self._fs._strip_protocol(url)).rstrip("/")
        self._root = f"{root}/{name}"
        try:
            self._check()
        except Exception as error:  # whatever its driver raises
            raise ConfigError(f"blobs: {url} cannot be used: {type(error).__name__}: {error}.") from error

    def hash(self, tenant: str) -> Hash:
        return keyed_hash(self._secret, tenant)

    def put(self, digest: str, body: bytes | memoryview, now: int) -> None:
        path = self._path(digest)
        with self._explained(), self._guard.shared():
            found = self._look(path)
            if found is None or found.size != len(body) or found.touched < now - _FRESH:
                self._write(path, body)

    def _write(self, path: str, body: bytes | memoryview) -> None:
        """Under another name first: not every store makes a file appear as a whole."""
        part = f"{self._root}/{_UNFINISHED}/{secrets.token_hex(8)}"
        self._fs.makedirs(part.rpartition("/")[0], exist_ok=True)
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        try:
            with self._fs.open(part, "wb", block_size=8 * PIECE) as file:
                for piece in pieces(body):
                    file.write(piece)
            self._fs.mv(part, path)
        except BaseException:
            with contextlib.suppress(Exception):
                self._fs.rm_file(part)
            raise

    def open(self, digest: str) -> Iterator[bytes]:
        path = self._path(digest)
        with self._explained():
            try:
                file = self._fs.open(path, "rb", block_size=PIECE)
            except FileNotFoundError as error:
                raise PayloadCorrupt(f"Blob {digest} is not there: {self._url} does not have it.") from error
        return self._pieces(file)

    def _pieces(self, file: Any) -> Iterator[bytes]:
        with self._explained(), file:
            while piece := file.read(PIECE):
                yield piece

    def delete(self, digest: str, before: int) -> bool:
        path = self._path(digest)
        with self._explained(), self._guard.alone() as alone:
            found = self._look(path) if alone else None
            if not alone or (found and found.touched >= before):
                return False
            if found:
                self._fs.rm_file(path)
            return True

    def list(self) -> Iterator[Blob]:
        for path in self._files(self._root):
            if DIGEST.match(path.rpartition("/")[2]) and (found := self._look(path)):
                yield found

    def tidy(self, before: int) -> None:
        for path in self._files(f"{self._root}/{_UNFINISHED}"):
            with self._explained():
                found = self._look(path)
                if found and found.touched < before:
                    self._fs.rm_file(path)

    def _files(self, folder: str) -> Sequence[str]:
        with self._explained():
            self._fs.invalidate_cache()
            try:
                return [str(path) for path in self._fs.find(folder)]
            except FileNotFoundError:
                return []

    def _look(self, path: str) -> Blob | None:
        try:
            size, modified = self._fs.size(path), self._fs.modified(path)
        except FileNotFoundError:
            return None
        if modified.tzinfo is None:
            modified = modified.replace(tzinfo=UTC)
        return Blob(path.rpartition("/")[2], int(size or 0), round(modified.timestamp() * 1000))

    def _check(self) -> None:
        """Write, look, and take away."""
        probe = f"{self._root}/{_UNFINISHED}/{secrets.token_hex(8)}"
        self._fs.makedirs(probe.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(probe, b"agentmesh")
        found = self._look(probe)
        self._fs.rm_file(probe)
        if found is None or found.size != 9:
            raise OSError("what was just written there is not there")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """The errors of the drivers have no base in common."""
        with explained(self._url):
            try:
                yield
            except (OSError, PayloadCorrupt, GeneratorExit):
                raise
            except Exception as error:
                raise BrokerUnavailable(
                    f"{self._url}, which holds the large bodies, fails: {type(error).__name__}: {error}."
                ) from error

    def _path(self, digest: str) -> str:
        check_digest(digest)
        return f"{self._root}/{digest[:2]}/{digest[2:4]}/{digest}"


def check_url(url: str) -> str:
    """Return `url` if it may name a store; raises `ConfigError`."""
    parts = urlsplit(url)
    if parts.password:
        raise ConfigError(
            f"blobs: {parts.scheme}://…@{parts.hostname} holds a password. Keys do not belong in settings: "
            "give it to the driver by the environment."
        )
    if parts.scheme == "file" and not (parts.path.startswith("/") and parts.netloc in ("", "localhost")):
        raise ConfigError(f"blobs: {url!r} is no folder of this machine: write file:///absolute/path.")
    return url


def _file_system(url: str) -> Any:
    import fsspec  # type: ignore[import-untyped]

    try:
        return fsspec.core.url_to_fs(url)[0]
    except (ValueError, ImportError) as error:  # no such scheme; its driver is not installed
        raise ConfigError(f"blobs: {url!r} cannot be used: {error}.") from error
    except Exception as error:
        raise ConfigError(f"blobs: {url!r} cannot be reached: {type(error).__name__}: {error}.") from error
