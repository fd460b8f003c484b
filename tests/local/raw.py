"""A client that says what no client of ours would."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from agentmesh.broker.local.wire import MAGIC, PROTOCOL, record


class Raw:
    """A connection to the socket of a folder."""

    open_now: ClassVar[list["Raw"]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.said: Any = None
        self.open_now.append(self)

    @classmethod
    async def connect(cls, folder: Path) -> "Raw":
        return cls(*await asyncio.open_unix_connection(folder / "socket"))

    @classmethod
    async def hello(cls, folder: Path, process: str, protocol: int = PROTOCOL) -> "Raw":
        raw = await cls.connect(folder)
        raw.send([MAGIC, protocol, "9.9", process])
        answer = await raw.read()
        assert answer[3] == ("welcome" if protocol == PROTOCOL else "refused")
        raw.said = answer
        return raw

    def send(self, value: Any) -> None:
        self.writer.write(record(value))

    def send_bytes(self, data: bytes) -> None:
        self.writer.write(data)

    async def read(self) -> Any:
        """The next record; None at the end."""
        try:
            size = int.from_bytes(await self.reader.readexactly(4), "big")
            return msgspec.msgpack.decode(await self.reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def ask(self, number: int, operation: str, arguments: Any, seen: Sequence[int] = ()) -> Any:
        """The answer to this request; what else comes is skipped."""
        self.send([number, list(seen), operation, arguments])
        while (answer := await self.read()) is not None and answer[0] != number:
            pass
        return answer

    def close(self) -> None:
        self.writer.transport.abort()

    @classmethod
    async def close_all(cls) -> None:
        while cls.open_now:
            cls.open_now.pop().close()
        await asyncio.sleep(0)
