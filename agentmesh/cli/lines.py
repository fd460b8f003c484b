"""Lines that a person types, or that come through a pipe, without blocking the loop."""

import asyncio
import os
import sys
from typing import Final

_READ: Final = 65_536
_rest = bytearray()
_ended = False


async def read_line(prompt: str = "> ") -> str:
    """The next line of stdin that is not blank, after a prompt on stderr; empty at the end of the input.

    It can be cancelled, as a thread that waits for a line could not.
    """
    while True:
        sys.stderr.write(prompt)
        sys.stderr.flush()
        try:
            line = await _next()
        except asyncio.CancelledError:
            sys.stderr.write("\n")
            raise
        if line is None:
            sys.stderr.write("\n")
            return ""
        if line.strip():
            return line.strip()


async def _next() -> str | None:
    global _ended
    while b"\n" not in _rest and not _ended:
        data = await _read()
        _rest.extend(data)
        _ended = not data
    if not _rest:
        return None
    line, _, rest = bytes(_rest).partition(b"\n")
    _rest[:] = rest
    return line.decode(sys.stdin.encoding or "utf-8", errors="replace")


async def _read() -> bytes:
    """What there is to read, as soon as there is something; nothing at the end."""
    fd = sys.stdin.fileno()
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(fd, ready.set)
    except PermissionError:  # a regular file is always ready, and cannot be watched
        return os.read(fd, _READ)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
    return os.read(fd, _READ)
