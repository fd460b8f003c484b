"""A process that works for a measurement: it serves the folder DIR until its stdin is closed."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from agentmesh.broker.local.spawn import environment
from agentmesh.cli.bench.call import BenchAgent
from agentmesh.mesh import Mesh


async def serve(folder: str) -> None:
    """Serve `BenchAgent`, and say so."""
    async with Mesh(f"local://{folder}", alone=False) as mesh:
        await mesh.serve(BenchAgent())
        sys.stdout.write("up\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def working(*arguments: str, module: str = __name__) -> Iterator[None]:
    """While a process works there."""
    command = [sys.executable, "-P", "-m", module, *arguments]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    )
    assert process.stdin
    assert process.stdout
    try:
        if process.stdout.readline() != b"up\n":
            raise RuntimeError("The worker of the measurement did not come up.")
        yield
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
