"""Contract, Queue: ack and nack."""

import asyncio

import msgspec
import pytest
from contract.kit import (
    TOPIC,
    Backend,
    completed,
    counts,
    ids,
    leased,
    note,
    published,
    said,
    state,
    task,
    texts,
    types,
)

from agentmesh.contracts import Append, Broker, Delivery
from agentmesh.errors import ConfigError, Conflict, LeaseLost, MeshError, PayloadCorrupt, TopicNotFound
from agentmesh.message import DAY, Draft, Message


@pytest.mark.promise(2)
async def test_an_ack_ends_the_task_and_writes_the_last_events(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker)
    await broker.append(message.id, [said(lease, "delta", {"text": "su"})], lease=lease)
    await broker.ack(lease, [completed(lease, "sunny")])
    assert await types(broker, message.id) == ["submitted", "accepted", "delta", "completed"]
    assert await counts(broker) == (0, 0, 0)
    terminal = (await state(backend, message.id)).terminal
    assert terminal
    assert terminal.data == {"result": "sunny"}


async def test_an_ack_appends_to_several_logs_and_publishes(broker: Broker) -> None:
    await published(broker)
    lease = await leased(broker)
    child = task()
    await broker.ack(lease, [completed(lease), Append("log-a", [note("a"), note("b")])], [child])
    assert texts(await broker.read("log-a")) == ["a", "b"]
    assert await types(broker, child.id) == ["submitted"]
    assert (await leased(broker)).message.id == child.id


@pytest.mark.parametrize(("call", "days"), [("call-c", 1), ("run-c", 30)])
async def test_a_message_published_with_an_ack_gets_the_default_deadline(
    backend: Backend, broker: Broker, call: str, days: int
) -> None:
    await published(broker)
    await broker.ack(await leased(broker), publishes=[task(id=call)])
    assert (await leased(broker)).message.deadline == backend.about(backend.now() + days * DAY)


async def test_publishing_a_known_message_with_an_ack_is_a_no_op(broker: Broker) -> None:
    message, known = await published(broker), await published(broker, id="call-known")
    lease = await leased(broker)
    assert lease.message.id == message.id
    await broker.ack(lease, publishes=[known, known])
    assert await ids(broker) == ["call-known"]
    assert await types(broker, "call-known") == ["submitted"]


@pytest.mark.needs("expect")
async def test_expect_is_where_the_first_of_the_appends_must_begin(broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker)
    with pytest.raises(Conflict):
        await broker.ack(lease, [completed(lease)], expect=1)
    await broker.ack(lease, [completed(lease)], expect=2)
    assert await types(broker, message.id) == ["submitted", "accepted", "completed"]


@pytest.mark.needs("expect")
async def test_every_append_of_an_ack_may_have_an_offset_of_its_own(broker: Broker) -> None:
    await published(broker)
    await broker.append("log-a", [note("a")])
    lease = await leased(broker)
    with pytest.raises(Conflict):
        await broker.ack(lease, [completed(lease), Append("log-a", [note("b")], expect=0)])
    await broker.ack(lease, [completed(lease), Append("log-a", [note("b")], expect=1)], expect=2)
    assert texts(await broker.read("log-a")) == ["a", "b"]


REFUSED: dict[str, tuple[list[Append], list[Message], type[MeshError]]] = {
    "expect": ([Append("log-new", [note("a")]), Append("log-a", [note("b")], expect=0)], [], Conflict),
    "a bad name": ([Append("log-new", [note("a")]), Append("no name", [note("a")])], [], ConfigError),
    "an id of the mesh": ([Append("log-new", [note("a"), note("b", id="@1")])], [], PayloadCorrupt),
    "no JSON data": ([Append("log-new", [note("a"), note(object())])], [], PayloadCorrupt),
    "an unknown topic": (
        [Append("log-new", [note("a")])],
        [task(id="call-new"), task(topic="NobodyTask")],
        TopicNotFound,
    ),
    "a known id with another body": (
        [Append("log-new", [note("a")])],
        [task(id="call-new"), task(id="call-known", body=b"other")],
        Conflict,
    ),
    "two bodies for one new id": (
        [Append("log-new", [note("a")])],
        [task(id="call-new"), task(id="call-new", body=b"other")],
        Conflict,
    ),
    "an entry before the publish": ([Append("call-new", [note("a")])], [task(id="call-new")], Conflict),
    "a bad id": ([Append("log-new", [note("a")])], [task(id="call-new"), task(id="no id")], ConfigError),
    "a time beyond all times": ([], [task(id="call-new"), task(not_before=2**63)], PayloadCorrupt),
}


