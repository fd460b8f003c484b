"""What a call costs: the broker contract alone, and the whole way from `mesh.start` to a typed skill and back."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal

from agentmesh.broker.local import open_local
from agentmesh.clock import SystemClock
from agentmesh.contracts import Append, Broker, Delivery, Inbox
from agentmesh.ids import new_id
from agentmesh.mesh import Mesh
from agentmesh.message import CALL_DEADLINE, Draft, Message, to_json
from agentmesh.runtime.agent import Agent, skill

BODY: Final = to_json({"text": "y" * 190})
TOPIC: Final = "BenchAgentTask"

Figures = dict[str, float]
"""`per_s`, and the percentiles `p50_ms` and `p99_ms` of one call's time."""


class BenchAgent(Agent):
    """Gives back what it is given."""

    topic = TOPIC
    delivery = Delivery(concurrency=64)

    @skill
    async def echo(self, text: str) -> str:
        """Give the text back."""
        return text


async def contract(
    folder: Path, in_flight: int, calls: int, durability: Literal["normal", "full"] = "normal"
) -> Figures:
    """Publish, lease, append and ack, wake-up, with a new LiteTopic each, through the broker's contract alone."""
    broker = await open_local(folder, SystemClock(), durability=durability)
    await broker.declare(TOPIC, Delivery())
    inbox = broker.inbox("bench")
    waiting: dict[str, asyncio.Future[None]] = {}
    new_future = asyncio.get_running_loop().create_future
    tasks = [asyncio.create_task(work(broker, f"worker-{number}")) for number in range(in_flight)]
    tasks.append(asyncio.create_task(wake(inbox, waiting)))

    async def call() -> None:
        name = new_id("call")
        done = waiting[name] = new_future()
        await inbox.subscribe(name, -1)
        deadline = time.time_ns() // 1_000_000 + CALL_DEADLINE
        await broker.publish(Message(id=name, topic=TOPIC, body=BODY, deadline=deadline))
        await done

    try:
        return await _measure(call, in_flight, calls)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await broker.close()


async def mesh(folder: Path, in_flight: int, calls: int) -> Figures:
    """`mesh.start`, a typed skill, `result()`, with validation both ways."""
    async with Mesh(f"local://{folder}") as opened:
        await opened.serve(BenchAgent())

        async def call() -> None:
            started = await opened.start(TOPIC, {"text": "y" * 190})
            await started.result()

        return await _measure(call, in_flight, calls)


async def full(folder: Path, in_flight: int, calls: int) -> Figures:
    """As `contract`, each commit synced to the disk."""
    return await contract(folder, in_flight, calls, "full")


async def across(folder: Path, in_flight: int, calls: int) -> Figures:
    """As `mesh`, with the agent in another process, and the host in a third."""
    from agentmesh.cli.bench.worker import working

    with working(str(folder)):
        async with Mesh(f"local://{folder}", alone=False) as opened:

            async def call() -> None:
                started = await opened.start(TOPIC, {"text": "y" * 190})
                await started.result()

            return await _measure(call, in_flight, calls)


async def work(broker: Broker, name: str) -> None:
    """Complete one task after the other."""
    while True:
        for lease in await broker.lease([TOPIC], 1, 60, worker=name):
            result = {"result": lease.message.body.decode()}
            completed = Draft("completed", result, attempt=lease.attempt, token=lease.token)
            await broker.ack(lease, [Append(lease.message.log, [completed])])


async def wake(inbox: Inbox, waiting: dict[str, asyncio.Future[None]]) -> None:
    """Tell those that wait for a call by its name that it is completed."""
    while True:
        batches = await inbox.poll(256, 60)
        await inbox.commit({batch.lite_topic: batch.entries[-1].offset for batch in batches})
        for batch in batches:
            if batch.entries[-1].type == "completed":
                await inbox.unsubscribe(batch.lite_topic)
                waiting.pop(batch.lite_topic).set_result(None)


async def _measure(call: Callable[[], Awaitable[None]], in_flight: int, calls: int) -> Figures:
    """`calls` calls by `in_flight` callers at once, after a tenth of them to warm up."""
    times: list[float] = []
    await _run(call, in_flight, calls // 10, [])
    began = time.perf_counter()
    await _run(call, in_flight, calls, times)
    took = time.perf_counter() - began
    times.sort()
    return {
        "per_s": round(calls / took),
        "p50_ms": round(times[len(times) // 2] * 1000, 3),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 3),
    }


async def _run(call: Callable[[], Awaitable[None]], in_flight: int, calls: int, times: list[float]) -> None:
    numbers = itertools.count()

    async def caller() -> None:
        while next(numbers) < calls:
            began = time.perf_counter()
            await call()
            times.append(time.perf_counter() - began)

    await asyncio.gather(*(caller() for _ in range(in_flight)))
