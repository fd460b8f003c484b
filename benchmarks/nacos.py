"""200 agents with cards of three kilobytes on Nacos: how long it takes until others know. Prints JSON, in seconds.

python benchmarks/nacos.py                     # starts an r-nacos of its own; NACOS_URL names another one
python benchmarks/nacos.py serve URL COUNT PREFIX   # a process with agents, until its input ends
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from agentmesh.card import AgentCard, AgentSkill  # noqa: E402
from agentmesh.clock import SystemClock  # noqa: E402
from agentmesh.contracts import Registration  # noqa: E402
from agentmesh.errors import MeshError  # noqa: E402
from agentmesh.ids import new_token  # noqa: E402
from agentmesh.registry.nacos import NacosRegistry, open_nacos  # noqa: E402
from deploy.nacos import NacosServer  # noqa: E402

COUNT = 200
PROCESSES = 2
GOALS = {"register": 5.0, "change_seen": 0.5, "killed_offline": 3.0}


async def opened(url: str) -> NacosRegistry:
    names = {"username": "NACOS_USERNAME", "password": "NACOS_PASSWORD", "token": "NACOS_TOKEN"}
    told = {name: os.environ[variable] for name, variable in names.items() if variable in os.environ}
    return await open_nacos(url, SystemClock(), **told)  # type: ignore[arg-type]


def agent(topic: str, version: str = "1.0.0") -> Registration:
    """With a card of three kilobytes."""
    card = AgentCard(name=topic, version=version, description="x" * 2700, skills=(AgentSkill(id="tell"),))
    return Registration(topic, version, card, "bench")


async def serve(url: str, count: int, prefix: str) -> None:
    """Says `ready` and how long it took."""
    registry = await opened(url)
    start = time.monotonic()
    await asyncio.gather(*(registry.register(agent(f"{prefix}{number}Task")) for number in range(count)))
    print(f"ready {time.monotonic() - start:.3f}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await registry.close()


def start(url: str, count: int, prefix: str) -> "subprocess.Popen[bytes]":
    """The process of `serve`."""
    return subprocess.Popen(
        [sys.executable, __file__, "serve", url, str(count), prefix], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


async def ready(process: "subprocess.Popen[bytes]") -> float:
    assert process.stdout
    return float((await asyncio.to_thread(process.stdout.readline)).split()[1])


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 60) -> float:
    begun = time.monotonic()
    while not await holds():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"not within {seconds} s")
        await asyncio.sleep(0.002)
    return time.monotonic() - begun


async def measured(url: str, server: NacosServer | None) -> dict[str, Any]:
    each = COUNT // PROCESSES
    watcher = await opened(url)

    def alive(count: int) -> Callable[[], Awaitable[bool]]:
        async def reached() -> bool:
            return len(await watcher.list()) == count

        return reached

    processes = [start(url, each, f"P{number}x") for number in range(PROCESSES)]
    found: dict[str, Any] = {"register": max([await ready(process) for process in processes])}
    found["registered_seen"] = await until(alive(COUNT))
    late_start = time.monotonic()
    late = await opened(url)
    found["open_and_load_all"] = time.monotonic() - late_start
    found["change_seen"] = await change_seen(late, watcher)
    if server:
        found["all_back_after_restart"] = await restarted(server, watcher, alive(COUNT))
    processes[0].kill()
    found["killed_offline"] = await until(alive(COUNT - each))
    for process in processes:
        process.kill()
        process.communicate()
    await asyncio.gather(late.close(), watcher.close())
    return found


async def change_seen(one: NacosRegistry, watcher: NacosRegistry) -> float:
    """The slowest of ten labels that another process sees."""
    slowest = 0.0
    for number in range(10):

        async def seen(number: int = number) -> bool:
            return (await watcher.versions("P0x0Task")).labels.get("gray") == "1.0.0" and (
                f"label-{number}" in (await watcher.versions("P0x0Task")).labels
            )

        await one.point("P0x0Task", labels={"gray": "1.0.0", f"label-{number}": "1.0.0"})
        slowest = max(slowest, await until(seen))
    return slowest


async def restarted(server: NacosServer, watcher: NacosRegistry, all_alive: Callable[[], Awaitable[bool]]) -> float:
    """From when the server is ready again until a process that opens then sees everybody."""
    await asyncio.to_thread(server.kill)
    await server.started()
    begun = time.monotonic()

    async def back() -> bool:
        try:
            late = await opened(server.url)
        except MeshError:
            return False
        try:
            return len(await late.list()) == COUNT
        finally:
            await late.close()

    await until(back)
    seconds = time.monotonic() - begun
    await until(all_alive)
    await asyncio.sleep(6)  # nobody goes offline for five seconds after a reconnect
    assert await all_alive(), f"{len(await watcher.list())} of {COUNT} are back"
    return seconds


async def main() -> None:
    given = os.environ.get("NACOS_URL")
    if given:
        found = await measured(f"{given}{'&' if '?' in given else '?'}namespace=b-{new_token()}", None)
    else:
        with tempfile.TemporaryDirectory() as folder:
            server = NacosServer(Path(folder))
            await server.started()
            try:
                found = await measured(server.url, server)
            finally:
                server.stop()
    rounded = {name: round(value, 3) for name, value in found.items()}
    missed = [name for name, goal in GOALS.items() if found[name] >= goal]
    print(json.dumps({"agents": COUNT, "processes": PROCESSES, **rounded, "goals": GOALS, "missed": missed}, indent=2))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    else:
        asyncio.run(main())
