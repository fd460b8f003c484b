"""What many live LiteTopics cost a cluster: they are made, one entry each, and from step to step it is measured how
long an entry takes to wake its follower, and how long a read of any of them takes.

    python benchmarks/rocketmq_lite.py [--endpoint HOST:PORT] [--remoting HOST:PORT] [--topics N] [--steps N]

Prints one line of JSON a step; times in ms. `broker_mb` and `store_mb` are those of the cluster in --folder, which is
where `make cluster-up` keeps it.
"""

import argparse
import asyncio
import json
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.client import Connection, LiteConsumer, Outgoing, Producer
from agentmesh.broker.rocketmq.remoting import Remoting, lite_queue
from deploy.rocketmq import RocketMQ

PARENT, GROUP = "cl-bench-live", "cl-bench-followers"
BODY = b"x" * 200
FLIGHT = 64
LOOKS = 200


def median(times: list[float]) -> float:
    return round(sorted(times)[len(times) // 2] * 1000, 2)


class Bench:
    """LiteTopics of one parent."""

    def __init__(self, connection: Connection, remoting: Remoting) -> None:
        self.producer = Producer(connection)
        self.consumer = LiteConsumer(connection, GROUP, PARENT)
        self.remoting = remoting
        self.run = uuid.uuid4().hex[:8]
        self.made = 0

    def name(self, number: int) -> str:
        return f"log-{self.run}-{number}"

    async def make(self, count: int) -> float:
        """How many a second."""
        numbers = iter(range(self.made, self.made + count))

        async def lane() -> None:
            for number in numbers:
                await self.producer.send(Outgoing(PARENT, BODY, lite_topic=self.name(number)))

        began = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(FLIGHT)))
        self.made += count
        return count / (time.perf_counter() - began)

    async def look(self) -> dict[str, float]:
        """One after the other, with nothing else going on."""
        sends, wakes, reads = [], [], []
        for number in range(LOOKS):
            name = f"log-{uuid.uuid4().hex}"
            await self.consumer.subscribe(name)
            began = time.perf_counter()
            await self.producer.send(Outgoing(PARENT, BODY, lite_topic=name))
            sends.append(time.perf_counter() - began)
            while not (found := await self.consumer.receive()):
                pass
            wakes.append(time.perf_counter() - began)
            await self.consumer.ack(found)
            await self.consumer.unsubscribe(name)
            began = time.perf_counter()
            pulled = await self.remoting.pull(lite_queue(PARENT, self.name(number * self.made // LOOKS)), 0)
            reads.append(time.perf_counter() - began)
            assert pulled.records
        return {"send_p50": median(sends), "wake_p50": median(wakes), "read_p50": median(reads)}


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--endpoint", default="127.0.0.1:8081")
    parser.add_argument("--remoting", default="127.0.0.1:10911")
    parser.add_argument("--topics", type=int, default=300_000)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--folder", type=Path, default=Path(".cluster"))
    options = parser.parse_args()
    address = Address(options.endpoint, options.remoting)
    servers = RocketMQ(options.folder / "rocketmq")
    remoting = Remoting(address)
    await remoting.create_topic(PARENT, type="LITE", expiration_minutes=600)
    await remoting.create_group(GROUP, lite_parent=PARENT)
    async with Connection(address) as connection:
        bench = Bench(connection, remoting)
        await bench.producer.start()
        await bench.consumer.start()
        await bench.make(2_000)  # warms up
        for _ in range(options.steps):
            rate = await bench.make(options.topics // options.steps)
            figures: dict[str, float] = {"topics": bench.made, "made_per_s": round(rate)}
            figures |= await bench.look()
            if servers.pid("broker"):
                store = sum(each.stat().st_blocks * 512 for each in servers.folder.glob("store/**/*") if each.is_file())
                figures |= {"broker_mb": servers.memory("broker") >> 20, "store_mb": store >> 20}
            print(json.dumps(figures), flush=True)
    await remoting.close()


asyncio.run(main())
