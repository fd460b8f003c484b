"""What a tenant that floods a topic costs another one: how long, and behind how many tasks, its first task waits."""

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any, Final

from agentmesh.broker.local import open_local
from agentmesh.cli.bench.call import BODY, TOPIC
from agentmesh.clock import SystemClock
from agentmesh.contracts import Append, Broker, Delivery
from agentmesh.ids import new_id
from agentmesh.message import CALL_DEADLINE, Draft, Message

WORKERS: Final = 8
_WORK: Final = 0.002


class Started:
    """Which call began as which, and whoever waits for one."""

    def __init__(self) -> None:
        self.order: dict[str, int] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}

    def note(self, call: str, number: int) -> None:
        self.order[call] = number
        if call in self._waiting:
            self._waiting.pop(call).set_result(None)

    async def wait(self, call: str) -> None:
        if call not in self.order:
            self._waiting[call] = asyncio.get_running_loop().create_future()
            await self._waiting[call]


async def measure(folder: Path, flood: int) -> dict[str, Any]:
    """`flood` tasks of one tenant wait, eight workers take 2 ms for each; then another tenant's first task comes."""
    broker = await open_local(folder, SystemClock())
    await broker.declare(TOPIC, Delivery())
    started = Started()
    count = itertools.count()
    workers = [asyncio.create_task(_work(broker, f"worker-{n}", started, count)) for n in range(WORKERS)]
    try:
        calm = [await _first(broker, started, count) for _ in range(5)]
        await asyncio.gather(*(_publish(broker, "flood") for _ in range(flood)))
        flooded = [await _first(broker, started, count) for _ in range(5)]
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await broker.close()
    wait = sorted(each[0] for each in flooded)[2]
    floor = sorted(each[0] for each in calm)[2]
    return {
        "name": f"fairness.{flood}",
        "figures": {"first_ms": round(wait, 2), "behind": max(each[1] for each in flooded), "in_flight": WORKERS},
        "floor": {"first_ms": round(floor, 2)},
        "ratio": {"first_ms": round(wait / floor, 2)},
    }


async def _first(broker: Broker, started: Started, count: "itertools.count[int]") -> tuple[float, int]:
    """Milliseconds until a task of the other tenant began, and how many others began between."""
    before, began = next(count), time.perf_counter()
    call = await _publish(broker, "other")
    await started.wait(call)
    return (time.perf_counter() - began) * 1000, started.order[call] - before - 1


async def _publish(broker: Broker, tenant: str) -> str:
    name = new_id("call")
    deadline = time.time_ns() // 1_000_000 + CALL_DEADLINE
    await broker.publish(Message(id=name, topic=TOPIC, body=BODY, tenant=tenant, deadline=deadline))
    return name


async def _work(broker: Broker, name: str, started: Started, count: "itertools.count[int]") -> None:
    while True:
        for lease in await broker.lease([TOPIC], 1, 60, worker=name):
            started.note(lease.message.id, next(count))
            await asyncio.sleep(_WORK)
            completed = Draft("completed", {"result": None}, attempt=lease.attempt, token=lease.token)
            await broker.ack(lease, [Append(lease.message.log, [completed])])
