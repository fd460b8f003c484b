"""What a host's death costs: it is killed −9 again and again under load, and its callers go on."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

from agentmesh.broker.local.folder import Folder
from agentmesh.cli.bench.call import TOPIC
from agentmesh.cli.bench.worker import working
from agentmesh.mesh import Mesh

IN_FLIGHT: Final = 64
_PAUSE: Final = 3.0


class Load:
    """Calls without a pause, and when each began and ended."""

    def __init__(self, mesh: Mesh) -> None:
        self.times: list[tuple[float, float]] = []
        self._mesh = mesh
        self._ending = False

    async def run(self) -> None:
        await asyncio.gather(*(self._call() for _ in range(IN_FLIGHT)))

    async def _call(self) -> None:
        while not self._ending:
            began = time.perf_counter()
            call = await self._mesh.start(TOPIC, {"text": "y" * 190})
            await call.result()
            self.times.append((began, time.perf_counter()))

    def end(self) -> None:
        self._ending = True


async def measure(folder: Path, kills: int) -> dict[str, Any]:
    """Kill the host so many times, three seconds apart. `take_over_s`: from a kill to the end of the first call that
    began after it; `p99_s` of the calls that were on their way at a kill or began before the next host was there."""
    with working(str(folder)):
        async with Mesh(f"local://{folder}", alone=False) as mesh:
            load = Load(mesh)
            running = asyncio.create_task(load.run())
            killed = []
            for _ in range(kills):
                await asyncio.sleep(_PAUSE)
                holder = Folder(folder).holder()
                assert holder, "nobody hosts"
                os.kill(holder.pid, signal.SIGKILL)
                killed.append(time.perf_counter())
            await asyncio.sleep(_PAUSE)
            load.end()
            await running
    return _figures(load.times, killed)


def _figures(times: list[tuple[float, float]], killed: list[float]) -> dict[str, Any]:
    took_over = [min(end for began, end in times if began > kill) - kill for kill in killed]
    during = sorted(
        end - began
        for kill, taken in zip(killed, took_over, strict=True)
        for began, end in times
        if began < kill + taken and end > kill
    )
    calm = sorted(end - began for began, end in times if not any(began < kill + 2 and end > kill for kill in killed))
    return {
        "name": "recovery",
        "figures": {
            "kills": len(killed),
            "calls": len(times),
            "take_over_s": round(sorted(took_over)[len(took_over) // 2], 3),
            "take_over_max_s": round(max(took_over), 3),
            "p99_s": round(during[int(len(during) * 0.99)], 3),
        },
        "floor": {"p99_s": round(calm[int(len(calm) * 0.99)], 4)},
        "ratio": {"p99_s": round(during[int(len(during) * 0.99)] / calm[int(len(calm) * 0.99)], 1)},
    }
