"""Contract, Queue: lease and extend."""

import asyncio

import pytest
from contract.kit import CANCELLED, TOPIC, Backend, all_leased, completed, counts, leased, published, said, types

from agentmesh.contracts import Broker, Delivery
from agentmesh.errors import BrokerUnavailable, LeaseLost, PayloadCorrupt, TopicNotFound


async def test_a_lease_counts_attempts_from_1_and_each_has_a_token_of_its_own(backend: Backend, broker: Broker) -> None:
    await published(broker)
    first = await leased(broker)
    await backend.passes(31)
    second = await leased(broker)
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.token
    assert second.token
    assert first.token != second.token


async def test_accepted_is_in_the_log_before_the_worker_has_the_message(broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker, "worker-7")
    accepted = (await broker.read(message.id))[-1]
    assert (accepted.type, accepted.attempt, accepted.token) == ("accepted", 1, lease.token)
    assert accepted.data["worker"] == "worker-7"


async def test_a_lease_says_when_it_expires(backend: Backend, broker: Broker) -> None:
    await published(broker)
    assert (await leased(broker)).expires == backend.about(backend.now() + 30_000)


@pytest.mark.needs("priority")
async def test_the_highest_priority_is_first_and_among_equals_the_oldest(broker: Broker) -> None:
    wanted = [4, 9, 0, 4, 9, 5, 0]
    published_ids = [(await published(broker, priority=priority)).id for priority in wanted]
    order = sorted(range(len(wanted)), key=lambda index: (-wanted[index], index))
    leases = await broker.lease([TOPIC], 10, 0, worker="w")
    assert [lease.message.id for lease in leases] == [published_ids[index] for index in order]


@pytest.mark.needs("keeps_age")
async def test_a_task_given_back_keeps_its_age(broker: Broker) -> None:
    first, second = await published(broker), await published(broker)
    await broker.nack(await leased(broker))
    leases = await broker.lease([TOPIC], 2, 0, worker="w")
    assert [lease.message.id for lease in leases] == [first.id, second.id]


async def test_no_more_than_the_limit_is_handed_out(broker: Broker) -> None:
    for _ in range(5):
        await published(broker)
    assert len(await broker.lease([TOPIC], 3, 0, worker="w")) == 3
    assert len(await broker.lease([TOPIC], 3, 0, worker="w")) == 2
    assert list(await broker.lease([TOPIC], 3, 0, worker="w")) == []


async def test_a_worker_may_wait_for_several_topics_at_once(backend: Backend, broker: Broker) -> None:
    await broker.declare("OtherTask", Delivery())
    for topic in ("OtherTask", TOPIC):
        waiting = asyncio.create_task(broker.lease(["OtherTask", TOPIC], 1, 60, worker="w"))
        await backend.passes(1)
        message = await published(broker, topic=topic)
        assert [lease.message.id for lease in await waiting] == [message.id]


async def test_an_unknown_topic_among_several_is_refused(broker: Broker) -> None:
    with pytest.raises(TopicNotFound):
        await broker.lease([TOPIC, "NobodyTask"], 1, 0, worker="w")
    message = await published(broker)
    assert (await leased(broker)).message.id == message.id


async def test_a_worker_that_waits_gets_a_message_as_soon_as_it_is_there(backend: Backend, broker: Broker) -> None:
    waiting = asyncio.create_task(broker.lease([TOPIC], 1, 60, worker="w"))
    await backend.passes(5)
    assert not waiting.done()
    message = await published(broker)
    await backend.comes(waiting)
    assert [lease.message.id for lease in await waiting] == [message.id]


async def test_after_its_wait_a_worker_gets_nothing(backend: Backend, broker: Broker) -> None:
    waiting = asyncio.create_task(broker.lease([TOPIC], 1, 20, worker="w"))
    await backend.passes(19.9)
    assert not waiting.done()
    await backend.passes(0.1)
    assert list(await waiting) == []


@pytest.mark.parametrize("wait", [0, 3])
async def test_a_worker_that_left_with_nothing_is_handed_nothing(backend: Backend, broker: Broker, wait: float) -> None:
    waiting = asyncio.create_task(broker.lease([TOPIC], 1, wait, worker="gone"))
    await backend.passes(wait)
    assert list(await waiting) == []
    message = await published(broker)
    await backend.passes(1)
    assert await types(broker, message.id) == ["submitted"]
    assert (await leased(broker, "here")).attempt == 1


