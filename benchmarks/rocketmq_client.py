"""Round trips through our RocketMQ client alone: a request on a NORMAL topic, the reply on a LiteTopic of its own.

    python benchmarks/rocketmq_client.py [--endpoint HOST:PORT] [--remoting HOST:PORT] [--calls N] [--flight N]

The worker is another process. Prints one line of JSON. `benchmarks/rocketmq_official.py` does the same with the classes
of rocketmq-python-client; run them in turns.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
import uuid

from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.client import Connection, Consumer, LiteConsumer, Outgoing, Producer, Received
from agentmesh.broker.rocketmq.remoting import Remoting

REQUESTS, REPLIES = "cl-bench-requests", "cl-bench-replies"
WORKERS, CALLERS = "cl-bench-workers", "cl-bench-callers"
LATE = 5.0
GIVE_UP = 60.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", default="127.0.0.1:8081")
    parser.add_argument("--remoting", default="127.0.0.1:10911")
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--flight", type=int, default=64)
    parser.add_argument("--warm", type=int, default=500)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


async def prepare(address: Address) -> None:
    """The topics and groups of both benchmarks."""
    remoting = Remoting(address)
    await remoting.create_topic(REQUESTS, queues=4)
    await remoting.create_topic(REPLIES, type="LITE", expiration_minutes=60)
    await remoting.create_group(WORKERS)
    await remoting.create_group(CALLERS, lite_parent=REPLIES)
    await remoting.close()


async def work(address: Address) -> None:
    """Answer requests until standard input ends."""
    async with Connection(address) as connection, asyncio.TaskGroup() as tasks:
        producer = Producer(connection)
        consumer = Consumer(connection, WORKERS, REQUESTS)
        await producer.start()
        await consumer.start()

        async def answer(request: Received) -> None:
            await producer.send(Outgoing(REPLIES, request.body, lite_topic=request.properties["reply"]))
            await consumer.ack([request])

        async def pump() -> None:
            while True:
                for request in await consumer.receive():
                    tasks.create_task(answer(request))

        pumping = tasks.create_task(pump())
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        pumping.cancel()


class Caller:
    """Calls, each with a LiteTopic of its own."""

    def __init__(self, connection: Connection) -> None:
        self.producer = Producer(connection)
        self.consumer = LiteConsumer(connection, CALLERS, REPLIES)
        self.waiting: dict[str, asyncio.Future[None]] = {}
        self.times: list[float] = []
        self.lost = 0

    async def pump(self) -> None:
        while True:
            replies = await self.consumer.receive()
            for reply in replies:
                future = self.waiting.get(reply.lite_topic)
                if future and not future.done():
                    future.set_result(None)
            if replies:
                await self.consumer.ack(replies)

    async def call(self) -> None:
        name = f"call-{uuid.uuid4().hex}"
        began = time.perf_counter()
        future = self.waiting[name] = asyncio.get_running_loop().create_future()
        await self.consumer.subscribe(name)
        await self.producer.send(Outgoing(REQUESTS, b"x" * 200, properties={"reply": name}))
        try:
            async with asyncio.timeout(GIVE_UP):
                await future
        except TimeoutError:
            self.lost += 1
        self.times.append(time.perf_counter() - began)
        del self.waiting[name]
        await self.consumer.unsubscribe(name)

    async def calls(self, count: int, flight: int) -> float:
        """Seconds that they took."""
        numbers = iter(range(count))

        async def lane() -> None:
            for _ in numbers:
                await self.call()

        self.times.clear()
        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(flight)))
        return time.perf_counter() - began


async def measure(address: Address, calls: int, flight: int, warm: int) -> dict[str, float | str]:
    async with Connection(address) as connection:
        caller = Caller(connection)
        await caller.producer.start()
        await caller.consumer.start()
        pumping = asyncio.create_task(caller.pump())
        await caller.calls(warm, flight)
        cpu = time.process_time()
        seconds = await caller.calls(calls, flight)
        cpu = time.process_time() - cpu
        pumping.cancel()
    return figures("agentmesh", caller.times, seconds, caller.lost, flight, cpu)


def figures(
    name: str, times: list[float], seconds: float, lost: int, flight: int, cpu: float
) -> dict[str, float | str]:
    times = sorted(times)
    return {
        "client": name,
        "flight": flight,
        "calls": len(times),
        "per_second": round(len(times) / seconds),
        "p50_ms": round(times[len(times) // 2] * 1000, 1),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 1),
        "max_ms": round(times[-1] * 1000, 1),
        "lost": lost,
        "late": sum(each > LATE for each in times),
        "caller_cpu_ms": round(cpu / len(times) * 1000, 2),
    }


def main() -> None:
    given = arguments()
    address = Address(given.endpoint, given.remoting)
    if given.worker:
        asyncio.run(work(address))
        return
    asyncio.run(prepare(address))
    command = [sys.executable, __file__, "--worker", "--endpoint", given.endpoint, "--remoting", given.remoting]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        worker.stdout.readline()
        print(json.dumps(asyncio.run(measure(address, given.calls, given.flight, given.warm))), flush=True)
        worker.communicate()


if __name__ == "__main__":
    main()
