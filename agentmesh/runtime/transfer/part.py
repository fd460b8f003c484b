"""The file of an export while it is written: `FILE.part`, which becomes `FILE` when all is in it."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from agentmesh.errors import BrokerUnavailable, Conflict, PayloadCorrupt
from agentmesh.runtime.transfer.frames import MAGIC, FrameReader, FrameWriter, Writable
from agentmesh.runtime.transfer.records import BlobRecord, LogRecord, Record, decode_records, encode_records, size_of
from agentmesh.runtime.transfer.sofar import Sofar

_FULL: Final = 256_000
_MANY: Final = 2_000


class Sink:
    """Where records go: collected into frames, which are written by a thread. `sofar` is what is written already."""

    def __init__(self, writer: FrameWriter, sofar: Sofar) -> None:
        self._writer = writer
        self.sofar = sofar
        self._records: list[Record] = []
        self._size = 0

    @property
    def written(self) -> int:
        """Bytes that this process wrote."""
        return self._writer.written

    async def put(self, record: Record) -> None:
        """Add a record. It is written when enough have come."""
        self.sofar.add(record)
        self._records.append(record)
        self._size += size_of(record)
        goes_on = isinstance(record, BlobRecord) or (isinstance(record, LogRecord) and record.more)
        if goes_on or self._size >= _FULL or len(self._records) >= _MANY:
            await self.flush()

    async def flush(self) -> None:
        """Write what was collected."""
        if self._records:
            records, self._records, self._size = self._records, [], 0
            try:
                await asyncio.to_thread(lambda: self._writer.write(encode_records(records)))
            except BrokenPipeError:
                raise
            except OSError as error:
                raise BrokerUnavailable(f"The export cannot be written: {error.strerror}.") from error

    async def finish(self) -> None:
        """All is there."""
        await self.flush()

    def close(self) -> None:
        """Let go of the file; what was collected and not written is left out."""


class Part(Sink):
    """A `Sink` into a file that an export can go on with."""

    def __init__(self, path: Path, file: IO[bytes], writer: FrameWriter, sofar: Sofar) -> None:
        super().__init__(writer, sofar)
        self._path = path
        self._file = file
        self.resumed = sofar.header is not None

    async def finish(self) -> None:
        await self.flush()
        await asyncio.to_thread(self._finish)

    def _finish(self) -> None:
        try:
            os.fsync(self._file.fileno())
            part_of(self._path).replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise BrokerUnavailable(f"{self._path} cannot be written: {error.strerror}.") from error

    def close(self) -> None:
        self._file.close()


def write_to(file: Writable) -> Sink:
    """A sink into a pipe, which cannot be gone on with."""
    return Sink(FrameWriter(file), Sofar())


def part_of(path: Path) -> Path:
    """What the file is called until it is whole."""
    return path.with_name(f"{path.name}.part")


def open_part(path: Path, *, source: str, overwrite: bool = False) -> Part:
    """Begin the file, or go on with one that an export of the mesh `source` began. It blocks.

    Raises `Conflict` if there is a whole file and it is not to be overwritten, if the one begun is another mesh's, or
    if another process writes it; `BrokerUnavailable` if it cannot be written.
    """
    part = part_of(path)
    if path.exists() and not overwrite:
        raise Conflict(f"{path} is there already, and whole. Name another file, or pass --overwrite.")
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        file = os.fdopen(descriptor, "r+b")
    except OSError as error:
        raise BrokerUnavailable(f"{part} cannot be written: {error.strerror}. Name another file.") from error
    try:
        os.fchmod(descriptor, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _go_on(path, file, source)
    except BlockingIOError as error:
        file.close()
        raise Conflict(f"{part} is being written by another process. Wait for it, or name another file.") from error
    except BaseException:
        file.close()
        raise


def _go_on(path: Path, file: IO[bytes], source: str) -> Part:
    """Read what there is, and cut away what is not whole."""
    sofar = Sofar()
    reader = FrameReader(file, str(part_of(path)))
    if os.fstat(file.fileno()).st_size:
        if not MAGIC.startswith(file.read(len(MAGIC))):
            raise Conflict(f"{part_of(path)} is there, and is no export. Remove it, or name another file.")
        file.seek(0)
        with contextlib.suppress(PayloadCorrupt):  # it is cut short: that is what going on is for
            reader.begin()
            _add_all(reader, sofar)
    if sofar.header and sofar.header.source != source:
        raise Conflict(
            f"{part_of(path)} was begun for {sofar.header.source}, not for {source}. Remove it, or name another file."
        )
    if sofar.header is None:  # nothing of it is whole
        file.seek(0)
        file.truncate()
        return Part(path, file, FrameWriter(file), Sofar())
    file.seek(reader.position)
    file.truncate()
    return Part(path, file, FrameWriter(file, reader.digest, reader.number), sofar)


def _add_all(reader: FrameReader, sofar: Sofar) -> None:
    for frame in reader.frames():
        records: Sequence[Record] = decode_records(frame.content, "the part")
        for record in records:
            sofar.add(record)