async def test_a_lease_that_is_cancelled_while_it_waits_takes_nothing(backend: Backend, broker: Broker) -> None:
    waiting = asyncio.create_task(broker.lease([TOPIC], 1, 60, worker="gone"))
    await backend.passes(1)
    waiting.cancel()
    message = await published(broker)
    await backend.passes(1)
    assert (await leased(broker, "here")).message.id == message.id


async def test_a_lease_that_is_cancelled_when_it_was_just_granted_gives_the_message_back(
    backend: Backend, broker: Broker
) -> None:
    waiting = asyncio.create_task(broker.lease([TOPIC], 1, 60, worker="gone"))
    await backend.passes(1)
    message = await published(broker)
    waiting.cancel()
    await backend.passes(0)
    assert waiting.cancelled()
    lease = await leased(broker, "here")
    assert (lease.message.id, lease.raised) == (message.id, 0)


@pytest.mark.needs("lanes")
async def test_a_message_in_a_lane_goes_to_workers_of_that_lane_alone(broker: Broker) -> None:
    new = await published(broker, lane="1.1.0")
    assert list(await broker.lease([TOPIC], 5, 0, worker="w")) == []
    assert list(await broker.lease([TOPIC], 5, 0, worker="w", lanes=["1.0.0"])) == []
    old, free = await published(broker, lane="1.0.0"), await published(broker)
    leases = await broker.lease([TOPIC], 5, 0, worker="w", lanes=["1.0.0"])
    assert [lease.message.id for lease in leases] == [old.id, free.id]
    leases = await broker.lease([TOPIC], 5, 0, worker="w", lanes=["1.0.0", "1.1.0"])
    assert [lease.message.id for lease in leases] == [new.id]


@pytest.mark.needs("lanes")
async def test_a_worker_of_another_lane_stands_in_nobodys_way(backend: Backend, broker: Broker) -> None:
    waiting = [
        asyncio.create_task(broker.lease([TOPIC], 1, 20, worker=f"w{lane}", lanes=[lane])) for lane in ("a", "b", "a")
    ]
    await backend.passes(1)
    messages = [await published(broker, lane=lane) for lane in ("b", "a", "a")]
    await backend.passes(0)
    found = [(await each)[0].message.id for each in waiting]
    assert found == [messages[1].id, messages[0].id, messages[2].id]


@pytest.mark.promise(3)
async def test_competing_workers_never_share_a_message(backend: Backend, broker: Broker) -> None:
    waiting = [asyncio.create_task(broker.lease([TOPIC], 2, 20, worker=f"w{number}")) for number in range(7)]
    await backend.passes(0)
    await asyncio.gather(*(published(broker) for _ in range(10)))
    more = await asyncio.gather(*(broker.lease([TOPIC], 2, 0, worker=f"v{number}") for number in range(7)))
    await backend.passes(20)
    leases = [lease for found in [*more, *[await each for each in waiting]] for lease in found]
    assert len({lease.message.id for lease in leases}) == len(leases) == 10
    assert len({lease.token for lease in leases}) == 10


async def test_a_worker_name_that_cannot_be_stored_is_refused_alone(broker: Broker) -> None:
    await published(broker)
    with pytest.raises(PayloadCorrupt):
        await broker.lease([TOPIC], 1, 0, worker="\udcff")
    await leased(broker)


async def test_extend_renews_a_lease_again_and_again(backend: Backend, broker: Broker) -> None:
    await published(broker)
    lease = await leased(broker, "w")
    for _ in range(5):
        await backend.passes(25)
        assert await broker.extend("w", [lease.token], 0) == {}
    await broker.ack(lease, [completed(lease)])


async def test_extend_waits_for_news_and_returns_none_after_its_time(backend: Backend, broker: Broker) -> None:
    await published(broker)
    lease = await leased(broker, "w")
    news = asyncio.create_task(broker.extend("w", [lease.token], 10))
    await backend.passes(9.9)
    assert not news.done()
    await backend.passes(0.1)
    assert await news == {}


async def test_extend_brings_a_cancellation_at_once(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker, "w")
    news = asyncio.create_task(broker.extend("w", [lease.token], 10))
    await backend.passes(1)
    await broker.append(message.id, [CANCELLED])
    await backend.passes(0)
    assert news.done()
    assert await news == {lease.token: "cancelled"}


