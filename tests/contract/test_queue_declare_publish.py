"""Contract, Queue: declare and publish."""

import asyncio

import pytest
from contract.kit import DAY, TOPIC, Backend, counts, ids, leased, published, state, task, types

from agentmesh.contracts import Broker, Delivery, Retry
from agentmesh.errors import ConfigError, Conflict, LeaseLost, PayloadCorrupt, TopicNotFound


async def test_a_topic_is_there_once_it_is_declared(backend: Backend) -> None:
    broker = backend.broker
    with pytest.raises(TopicNotFound):
        await broker.publish(task())
    await broker.declare(TOPIC, Delivery())
    assert await broker.publish(task())
    assert await counts(broker) == (1, 0, 0)


async def test_the_error_for_an_unknown_topic_says_the_nearest_names(broker: Broker) -> None:
    with pytest.raises(TopicNotFound, match=f"Did you mean {TOPIC}"):
        await broker.publish(task(topic="WeatherAgentTsk"))


@pytest.mark.parametrize("name", ["", "1Agent", "a b", "天气", "x" * 65, "a/b", "a\n"])
async def test_a_bad_topic_name_is_refused(broker: Broker, name: str) -> None:
    with pytest.raises(ConfigError):
        await broker.declare(name, Delivery())


async def test_declaring_again_changes_how_the_topic_delivers_and_keeps_its_tasks(
    backend: Backend, broker: Broker
) -> None:
    message = await published(broker)
    await broker.declare(TOPIC, Delivery(lease=5))
    lease = await leased(broker)
    assert lease.message.id == message.id
    assert lease.expires == backend.about(backend.now() + round(max(5, backend.shortest_lease) * 1000))


async def test_a_removed_topic_refuses_messages_and_ends_its_tasks(backend: Backend, broker: Broker) -> None:
    waiting = await published(broker)
    await broker.declare(TOPIC, None)
    with pytest.raises(TopicNotFound):
        await broker.publish(task())
    with pytest.raises(TopicNotFound):
        await broker.lease([TOPIC], 1, 0, worker="w")
    terminal = (await state(backend, waiting.id)).terminal
    assert terminal
    assert terminal.type == "dead_lettered"
    assert "removed" in terminal.data["reason"]


async def test_a_worker_hears_at_once_that_its_topic_was_removed(backend: Backend, broker: Broker) -> None:
    await published(broker)
    lease = await leased(broker, "w")
    news = asyncio.create_task(broker.extend("w", [lease.token], 10))
    await backend.passes(1)
    await broker.declare(TOPIC, None)
    await backend.passes(0)
    assert news.done()
    assert await news == {lease.token: "lost"}
    with pytest.raises(LeaseLost):
        await broker.ack(lease)


async def test_removing_an_unknown_topic_says_so(broker: Broker) -> None:
    with pytest.raises(TopicNotFound):
        await broker.declare("NobodyTask", None)


async def test_a_lease_that_waits_returns_when_its_topic_is_removed(backend: Backend, broker: Broker) -> None:
    waiting = asyncio.create_task(broker.lease([TOPIC], 1, 60, worker="w"))
    await backend.passes(0)
    await broker.declare(TOPIC, None)
    await backend.passes(0)
    assert list(await waiting) == []


async def test_a_removed_topic_can_be_declared_again_and_begins_empty(broker: Broker) -> None:
    await published(broker)
    await broker.declare(TOPIC, None)
    await broker.declare(TOPIC, Delivery())
    assert await ids(broker) == []
    message = await published(broker)
    assert (await leased(broker)).message.id == message.id


@pytest.mark.needs("reopens")
async def test_topics_and_their_delivery_outlive_the_broker(backend: Backend) -> None:
    await backend.broker.declare(TOPIC, Delivery(lease=7, retry=Retry(lost=1)))
    broker = await backend.reopen()
    await published(broker)
    assert (await leased(broker)).expires == backend.about(backend.now() + round(max(7, backend.shortest_lease) * 1000))


