"""A program that sends and answers with large bodies, and is killed at a point that is chosen.

It is started once and forks itself for every `FOLDER NUMBER` that comes on its standard input. The fork kills itself
with SIGKILL right before its NUMBER-th step: a write, sync, rename or removal of a file of blobs, or a commit. What it
was told is in FOLDER/facts, one line of JSON each. The answer is `killed` or `finished`.
"""

import asyncio
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from agentmesh import Agent, Mesh, skill
from agentmesh.broker.embedded.store import Store

SIZE = 400_000


class GrowAgent(Agent):
    """Makes something large of something large."""

    @skill
    async def grow(self, text: str) -> str:
        """Twice as much."""
        return text * 2


def kill_at(number: int) -> None:
    steps = itertools.count(1)

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return step

    for name in ("fsync", "replace", "link", "unlink", "utime"):
        setattr(os, name, dying(getattr(os, name)))
    Store.commit = dying(Store.commit)  # type: ignore[method-assign]


async def work(folder: str) -> None:
    facts = os.open(f"{folder}/facts", os.O_WRONLY | os.O_CREAT)
    async with Mesh(f"local://{folder}/mesh", drain=0) as mesh:
        await mesh.serve(GrowAgent())
        for letter in "a":
            call = await mesh.start("GrowAgentTask", {"text": letter * SIZE})
            os.write(facts, (json.dumps({"call": call.id, "letter": letter}) + "\n").encode())
            assert await call.result() == letter * 2 * SIZE
        await mesh.lite_topic("notes").append("c" * SIZE)
        os.write(facts, b'{"noted": true}\n')


def main() -> None:
    for line in sys.stdin:
        folder, number = line.split()
        child = os.fork()
        if child == 0:
            kill_at(int(number))
            asyncio.run(work(folder))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"finished {status}", flush=True)


if __name__ == "__main__":
    main()
