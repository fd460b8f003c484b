"""Topics and groups of a test's own, and what tests of the client do again and again."""

import asyncio
import subprocess
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agentmesh.broker.rocketmq.client import Connection, Consumer, LiteConsumer, Producer, Received
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.errors import BrokerUnavailable


class Place:
    """Makes topics and groups with names that nobody used before, and removes them."""

    def __init__(self, remoting: Remoting) -> None:
        self.remoting = remoting
        self.topics: list[str] = []
        self.groups: list[str] = []

    async def topic(self, **options: Any) -> str:
        name = f"cl-{uuid.uuid4().hex[:12]}"
        await self.remoting.create_topic(name, **options)
        self.topics.append(name)
        return name

    async def group(self, **options: Any) -> str:
        name = f"cl-{uuid.uuid4().hex[:12]}"
        await self.remoting.create_group(name, **options)
        self.groups.append(name)
        return name

    async def remove(self) -> None:
        for name in self.topics:
            await self.remoting.delete_topic(name)
        for name in self.groups:
            await self.remoting.delete_group(name)


async def a_producer(connection: Connection, **options: Any) -> Producer:
    producer = Producer(connection, **options)
    await producer.start()
    return producer


async def a_consumer(connection: Connection, place: Place, topic: str, expression: str = "*") -> Consumer:
    consumer = Consumer(connection, await place.group(), topic, expression)
    await consumer.start()
    return consumer


async def a_lite_consumer(connection: Connection, place: Place, parent: str, **options: Any) -> LiteConsumer:
    consumer = LiteConsumer(connection, await place.group(lite_parent=parent, **options), parent)
    await consumer.start()
    return consumer


async def collect(consumer: Consumer | LiteConsumer, count: int, seconds: float = 40) -> list[Received]:
    """The next `count` messages, acknowledged, however often the broker is away meanwhile."""
    messages: dict[str, Received] = {}
    async with asyncio.timeout(seconds):
        while len(messages) < count:
            try:
                received = await consumer.receive()
                await consumer.ack(received)
            except BrokerUnavailable:
                await asyncio.sleep(0.2)
                continue
            messages.update({each.id: each for each in received})
    return list(messages.values())


async def one(consumer: Consumer | LiteConsumer) -> Received:
    """The next message, acknowledged, with no other taken."""
    async with asyncio.timeout(40):
        while True:
            for message in await consumer.receive(limit=1):
                await consumer.ack([message])
                return message


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20) -> None:
    """Ask again until it holds."""
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.05)


def a_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, as files."""
    certificate, raw, key = folder / "certificate.pem", folder / "raw.pem", folder / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*made, "-keyout", str(raw), "-out", str(certificate)], check=True, capture_output=True)
    written = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", str(raw), "-out", str(key)]
    subprocess.run(written, check=True, capture_output=True)
    return certificate, key
