"""Hosts whose clock is moved by hand, each in a process of its own: for each line `FOLDER NOW` on stdin a fork hosts
that folder until it is killed; its pid is printed when it is up."""

import asyncio
import os
import signal
import sys
from typing import Any

from agentmesh.broker.local.hosting import Hosting
from agentmesh.broker.local.table import OPERATIONS, Operation
from agentmesh.clock import ManualClock


async def serve(folder: str, now: int) -> None:
    clock = ManualClock(now)
    async with Hosting(folder, clock) as hosting:
        host = hosting.host
        assert host, "somebody else hosts it"

        def advance(_: Any, session: Any, number: int, seconds: float) -> None:
            host.begin(session, number, clock.advance(seconds))

        OPERATIONS["advance"] = Operation(tuple[float], advance)
        print(os.getpid(), flush=True)
        await hosting.ended


def main() -> None:
    for line in sys.stdin:
        folder, now = line.rstrip("\n").rsplit(" ", 1)
        if os.fork() == 0:
            sys.stdin.close()
            asyncio.run(serve(folder, int(now)))
            return


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that were killed
    main()
