"""Plain files that tell what happened, a line each: written by every process of a drill, read by its oracle.

A line is `TIME WORD ARGUMENT …`, the time in milliseconds of the machine's monotonic clock, which all of its processes
share. Every process that is started has a file of its own, so that a line that a kill left half-written is the last
one. This module and the oracle use nothing of agentmesh.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

SUFFIX: Final = ".effects"

WORDS: Final = {
    "run": 2,
    "acked": 2,
    "step": 3,
    "intent": 1,
    "acknowledged": 2,
    "ended": 3,
    "shown": 2,
    "noted": 3,
    "saw": 3,
    "open": 1,
    "unknown": 1,
    "looked": 0,
    "finished": 0,
    "trouble": 2,
    "fault": 2,
    "died": 1,
}
"""Each word, and how many arguments it has:

run CALL NONCE              a handler began
acked CALL NONCE            the mesh confirmed that this handler's result counts
step CALL STEP VALUE        what a recorded step came to, as the handler saw it
intent KEY                  a caller is about to start a call
acknowledged CALL KEY       … and was told that it is stored
ended CALL TYPE NONCE       how a call ended, as somebody saw it
shown CALL NONCE            the handler run that a piece of the visible output is from
noted LOG OFFSET ENTRY      an entry of a log of one's own is stored at that offset
saw LOG OFFSET ENTRY        a follower read it
open CALL, unknown CALL     what a new process found of a call at the very end
looked                      … and it looked at all of them
finished                    a caller has seen everything end
trouble WHERE ERROR         an error that was met and tried again
fault KIND TARGET           what was done to whom
died NAME                   a process ended that nobody killed
"""


class Line(NamedTuple):
    """A line: when (ms), by which process (under the name that its successors have too), and what."""

    at: int
    who: str
    word: str
    arguments: tuple[str, ...]


class Effects:
    """The file of one process. `number` counts the processes of that name."""

    def __init__(self, folder: Path, name: str, number: int) -> None:
        path = folder / f"{name}.{number:05d}{SUFFIX}"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, word: str, *arguments: object) -> None:
        """Add a line. It is on the disk when this returns."""
        parts = [str(argument).replace(" ", "_").replace("\n", "_") or "-" for argument in arguments]
        os.write(self._descriptor, (" ".join([str(now()), word, *parts]) + "\n").encode())
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def now() -> int:
    """Milliseconds, the same for all processes of the machine."""
    return time.monotonic_ns() // 1_000_000


def read(folder: Path, name: str = "*") -> Iterator[Line]:
    """The whole lines of all processes, or of those of that name: process by process, in order."""
    for path in sorted(folder.glob(f"{name}.?????{SUFFIX}")):
        who = path.name.rsplit(".", 2)[0]
        for raw in path.read_bytes().split(b"\n")[:-1]:  # what follows the last line end is half a line, or nothing
            at, _, rest = raw.decode(errors="replace").partition(" ")
            word, *arguments = rest.split(" ")
            if at.isdecimal() and WORDS.get(word) == len(arguments):
                yield Line(int(at), who, word, tuple(arguments))