async def test_extend_tells_of_a_cancellation_that_came_between_two_of_them(broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker, "w")
    await broker.append(message.id, [CANCELLED])
    assert await broker.extend("w", [lease.token], 10) == {lease.token: "cancelled"}


async def test_news_of_one_lease_is_not_news_for_another_worker(backend: Backend, broker: Broker) -> None:
    first, second = await published(broker), await published(broker)
    mine, other = await leased(broker, "me"), await leased(broker, "other")
    news = asyncio.create_task(broker.extend("me", [mine.token], 10))
    await backend.passes(1)
    await broker.append(second.id, [CANCELLED])
    await backend.passes(1)
    assert not news.done()
    await broker.append(first.id, [CANCELLED])
    assert await news == {mine.token: "cancelled"}
    assert await broker.extend("other", [other.token], 0) == {other.token: "cancelled"}


async def test_extend_tells_which_leases_are_lost(backend: Backend, broker: Broker) -> None:
    for _ in range(2):
        await published(broker)
    gone, held = await leased(broker, "w"), await leased(broker, "w")
    await backend.passes(20)
    await broker.extend("w", [held.token], 0)
    await backend.passes(11)
    assert await broker.extend("w", [gone.token, held.token, "nonsense"], 0) == {
        gone.token: "lost",
        "nonsense": "lost",
    }


async def test_extend_brings_the_loss_of_a_lease_that_it_does_not_renew_at_once(
    backend: Backend, broker: Broker
) -> None:
    await published(broker)
    lease = await leased(broker, "w")
    await backend.passes(25)
    news = asyncio.create_task(broker.extend("w", [], 10))
    await backend.passes(5.1)
    assert news.done()
    assert await news == {lease.token: "lost"}


async def test_extend_ends_at_its_time_where_nothing_is_held(backend: Backend, broker: Broker) -> None:
    news = asyncio.create_task(broker.extend("w", [], 10))
    await backend.passes(9.9)
    assert not news.done()
    await backend.passes(0.2)
    assert await asyncio.wait_for(news, 5) == {}


async def test_extend_tells_a_cancellation_of_a_lease_that_it_does_not_name_once(
    backend: Backend, broker: Broker
) -> None:
    await published(broker)
    lease = await leased(broker, "w")
    news = asyncio.create_task(broker.extend("w", [], 10))
    await backend.passes(0.1)
    await broker.append(lease.message.log, [CANCELLED])
    assert await asyncio.wait_for(news, 5) == {lease.token: "cancelled"}
    news = asyncio.create_task(broker.extend("w", [], 10))
    await backend.passes(0.1)
    assert not news.done()
    await backend.passes(10)
    assert await asyncio.wait_for(news, 5) == {}


async def test_a_lease_that_ran_out_cannot_be_renewed(backend: Backend, broker: Broker) -> None:
    await published(broker)
    lease = await leased(broker, "w")
    await backend.passes(30)
    assert await broker.extend("w", [lease.token], 0) == {lease.token: "lost"}
    with pytest.raises(LeaseLost):
        await broker.ack(lease)


async def test_a_lease_is_over_for_everybody_when_it_expires_and_not_before(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker)
    await backend.passes(29.9 - backend.slack / 1000)
    assert list(await broker.lease([TOPIC], 1, 0, worker="w2")) == []
    await broker.append(message.id, [said(lease, "delta", {"text": "half"})], lease=lease)
    await backend.passes(0.1 + backend.slack / 1000)
    with pytest.raises(LeaseLost):
        await broker.append(message.id, [], lease=lease)
    await backend.passes(0.05)
    assert (await leased(broker, "w2")).attempt == 2


async def test_many_tasks_are_handed_out_in_transactions_of_bounded_size(backend: Backend, broker: Broker) -> None:
    count = 2500 if backend.transactions else 1500  # more are not counted exactly elsewhere
    await asyncio.gather(*(published(broker) for _ in range(count)))
    leases = await all_leased(broker)
    assert len({lease.message.id for lease in leases}) == len(leases) == count
    assert await counts(broker) == (0, count, 0)


async def test_a_closed_broker_says_so(backend: Backend, broker: Broker) -> None:
    await backend.close()
    with pytest.raises(BrokerUnavailable):
        await broker.lease([TOPIC], 1, 0, worker="w")
    with pytest.raises(BrokerUnavailable):
        await broker.extend("w", [], 0)
