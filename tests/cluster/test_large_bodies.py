"""Large bodies over a cluster: as numbered parts where no store for them is named."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
from cluster.conftest import Place

from agentmesh import Agent, Mesh, skill
from agentmesh.broker.rocketmq import open_rocketmq
from agentmesh.broker.rocketmq.blobs import PART, LiteBlobs
from agentmesh.broker.rocketmq.broker import RocketMQBroker
from agentmesh.broker.rocketmq.names import BLOBS
from agentmesh.clock import SystemClock
from agentmesh.errors import PayloadCorrupt
from agentmesh.message import Draft, encode_content

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
NOW = 0


class EchoAgent(Agent):
    """Gives back what it is given, twice."""

    @skill
    async def twice(self, text: str) -> str:
        """The text, and the text."""
        return text + text


@pytest.fixture
async def broker(place: Place) -> AsyncIterator[RocketMQBroker]:
    broker = await open_rocketmq(place.broker, SystemClock())
    yield broker
    await broker.close()


@pytest.fixture
def blobs(broker: RocketMQBroker) -> LiteBlobs:
    assert isinstance(broker.blobs, LiteBlobs)
    return broker.blobs


def digest_of(blobs: LiteBlobs, body: bytes, tenant: str = "acme") -> str:
    digest = blobs.hash(tenant)
    digest.update(body)
    return digest.hexdigest()


@pytest.mark.promise(6)
async def test_a_call_takes_and_gives_more_than_a_message_holds(place: Place) -> None:
    text = "山水" * 1_500_000
    async with Mesh(place.broker, place.registry) as worker, Mesh(place.broker, place.registry) as caller:
        await worker.serve(EchoAgent())
        answer = await caller.call("EchoAgentTask", {"text": text})
    assert hashlib.sha256(answer.encode()).digest() == hashlib.sha256((text + text).encode()).digest()


@pytest.mark.parametrize("size", [1, PART, PART + 1, 9 * PART - 1])
async def test_a_body_comes_back_as_it_was(blobs: LiteBlobs, size: int) -> None:
    body = (hashlib.sha256(str(size).encode()).digest() * (size // 32 + 1))[:size]
    digest = digest_of(blobs, body)
    await asyncio.to_thread(blobs.put, digest, body, NOW)
    await asyncio.to_thread(blobs.put, digest, body, NOW)
    assert await asyncio.to_thread(lambda: b"".join(blobs.open(digest))) == body
    (found,) = await asyncio.to_thread(lambda: list(blobs.list()))
    assert (found.digest, found.size) == (digest, size)


async def test_two_that_put_the_same_body_at_once_do_not_mix_their_parts(blobs: LiteBlobs) -> None:
    body = b"".join(bytes([number]) * PART for number in range(6))
    digest = digest_of(blobs, body)
    await asyncio.gather(*(asyncio.to_thread(blobs.put, digest, body, NOW) for _ in range(3)))
    assert await asyncio.to_thread(lambda: b"".join(blobs.open(digest))) == body


async def test_the_parts_of_a_put_that_died_are_not_taken_for_the_body(
    blobs: LiteBlobs, broker: RocketMQBroker
) -> None:
    body = b"x" * (2 * PART)
    digest = digest_of(blobs, body)
    for number in range(2):
        content = encode_content(Draft("part", {"put": "dead", "n": number, "body": b"y" * PART}))
        await broker._logs.post(f"blob-{digest[:58]}", BLOBS, content, title=digest, first=number == 0)
    with pytest.raises(PayloadCorrupt, match="is not there"):
        await asyncio.to_thread(lambda: b"".join(blobs.open(digest)))
    await asyncio.to_thread(blobs.put, digest, body, NOW)
    assert await asyncio.to_thread(lambda: b"".join(blobs.open(digest))) == body


async def test_the_same_body_of_two_tenants_is_two(blobs: LiteBlobs) -> None:
    assert digest_of(blobs, b"the same") != digest_of(blobs, b"the same", "other")
