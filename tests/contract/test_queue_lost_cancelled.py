"""Contract, Queue: leases that are lost, dead letters, cancellation, deadlines of running tasks."""

import asyncio

import pytest
from contract.kit import (
    CANCELLED,
    TOPIC,
    Backend,
    all_leased,
    completed,
    counts,
    ids,
    leased,
    published,
    said,
    state,
    types,
)

from agentmesh.contracts import Broker, Delivery, Retry
from agentmesh.errors import LeaseLost
from agentmesh.message import Draft


@pytest.mark.promise(3)
async def test_a_lost_lease_gives_another_worker_the_next_attempt(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    first = await leased(broker, "dies")
    await broker.append(message.id, [said(first, "delta", {"text": "half"})], lease=first)
    waiting = asyncio.create_task(broker.lease([TOPIC], 1, 60, worker="lives"))
    await backend.passes(30.1)
    await backend.comes(waiting)
    (second,) = await waiting
    assert (second.message.id, second.attempt, second.raised) == (message.id, 2, 0)
    await broker.ack(second, [completed(second)])
    assert [event.type for event in (await state(backend, message.id)).events] == [
        "submitted",
        "accepted",
        "accepted",
        "completed",
    ]


@pytest.mark.promise(2)
async def test_a_message_that_loses_its_worker_too_often_is_dead_lettered(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    for attempt in (1, 2, 3):
        assert (await leased(broker)).attempt == attempt
        await backend.passes(30.1)
    assert list(await broker.lease([TOPIC], 1, 0, worker="w")) == []
    assert await counts(broker) == (0, 0, 1)
    (dead,) = await broker.browse(TOPIC, dead=True)
    assert (dead.message.id, dead.attempt) == (message.id, 3)
    assert "lost 3 times" in dead.reason
    terminal = (await state(backend, message.id)).terminal
    assert terminal
    assert (terminal.type, terminal.data) == ("dead_lettered", {"reason": dead.reason, "attempts": 3})


async def test_without_a_limit_a_message_may_lose_any_number_of_workers(backend: Backend, broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(lease=30, retry=Retry(lost=0)))
    await published(broker)
    for attempt in range(1, 12):
        assert (await leased(broker)).attempt == attempt
        await backend.passes(30.1)

    async def waits() -> bool:
        return await counts(broker) == (1, 0, 0)

    await backend.until(waits)


async def test_an_attempt_that_raised_or_was_released_does_not_count_as_lost(backend: Backend, broker: Broker) -> None:
    await published(broker)
    for _ in range(2):
        await leased(broker)
        await backend.passes(30.1)
        await broker.nack(await leased(broker), error="E")
        await broker.nack(await leased(broker))
    assert (await leased(broker)).attempt == 7
    await backend.passes(30.1)

    async def died() -> bool:
        return not await broker.lease([TOPIC], 1, 0, worker="w") and await counts(broker) == (0, 0, 1)

    await backend.until(died)


@pytest.mark.promise(1)
@pytest.mark.promise(3)
@pytest.mark.needs("reopens")
async def test_what_a_dead_process_held_is_handed_out_again_at_once(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    stale = await leased(broker)
    broker = await backend.reopen()
    lease = await leased(broker)
    assert (lease.message.id, lease.attempt) == (message.id, 2)
    with pytest.raises(LeaseLost):
        await broker.ack(stale, [completed(stale)])
    await broker.ack(lease, [completed(lease)])


@pytest.mark.promise(2)
@pytest.mark.needs("reopens")
async def test_a_message_that_kills_its_process_each_time_is_dead_lettered(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    for attempt in (1, 2, 3):
        assert (await leased(broker)).attempt == attempt
        broker = await backend.reopen()
        await backend.passes(0)
    assert list(await broker.lease([TOPIC], 1, 0, worker="w")) == []
    assert await ids(broker, dead=True) == [message.id]
    assert (await types(broker, message.id))[-1] == "dead_lettered"


async def test_many_leases_lost_at_once_are_all_handed_out_again(backend: Backend, broker: Broker) -> None:
    await asyncio.gather(*(published(broker) for _ in range(1200)))
    assert len(await all_leased(broker)) == 1200
    await backend.passes(31)
    again = await all_leased(broker)
    assert len({lease.message.id for lease in again}) == 1200
    assert {lease.attempt for lease in again} == {2}


@pytest.mark.promise(2)
async def test_a_cancelled_task_that_waits_is_never_handed_out(backend: Backend, broker: Broker) -> None:
    waiting, delayed = await published(broker), await published(broker, not_before=backend.now() + 1000)
    for message in (waiting, delayed):
        await broker.append(message.id, [CANCELLED])
    await backend.passes(2)
    assert list(await broker.lease([TOPIC], 2, 0, worker="w")) == []
    assert await counts(broker) == (0, 0, 0)
    terminal = (await state(backend, waiting.id)).terminal
    assert terminal
    assert (terminal.type, terminal.data) == ("cancelled", {"by": "the caller"})


@pytest.mark.needs("reopens")
async def test_a_cancellation_outlives_the_broker(backend: Backend, broker: Broker) -> None:
    running, waiting = await published(broker), await published(broker)
    assert (await leased(broker)).message.id == running.id
    for message in (waiting, running):
        await broker.append(message.id, [CANCELLED])
    broker = await backend.reopen()
    assert list(await broker.lease([TOPIC], 2, 0, worker="w")) == []
    await backend.passes(1)
    assert await counts(broker) == (0, 0, 0)
    for message in (waiting, running):
        assert (await types(broker, message.id))[-1] == "cancelled"


@pytest.mark.promise(3)
async def test_what_a_worker_says_after_the_cancellation_is_kept_and_not_shown(
    backend: Backend, broker: Broker
) -> None:
    message = await published(broker)
    lease = await leased(broker)
    await broker.append(message.id, [CANCELLED])
    await broker.ack(lease, [completed(lease)])
    assert await types(broker, message.id) == ["submitted", "accepted", "cancelled", "completed"]
    events = (await state(backend, message.id)).events
    assert [event.type for event in events] == ["submitted", "accepted", "cancelled"]


@pytest.mark.parametrize("how", [{}, {"error": "E"}, {"dead": "poison"}])
async def test_a_cancelled_task_that_is_given_back_is_gone(broker: Broker, how: dict[str, str]) -> None:
    message = await published(broker)
    lease = await leased(broker)
    await broker.append(message.id, [CANCELLED])
    await broker.nack(lease, **how)
    assert await counts(broker) == (0, 0, 0)
    assert await types(broker, message.id) == ["submitted", "accepted", "cancelled"]


async def test_a_cancelled_task_whose_worker_is_lost_is_gone(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    await leased(broker)
    await broker.append(message.id, [CANCELLED])
    await backend.passes(31)
    assert await counts(broker) == (0, 0, 0)
    assert list(await broker.lease([TOPIC], 1, 0, worker="w")) == []


async def test_a_cancellation_together_with_other_entries_counts_too(broker: Broker) -> None:
    message = await published(broker)
    await broker.append(message.id, [Draft("note", {}), CANCELLED])
    assert await ids(broker) == []


async def test_cancelling_a_call_that_has_ended_changes_nothing(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker)
    await broker.ack(lease, [completed(lease)])
    await broker.append(message.id, [CANCELLED])
    terminal = (await state(backend, message.id)).terminal
    assert terminal
    assert terminal.type == "completed"


async def test_a_cancelled_entry_in_a_log_of_ones_own_is_just_an_entry(broker: Broker) -> None:
    message = await published(broker)
    await broker.append("log-a", [CANCELLED])
    assert await ids(broker) == [message.id]


@pytest.mark.promise(2)
async def test_a_running_task_past_its_deadline_stays_its_workers_until_the_lease_ends(
    backend: Backend, broker: Broker
) -> None:
    message = await published(broker, deadline=backend.now() + 10_000)
    lease = await leased(broker)
    await backend.passes(12)
    assert await counts(broker) == (0, 1, 0)
    await broker.append(message.id, [said(lease, "delta", {"text": "late"})], lease=lease)
    await backend.passes(31)
    assert await counts(broker) == (0, 0, 0)
    found = await state(backend, message.id)
    assert found.terminal
    assert found.terminal.type == "timed_out"
    assert "delta" not in [event.type for event in found.events]


async def test_a_result_after_the_deadline_does_not_count(backend: Backend, broker: Broker) -> None:
    message = await published(broker, deadline=backend.now() + 10_000)
    lease = await leased(broker)
    await backend.passes(10.5)
    await broker.ack(lease, [completed(lease)])
    terminal = (await state(backend, message.id)).terminal
    assert terminal
    assert terminal.type == "timed_out"