@pytest.mark.promise(3)
@pytest.mark.needs("transactions")
@pytest.mark.parametrize("why", REFUSED)
async def test_an_ack_that_is_refused_has_done_nothing(backend: Backend, broker: Broker, why: str) -> None:
    appends, publishes, error = REFUSED[why]
    await broker.append("log-a", [note("a")])
    message = await published(broker)
    lease = await leased(broker)
    await published(broker, id="call-known")
    with pytest.raises(error):
        await broker.ack(lease, [completed(lease), *appends], publishes)
    assert await types(broker, message.id) == ["submitted", "accepted"]
    assert texts(await broker.read("log-a")) == ["a"]
    assert await types(broker, "log-new") == await types(broker, "call-new") == []
    assert await ids(broker) == [message.id, "call-known"]
    assert await counts(broker) == (1, 1, 0)
    await broker.ack(lease, [completed(lease)])
    assert await ids(broker) == ["call-known"]


@pytest.mark.promise(3)
async def test_an_expired_or_foreign_lease_can_neither_ack_nor_nack_nor_append(
    backend: Backend, broker: Broker
) -> None:
    message = await published(broker)
    stale = await leased(broker, "slow")
    await backend.passes(30.05)
    owner = await leased(broker, "fast")
    forged = msgspec.structs.replace(owner, token="forged")
    for lease in (stale, forged):
        with pytest.raises(LeaseLost):
            await broker.ack(lease, [completed(lease, "late")], [task(id="call-child")])
        with pytest.raises(LeaseLost):
            await broker.nack(lease, error="late")
        with pytest.raises(LeaseLost):
            await broker.nack(lease, dead="late")
        with pytest.raises(LeaseLost):
            await broker.append(message.id, [said(lease, "delta", {"text": "late"})], lease=lease)
    assert await types(broker, message.id) == ["submitted", "accepted", "accepted"]
    assert await types(broker, "call-child") == []
    await broker.ack(owner, [completed(owner, "first")])
    assert (await broker.read(message.id))[-1].data == {"result": "first"}


async def test_a_second_ack_of_one_lease_is_refused(broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker)
    results = await asyncio.gather(
        broker.ack(lease, [completed(lease)]), broker.ack(lease, [completed(lease)]), return_exceptions=True
    )
    assert results[0] is None
    assert isinstance(results[1], LeaseLost)
    assert (await types(broker, message.id)).count("completed") == 1


@pytest.mark.needs("reopens")
async def test_an_acknowledged_task_does_not_come_back_after_a_restart(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker)
    await broker.ack(lease, [completed(lease)])
    broker = await backend.reopen()
    assert await ids(broker) == []
    assert await types(broker, message.id) == ["submitted", "accepted", "completed"]


async def test_an_attempt_that_raised_is_told_and_waits_for_its_time(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker)
    then = backend.now() + 60_000
    await broker.nack(lease, error="TimeoutError: slow", not_before=then)
    retrying = (await broker.read(message.id))[-1]
    assert (retrying.type, retrying.attempt, retrying.token) == ("retrying", 1, lease.token)
    assert retrying.data == {"attempt": 1, "error": "TimeoutError: slow", "not_before": then}
    assert await counts(broker) == (1, 0, 0)
    waiting = asyncio.create_task(broker.lease([TOPIC], 1, 100, worker="w"))
    await backend.passes(59.9 - backend.slack / 1000)
    assert not waiting.done()
    await backend.passes(0.1 + backend.slack / 1000)
    (again,) = await waiting
    assert (again.attempt, again.raised) == (2, 1)


@pytest.mark.needs("reopens")
async def test_how_often_it_raised_and_its_back_off_outlive_the_broker(backend: Backend, broker: Broker) -> None:
    await published(broker)
    await broker.nack(await leased(broker), error="E")
    await broker.nack(await leased(broker), error="E", not_before=backend.now() + 5000)
    broker = await backend.reopen()
    assert list(await broker.lease([TOPIC], 1, 0, worker="w")) == []
    await backend.passes(5)
    lease = await leased(broker)
    assert (lease.attempt, lease.raised) == (3, 2)


