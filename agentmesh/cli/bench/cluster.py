"""What a call costs over RocketMQ: the contract alone, a LiteTopic for each call, the workers in another process."""

import asyncio
import sys
import time
from typing import Final

from agentmesh.broker.rocketmq import open_rocketmq
from agentmesh.cli.bench.call import BODY, TOPIC, work
from agentmesh.cli.bench.worker import working
from agentmesh.clock import SystemClock
from agentmesh.contracts import Broker, Delivery, Inbox
from agentmesh.ids import new_id
from agentmesh.message import CALL_DEADLINE, Message

LATE: Final = 5.0
"""Seconds after which an answer is late."""

_LOST: Final = 60.0

Figures = dict[str, float]


async def contract(url: str, in_flight: int, calls: int) -> Figures:
    """Publish, lease, append and ack, wake-up. Besides the rate and the percentiles: how many calls were `late`, and
    `lost`, which are those without an answer after a minute.
    """
    broker = await open_rocketmq(url, SystemClock())
    try:
        await broker.declare(TOPIC, Delivery(concurrency=in_flight))
        with working(url, str(in_flight), module=__name__):
            return await _measure(broker, broker.inbox(new_id("call")), in_flight, calls)
    finally:
        await broker.close()


async def _measure(broker: Broker, inbox: Inbox, in_flight: int, calls: int) -> Figures:
    waiting: dict[str, asyncio.Future[None]] = {}
    listening = asyncio.create_task(_listen(inbox, waiting))
    times: list[float] = []
    left = calls // 10 + calls
    lost = 0

    async def caller() -> None:
        nonlocal left, lost
        while left > 0:
            left -= 1
            began = time.perf_counter()
            name = new_id("call")
            done = waiting[name] = asyncio.get_running_loop().create_future()
            await inbox.subscribe(name, -1)
            deadline = time.time_ns() // 1_000_000 + CALL_DEADLINE
            await broker.publish(Message(id=name, topic=TOPIC, body=BODY, deadline=deadline))
            try:
                async with asyncio.timeout(_LOST):
                    await done
            except TimeoutError:
                lost += 1
            times.append(time.perf_counter() - began)

    try:
        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(in_flight)))
        took = time.perf_counter() - began
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    counted = sorted(times[calls // 10 :])
    return {
        "per_s": round(len(times) / took, 1),
        "p50_ms": round(counted[len(counted) // 2] * 1000, 1),
        "p99_ms": round(counted[int(len(counted) * 0.99)] * 1000, 1),
        "late": sum(each > LATE for each in counted),
        "lost": lost,
    }


async def _listen(inbox: Inbox, waiting: dict[str, asyncio.Future[None]]) -> None:
    """As `bench call`'s, but that it waits for nobody when it leaves a LiteTopic."""
    leaving: set[asyncio.Task[None]] = set()
    while True:
        batches = await inbox.poll(256, 60)
        await inbox.commit({batch.lite_topic: batch.entries[-1].offset for batch in batches})
        for batch in batches:
            if any(entry.type == "completed" for entry in batch.entries):
                task = asyncio.create_task(inbox.unsubscribe(batch.lite_topic))
                leaving.add(task)
                task.add_done_callback(leaving.discard)
                done = waiting.pop(batch.lite_topic, None)
                if done and not done.done():
                    done.set_result(None)


async def serve(url: str, workers: int) -> None:
    """Work until stdin is closed."""
    broker = await open_rocketmq(url, SystemClock())
    tasks = [asyncio.create_task(work(broker, f"worker-{number}")) for number in range(workers)]
    sys.stdout.write("up\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await broker.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