async def test_publish_writes_the_task_and_entry_0_of_its_log(backend: Backend, broker: Broker) -> None:
    deadline = backend.now() + 5000
    message = await published(
        broker,
        deadline=deadline,
        tenant="acme",
        principal="ann",
        session="s",
        priority=5,
        version="1.0",
        parent="call-p",
    )
    (entry,) = await broker.read(message.id)
    assert (entry.offset, entry.type, entry.attempt, entry.token) == (0, "submitted", 0, "")
    assert entry.time == backend.about(backend.now())
    digest = entry.data.pop("digest")
    assert isinstance(digest, str)
    assert entry.data == {
        "topic": TOPIC,
        "skill": "forecast",
        "version": "1.0",
        "lane": "",
        "priority": 5,
        "deadline": deadline,
        "tenant": "acme",
        "principal": "ann",
        "session": "s",
        "parent": "call-p",
    }


async def test_reply_to_names_the_log(broker: Broker) -> None:
    message = await published(broker, id="call-1", reply_to="run-1")
    assert message.log == "run-1"
    assert await types(broker, "run-1") == ["submitted"]
    assert await types(broker, "call-1") == []


async def test_a_worker_gets_the_message_as_it_was_published(backend: Backend, broker: Broker) -> None:
    message = await published(
        broker,
        deadline=backend.now() + 1000,
        traceparent="00-1-2-3",
        hops=3,
        key="k",
        extra={"later": [1, {"a": None}]},
    )
    assert (await leased(broker)).message == message


async def test_publishing_a_known_id_is_a_no_op(broker: Broker) -> None:
    message = await published(broker)
    assert await broker.publish(message) is False
    assert await counts(broker) == (1, 0, 0)
    assert await types(broker, message.id) == ["submitted"]


async def test_two_publishes_of_one_id_in_one_turn_store_one_task(broker: Broker) -> None:
    message = task()
    assert sorted(await asyncio.gather(*(broker.publish(message) for _ in range(5)))) == [False] * 4 + [True]
    assert await counts(broker) == (1, 0, 0)


async def test_publishing_again_while_it_runs_and_after_it_ended_is_a_no_op(broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker)
    assert await broker.publish(message) is False
    await broker.ack(lease)
    assert await broker.publish(message) is False
    assert await counts(broker) == (0, 0, 0)