async def test_a_released_task_counts_neither_as_raised_nor_as_lost(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    for attempt in range(1, 8):
        lease = await leased(broker)
        assert (lease.attempt, lease.raised) == (attempt, 0)
        await broker.nack(lease)
    assert await types(broker, message.id) == ["submitted", *["accepted"] * 7]


@pytest.mark.promise(2)
async def test_a_dead_letter_keeps_the_message_with_reason_and_attempts(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    await broker.nack(await leased(broker), error="E")
    await broker.nack(await leased(broker), dead="2 attempts raised")
    assert await counts(broker) == (0, 0, 1)
    (dead,) = await broker.browse(TOPIC, dead=True)
    assert dead.message.body == message.body
    assert (dead.message.id, dead.state, dead.attempt, dead.reason) == (message.id, "dead", 2, "2 attempts raised")
    terminal = (await state(backend, message.id)).terminal
    assert terminal
    assert (terminal.type, terminal.data) == ("dead_lettered", {"reason": "2 attempts raised", "attempts": 2})


@pytest.mark.needs("reopens")
async def test_dead_letters_outlive_the_broker(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    await broker.nack(await leased(broker), dead="poison")
    assert await ids(await backend.reopen(), dead=True) == [message.id]


async def test_a_nack_publishes_with_the_same_transaction(broker: Broker) -> None:
    await published(broker)
    await broker.nack(await leased(broker), dead="moved on", publishes=[task(id="call-next")])
    lease = await leased(broker)
    assert lease.message.id == "call-next"
    assert lease.message.deadline


@pytest.mark.needs("transactions")
@pytest.mark.parametrize("how", [{"dead": "x"}, {"error": "x"}, {}])
@pytest.mark.parametrize(
    ("publishes", "error"),
    [
        ([task(topic="NobodyTask")], TopicNotFound),
        ([task(id="call-known", body=b"other")], Conflict),
        ([task(id="call-1"), task(id="call-1", body=b"other")], Conflict),
    ],
)
async def test_a_nack_that_is_refused_has_done_nothing(
    broker: Broker, how: dict[str, str], publishes: list[Message], error: type[MeshError]
) -> None:
    message = await published(broker)
    lease = await leased(broker)
    await published(broker, id="call-known")
    with pytest.raises(error):
        await broker.nack(lease, publishes=publishes, **how)
    assert await types(broker, message.id) == ["submitted", "accepted"]
    assert await counts(broker) == (1, 1, 0)
    await broker.ack(lease)


@pytest.mark.parametrize("how", ["error", "dead"])
async def test_an_error_text_that_is_no_unicode_is_stored_with_question_marks(broker: Broker, how: str) -> None:
    message = await published(broker)
    lease = await leased(broker)
    await broker.nack(lease, **{how: "no such file: \udcff.txt"})
    told = (await broker.read(message.id))[-1].data
    assert "no such file: ?.txt" in told.values()


async def test_a_retry_at_a_time_beyond_all_times_is_refused(broker: Broker) -> None:
    await published(broker)
    lease = await leased(broker)
    with pytest.raises(PayloadCorrupt):
        await broker.nack(lease, error="E", not_before=2**63)
    await broker.ack(lease)


async def test_a_task_given_back_past_its_deadline_is_gone(backend: Backend, broker: Broker) -> None:
    for fields in ({}, {"error": "E"}):
        message = await published(broker, deadline=backend.now() + 10_000)
        lease = await leased(broker)
        await backend.passes(11)
        await broker.nack(lease, **fields)
        assert await counts(broker) == (0, 0, 0)
        terminal = (await state(backend, message.id)).terminal
        assert terminal
        assert terminal.type == "timed_out"


async def test_a_retry_that_would_come_after_the_deadline_ends_at_the_deadline(
    backend: Backend, broker: Broker
) -> None:
    await published(broker, deadline=backend.now() + 10_000)
    await broker.nack(await leased(broker), error="E", not_before=backend.now() + 60_000)
    await backend.passes(11)
    assert await counts(broker) == (0, 0, 0)


async def test_the_log_of_a_reply_to_gets_what_the_broker_says(backend: Backend, broker: Broker) -> None:
    await published(broker, id="call-1", reply_to="run-1")
    await broker.nack(await leased(broker), error="E")
    await broker.nack(await leased(broker), dead="poison")
    assert await types(broker, "run-1") == ["submitted", "accepted", "retrying", "accepted", "dead_lettered"]


async def test_an_ack_may_write_entries_of_its_own_id_once(broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker)
    step = Draft("step", {"key": "k", "kind": "once", "digest": ""}, "step-1", lease.attempt, lease.token)
    await broker.append(message.id, [step], lease=lease)
    await broker.ack(lease, [Append(message.id, [step, said(lease, "completed", {"result": 1})])])
    assert await types(broker, message.id) == ["submitted", "accepted", "step", "completed"]


async def test_a_lease_of_one_topic_survives_a_change_of_its_delivery(backend: Backend, broker: Broker) -> None:
    await published(broker)
    lease = await leased(broker)
    await broker.declare(TOPIC, Delivery(lease=1))
    await backend.passes(29 - backend.slack / 1000)
    await broker.ack(lease, [completed(lease)])
