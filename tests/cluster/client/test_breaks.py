"""Servers that die, freeze and come back."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from cluster.client.kit import Place, a_consumer, a_lite_consumer, a_producer

from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.client import Connection, Consumer, LiteConsumer, Outgoing, Producer
from agentmesh.broker.rocketmq.remoting import Remoting, lite_queue
from agentmesh.errors import BrokerUnavailable, LeaseLost
from deploy.rocketmq import Part, RocketMQ, free_ports

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RocketMQ]:
    """A cluster that a test may break, and makes whole again."""
    servers = RocketMQ(tmp_path_factory.mktemp("fragile"), first_port=free_ports(10))
    servers.start()
    yield servers
    servers.kill()


class Traffic:
    """Requests on a topic, each answered on a LiteTopic of its own, until `end`."""

    def __init__(self, connection: Connection, topic: str, parent: str) -> None:
        self.connection = connection
        self.topic = topic
        self.parent = parent
        self.sent: set[str] = set()
        self.answered: set[str] = set()
        self._ending = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, place: Place) -> None:
        producer = await a_producer(self.connection, patience=90)
        workers = await a_consumer(self.connection, place, self.topic)
        replies = await a_lite_consumer(self.connection, place, self.parent)
        self._tasks = [
            asyncio.create_task(self._ask(producer, replies)),
            asyncio.create_task(self._work(producer, workers)),
            asyncio.create_task(self._listen(replies)),
        ]

    async def reach(self, more: int) -> None:
        """Return once so many more are answered."""
        goal = len(self.answered) + more
        while len(self.answered) < goal:
            self._check()
            await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Ask no more; return once everything is answered."""
        self._ending = True
        await self._tasks[0]
        while self.sent - self.answered:
            self._check()
            await asyncio.sleep(0.02)
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _check(self) -> None:
        for each in self._tasks:
            if each.done() and each.exception():
                each.result()

    async def _ask(self, producer: Producer, replies: LiteConsumer) -> None:
        async def one(name: str) -> None:
            await replies.subscribe(name)
            self.sent.add(name)
            await producer.send(Outgoing(self.topic, name.encode()))

        number = 0
        while not self._ending:
            await asyncio.gather(*(one(f"call-{number + each}") for each in range(8)))
            number += 8

    async def _work(self, producer: Producer, workers: Consumer) -> None:
        while True:
            try:
                messages = await workers.receive()
                for each in messages:
                    await producer.send(Outgoing(self.parent, each.body, lite_topic=each.body.decode()))
                await workers.ack(messages)
            except (BrokerUnavailable, LeaseLost):
                await asyncio.sleep(0.1)

    async def _listen(self, replies: LiteConsumer) -> None:
        while True:
            try:
                messages = await replies.receive()
                self.answered.update(each.lite_topic for each in messages)
                await replies.ack(messages)
            except (BrokerUnavailable, LeaseLost):
                await asyncio.sleep(0.1)


@pytest.fixture
async def traffic(fragile: RocketMQ) -> AsyncIterator[Traffic]:
    address = Address(fragile.endpoint, fragile.remoting)
    remoting = Remoting(address)
    place = Place(remoting)
    topic, parent = await place.topic(), await place.topic(type="LITE")
    async with Connection(address) as connection:
        traffic = Traffic(connection, topic, parent)
        await traffic.start(place)
        await traffic.reach(50)
        yield traffic
        await connection.close(hurry=True)
    await remoting.close()


@pytest.mark.parametrize("part", ["proxy", "broker"])
async def test_a_server_killed_under_traffic_costs_no_message(fragile: RocketMQ, traffic: Traffic, part: Part) -> None:
    await asyncio.to_thread(fragile.kill, part)
    await asyncio.to_thread(fragile.start, part)
    await traffic.reach(50)
    await traffic.end()
    assert traffic.sent <= traffic.answered


@pytest.mark.parametrize("part", ["proxy", "broker"])
async def test_a_server_frozen_under_traffic_costs_no_message(fragile: RocketMQ, traffic: Traffic, part: Part) -> None:
    await asyncio.to_thread(fragile.freeze, part)
    try:
        await asyncio.sleep(8)
    finally:
        await asyncio.to_thread(fragile.thaw, part)
    await traffic.reach(50)
    await traffic.end()
    assert traffic.sent <= traffic.answered


async def test_the_remoting_client_comes_back_by_itself(fragile: RocketMQ) -> None:
    remoting = Remoting(Address(fragile.endpoint, fragile.remoting))
    place = Place(remoting)
    topic = await place.topic()
    assert await remoting.max_offset(topic) == 0
    await asyncio.to_thread(fragile.kill, "broker")
    with pytest.raises(BrokerUnavailable, match=fragile.remoting):
        await remoting.max_offset(topic)
    await asyncio.to_thread(fragile.start, "broker")
    assert await remoting.max_offset(topic) == 0
    assert (await remoting.pull(lite_queue("cl-any", "never"), 0)).records == []
    await remoting.close()


async def test_a_send_to_a_proxy_that_is_away_waits_for_it(fragile: RocketMQ) -> None:
    remoting = Remoting(Address(fragile.endpoint, fragile.remoting))
    topic = await Place(remoting).topic()
    async with Connection(Address(fragile.endpoint)) as connection:
        producer = await a_producer(connection, patience=200)
        await producer.send(Outgoing(topic, b"before"))
        await asyncio.to_thread(fragile.kill, "proxy")
        sending = asyncio.create_task(producer.send(Outgoing(topic, b"during")))
        impatient = await a_short_one(connection)
        with pytest.raises(BrokerUnavailable, match=fragile.endpoint):
            await impatient.send(Outgoing(topic, b"never"))
        await asyncio.to_thread(fragile.start, "proxy")
        number = await sending
        assert number in {each.id for each in (await remoting.pull(topic, 0)).records}
    await remoting.close()


async def a_short_one(connection: Connection) -> Producer:
    """A producer that was started while nobody was there, and gives up soon."""
    producer = Producer(connection, patience=1)
    with pytest.raises(BrokerUnavailable):
        await producer.start()
    return producer
