"""Contract, Broker: closing."""

import asyncio

import pytest
from contract.kit import TOPIC, Backend, completed, ids, leased, note, published, task, texts

from agentmesh.contracts import Broker, Delivery
from agentmesh.errors import BrokerUnavailable


async def test_whoever_waits_gets_nothing_when_the_broker_is_closed(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker, "busy")
    inbox = broker.inbox("me")
    await inbox.subscribe(message.id, 1)
    waiting = [
        asyncio.create_task(broker.lease([TOPIC], 1, 60, worker="idle")),
        asyncio.create_task(broker.extend("busy", [lease.token], 60)),
        asyncio.create_task(inbox.poll(1, 60)),
    ]
    await backend.passes(1)
    await backend.close()
    await backend.passes(0)
    assert all(each.done() for each in waiting)
    leases, news, batches = await asyncio.gather(*waiting)
    assert (list(leases), dict(news), list(batches)) == ([], {}, [])


async def test_a_poll_that_a_close_overtakes_returns(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe("call-a")
    polling = asyncio.create_task(inbox.poll(1, 60))
    await backend.passes(0)
    writing = asyncio.create_task(broker.append("call-a", [note(0)]))
    await asyncio.sleep(0)
    await backend.close()
    await backend.passes(0)
    found = list(await polling)
    assert found == [] or not backend.transactions  # where it is a server that tells, it may be faster
    assert await writing == 0


async def test_every_call_on_a_closed_broker_is_refused(backend: Backend, broker: Broker) -> None:
    await published(broker)
    lease = await leased(broker)
    await backend.close()
    calls = [
        broker.declare("OtherTask", Delivery()),
        broker.declare(TOPIC, None),
        broker.publish(task()),
        broker.ack(lease, [completed(lease)]),
        broker.nack(lease),
        broker.append("log-a", [note(0)]),
    ]
    for call in calls:
        with pytest.raises(BrokerUnavailable, match="closed"):
            await call


@pytest.mark.promise(1)
@pytest.mark.needs("reopens")
async def test_what_was_asked_for_before_the_close_is_stored(backend: Backend, broker: Broker) -> None:
    asked = [asyncio.create_task(broker.publish(task())) for _ in range(3000)]
    writing = asyncio.create_task(broker.append("log-a", [note(0)]))
    await asyncio.sleep(0)
    await backend.close()
    assert await asyncio.gather(*asked) == [True] * 3000
    assert await writing == 0
    broker = await backend.open()
    assert texts(await broker.read("log-a")) == [0]
    assert len(await broker.browse(TOPIC, limit=5000)) == 3000


async def test_closing_twice_is_closing_once(backend: Backend, broker: Broker) -> None:
    await broker.close()
    await broker.close()


@pytest.mark.needs("reopens")
async def test_a_store_that_is_opened_twice_is_closed_by_the_last(backend: Backend, broker: Broker) -> None:
    again = await backend.open()
    message = await published(again)
    await again.close()
    assert await ids(broker) == [message.id]
    await broker.append("log-a", [note(0)])