@pytest.mark.needs("reopens")
async def test_publishing_again_after_a_restart_is_a_no_op(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    assert await (await backend.reopen()).publish(message) is False


@pytest.mark.parametrize("other", [{"body": b"{}"}, {"skill": "history"}, {"topic": "OtherTask"}])
async def test_a_known_id_with_something_else_is_a_conflict(broker: Broker, other: dict[str, object]) -> None:
    await broker.declare("OtherTask", Delivery())
    message = await published(broker, id="call-k")
    with pytest.raises(Conflict, match="call-k"):
        await broker.publish(task(**{"id": "call-k", **other}))
    assert await ids(broker) == [message.id]
    assert await ids(broker, "OtherTask") == []


async def test_a_conflict_spoils_nothing_else_of_its_turn(backend: Backend, broker: Broker) -> None:
    await published(broker, id="call-k")
    results = await asyncio.gather(
        broker.publish(task(id="call-1")),
        broker.publish(task(id="call-k", body=b"other")),
        broker.publish(task(topic="NobodyTask")),
        broker.publish(task(id="call-2")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [bool, Conflict, TopicNotFound, bool]
    found = await ids(broker)
    if backend.transactions:  # else what is published at once has no order
        assert found == ["call-k", "call-1", "call-2"]
    assert sorted(found) == ["call-1", "call-2", "call-k"]


@pytest.mark.parametrize("data", [None, "text", [1], {}, {"topic": 1}])
async def test_an_id_whose_log_holds_something_else_is_a_conflict(broker: Broker, data: object) -> None:
    from agentmesh.message import Draft

    await broker.append("call-1", [Draft("submitted", data)])
    await broker.append("call-2", [Draft("data", data)])
    for call in ("call-1", "call-2"):
        with pytest.raises(Conflict):
            await broker.publish(task(id=call))
    assert await counts(broker) == (0, 0, 0)


@pytest.mark.parametrize("call", ["", "call 1", "call/1", "c" * 65, "呼叫"])
async def test_an_id_that_cannot_name_a_log_is_refused(broker: Broker, call: str) -> None:
    with pytest.raises(ConfigError):
        await broker.publish(task(id=call))


@pytest.mark.parametrize(
    "fields",
    [{"deadline": 2**63}, {"not_before": 2**63}, {"not_before": -1}, {"tenant": "\ud800"}, {"priority": 2**70}],
)
async def test_a_message_that_cannot_be_stored_is_refused_alone(broker: Broker, fields: dict[str, object]) -> None:
    good, bad = await asyncio.gather(broker.publish(task()), broker.publish(task(**fields)), return_exceptions=True)
    assert good is True
    assert isinstance(bad, PayloadCorrupt)
    assert await counts(broker) == (1, 0, 0)


async def test_a_delayed_message_waits_for_its_time(backend: Backend, broker: Broker) -> None:
    message = await published(broker, not_before=backend.now() + 60_000)
    assert await counts(broker) == (1, 0, 0)
    waiting = asyncio.create_task(broker.lease([TOPIC], 1, 120, worker="w"))
    await backend.passes(59.9 - backend.slack / 1000)
    assert not waiting.done()
    await backend.passes(0.1 + backend.slack / 1000)
    assert [lease.message.id for lease in await waiting] == [message.id]


@pytest.mark.needs("reopens")
async def test_a_delay_outlives_the_broker(backend: Backend, broker: Broker) -> None:
    await published(broker, not_before=backend.now() + 60_000)
    broker = await backend.reopen()
    assert list(await broker.lease([TOPIC], 1, 0, worker="w")) == []
    await backend.passes(60)
    await leased(broker)


@pytest.mark.promise(2)
async def test_a_waiting_task_past_its_deadline_is_gone_and_its_call_timed_out(
    backend: Backend, broker: Broker
) -> None:
    message = await published(broker, deadline=backend.now() + 60_000)
    await backend.passes(59 - backend.slack / 1000)
    assert (await state(backend, message.id)).terminal is None
    assert await ids(broker) == [message.id]
    await backend.passes(2.1 + backend.slack / 1000)
    assert await ids(broker) == []
    assert await counts(broker) == (0, 0, 0)
    terminal = (await state(backend, message.id)).terminal
    assert terminal
    assert terminal.type == "timed_out"


async def test_a_task_is_not_handed_out_at_or_after_its_deadline(backend: Backend, broker: Broker) -> None:
    await published(broker, deadline=backend.now() + 1300)
    await backend.passes(1.3)
    assert list(await broker.lease([TOPIC], 1, 0, worker="w")) == []


async def test_a_message_published_after_its_deadline_is_never_handed_out(backend: Backend, broker: Broker) -> None:
    message = await published(broker, deadline=backend.now() - 1)
    assert list(await broker.lease([TOPIC], 1, 0, worker="w")) == []
    terminal = (await state(backend, message.id)).terminal
    assert terminal
    assert terminal.type == "timed_out"


@pytest.mark.parametrize(("call", "days"), [("call-1", 1), ("run-1", 30)])
async def test_the_default_deadline_is_a_day_and_for_a_run_thirty(
    backend: Backend, broker: Broker, call: str, days: int
) -> None:
    await published(broker, id=call)
    deadline = backend.about(backend.now() + days * DAY * 1000)
    assert (await broker.read(call))[0].data["deadline"] == deadline
    assert (await leased(broker)).message.deadline == deadline


@pytest.mark.promise(1)
@pytest.mark.needs("reopens")
async def test_published_messages_are_there_after_a_restart_in_their_order(backend: Backend, broker: Broker) -> None:
    messages = [await published(broker) for _ in range(20)]
    broker = await backend.reopen()
    assert await ids(broker) == [message.id for message in messages]
    assert [lease.message.body for lease in await broker.lease([TOPIC], 20, 0, worker="w")] == [
        m.body for m in messages
    ]
