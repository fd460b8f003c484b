"""Contract, Inbox: the wake-up for exactly what one subscribed to."""

import asyncio
from collections.abc import Sequence

import pytest
from contract.kit import Backend, note, texts

from agentmesh.contracts import Batch, Broker
from agentmesh.errors import BrokerUnavailable, ConfigError

LOG = "call-a"


def seen(batches: Sequence[Batch]) -> dict[str, list[object]]:
    return {batch.lite_topic: texts(batch.entries) for batch in batches if not batch.revoked}


def last(batches: Sequence[Batch]) -> dict[str, int]:
    return {batch.lite_topic: batch.entries[-1].offset for batch in batches}


@pytest.mark.promise(4)
async def test_a_log_can_be_subscribed_before_it_exists(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG)
    polling = asyncio.create_task(inbox.poll(10, 60))
    await backend.passes(5)
    assert not polling.done()
    await broker.append(LOG, [note(0)])
    await backend.passes(0)
    assert polling.done()
    assert seen(await polling) == {LOG: [0]}


@pytest.mark.promise(4)
async def test_a_subscription_reads_from_the_start_or_past_an_offset(broker: Broker) -> None:
    await broker.append(LOG, [note(n) for n in range(4)])
    for client, after, wanted in (("a", None, [0, 1, 2, 3]), ("b", -1, [0, 1, 2, 3]), ("c", 1, [2, 3])):
        await broker.inbox(client).subscribe(LOG, after)
        assert seen(await broker.inbox(client).poll(10, 0)) == {LOG: wanted}
    await broker.inbox("d").subscribe(LOG, 3)
    assert list(await broker.inbox("d").poll(10, 0)) == []


async def test_only_what_is_subscribed_wakes(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG)
    polling = asyncio.create_task(inbox.poll(10, 60))
    await broker.append("call-b", [note(0)])
    await backend.passes(1)
    assert not polling.done()
    await backend.passes(59)
    assert list(await polling) == []


async def test_a_poll_returns_nothing_after_its_wait(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG)
    assert list(await inbox.poll(10, 0)) == []
    polling = asyncio.create_task(inbox.poll(10, 7))
    await backend.passes(6.9)
    assert not polling.done()
    await backend.passes(0.1)
    assert list(await polling) == []


@pytest.mark.promise(4)
async def test_one_batch_at_a_time_until_it_is_committed(broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG)
    await broker.append(LOG, [note(0)])
    assert seen(await inbox.poll(10, 0)) == {LOG: [0]}
    await broker.append(LOG, [note(1)])
    assert list(await inbox.poll(10, 0)) == []
    await inbox.commit({LOG: 0})
    assert seen(await inbox.poll(10, 0)) == {LOG: [1]}
    await inbox.commit({LOG: 1})
    assert list(await inbox.poll(10, 0)) == []


async def test_a_commit_that_leaves_a_remainder_makes_ready_again(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG)
    await broker.append(LOG, [note(n) for n in range(5)])
    await inbox.poll(10, 0)
    polling = asyncio.create_task(inbox.poll(10, 60))
    await backend.passes(1)
    assert not polling.done()
    await inbox.commit({LOG: 2})
    await backend.passes(0)
    assert polling.done()
    assert seen(await polling) == {LOG: [3, 4]}


async def test_a_batch_that_is_not_committed_comes_again_after_30_seconds(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG)
    await broker.append(LOG, [note(0)])
    await inbox.poll(10, 0)
    await broker.append(LOG, [note(1)])
    polling = asyncio.create_task(inbox.poll(10, 60))
    await backend.passes(29.9 - backend.slack / 1000)
    assert not polling.done()
    await backend.passes(0.2 + backend.slack / 1000)
    assert polling.done()
    assert seen(await polling) == {LOG: [0, 1]}


async def test_a_commit_never_goes_back(broker: Broker) -> None:
    inbox = broker.inbox("me")
    await broker.append(LOG, [note(n) for n in range(5)])
    await inbox.subscribe(LOG)
    await inbox.poll(10, 0)
    await inbox.commit({LOG: 4})
    await inbox.commit({LOG: 1})
    assert list(await inbox.poll(10, 0)) == []
    await inbox.unsubscribe(LOG)
    await inbox.subscribe(LOG)
    assert list(await inbox.poll(10, 0)) == []


async def test_a_client_that_subscribes_again_resumes_what_it_committed(broker: Broker) -> None:
    inbox = broker.inbox("me")
    await broker.append(LOG, [note(n) for n in range(5)])
    await inbox.subscribe(LOG)
    await inbox.poll(10, 0)
    await inbox.commit({LOG: 2})
    await inbox.unsubscribe(LOG)
    assert list(await inbox.poll(10, 0)) == []
    await inbox.subscribe(LOG)
    assert seen(await inbox.poll(10, 0)) == {LOG: [3, 4]}
    await inbox.subscribe(LOG, 0)
    assert seen(await inbox.poll(10, 0)) == {LOG: [1, 2, 3, 4]}


async def test_an_unsubscribed_log_does_not_wake(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG)
    await inbox.unsubscribe(LOG)
    await inbox.unsubscribe("call-never")
    await broker.append(LOG, [note(0)])
    assert list(await inbox.poll(10, 0)) == []


@pytest.mark.promise(4)
async def test_clients_read_one_log_independently(broker: Broker) -> None:
    me, other = broker.inbox("me"), broker.inbox("other")
    for inbox in (me, other):
        await inbox.subscribe(LOG)
    await broker.append(LOG, [note(0)])
    await me.commit(last(await me.poll(10, 0)))
    await broker.append(LOG, [note(1)])
    assert seen(await me.poll(10, 0)) == {LOG: [1]}
    assert seen(await other.poll(10, 0)) == {LOG: [0, 1]}


async def test_asking_again_for_an_inbox_gives_the_same(broker: Broker) -> None:
    await broker.inbox("me").subscribe(LOG)
    await broker.append(LOG, [note(0)])
    assert seen(await broker.inbox("me").poll(10, 0)) == {LOG: [0]}
    assert list(await broker.inbox("me").poll(10, 0)) == []


async def test_a_poll_brings_a_batch_over_many_logs_up_to_its_limit_the_longest_ready_first(
    backend: Backend, broker: Broker
) -> None:
    inbox = broker.inbox("me")
    names = [f"call-{n}" for n in range(7)]
    for name in names:
        await inbox.subscribe(name)
    for name in reversed(names):
        await broker.append(name, [note(name)])
    await backend.passes(0)
    first, second = await inbox.poll(4, 0), await inbox.poll(4, 0)
    assert [batch.lite_topic for batch in [*first, *second]] == names[::-1]
    assert (len(first), len(second)) == (4, 3)


@pytest.mark.promise(4)
async def test_a_reader_that_commits_what_it_reads_sees_every_entry_once_in_order(
    backend: Backend, broker: Broker
) -> None:
    inbox, got = broker.inbox("me"), []
    await inbox.subscribe(LOG)

    async def read() -> None:
        while len(got) < 1000:
            batches = await inbox.poll(10, 60)
            await inbox.commit(last(batches))
            got.extend(each for batch in batches for each in texts(batch.entries))

    reading = asyncio.create_task(read())
    for n in range(0, 1000, 20):
        await asyncio.gather(*(broker.append(LOG, [note(each)]) for each in range(n, n + 20)))
    await backend.passes(0)
    assert reading.done()
    assert got == list(range(1000))


@pytest.mark.promise(4)
@pytest.mark.parametrize("after", [3, 4, 99, 2**53])
async def test_an_offset_from_the_future_counts_as_the_end_of_the_log(broker: Broker, after: int) -> None:
    await broker.append(LOG, [note(n) for n in range(4)])
    subscribed, synced, committed = (broker.inbox(name) for name in ("subscribed", "synced", "committed"))
    await subscribed.subscribe(LOG, after)
    await synced.sync({LOG: after})
    await committed.subscribe(LOG)
    await committed.commit({LOG: after})
    for inbox in (subscribed, synced, committed):
        assert list(await inbox.poll(10, 0)) == []
    await broker.append(LOG, [note(4)])
    for inbox in (subscribed, synced, committed):
        assert seen(await inbox.poll(10, 0)) == {LOG: [4]}
    await committed.unsubscribe(LOG)
    await committed.subscribe(LOG)
    assert seen(await committed.poll(10, 0)) == {LOG: [4]}
    assert await broker.read(LOG, after + 1) == []


@pytest.mark.promise(4)
async def test_an_offset_of_a_log_that_is_not_there_skips_nothing_of_it(broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG, 7)
    await inbox.commit({LOG: 9})
    await broker.append(LOG, [note(0), note(1)])
    assert seen(await inbox.poll(10, 0)) == {LOG: [0, 1]}


async def test_sync_replaces_the_whole_set(broker: Broker) -> None:
    inbox = broker.inbox("me")
    for name in ("call-a", "call-b", "call-c"):
        await broker.append(name, [note(0), note(1)])
    await inbox.sync({"call-a": None, "call-b": None})
    assert seen(await inbox.poll(10, 0)) == {"call-a": [0, 1], "call-b": [0, 1]}
    await inbox.commit({"call-a": 1, "call-b": 0})
    await inbox.sync({"call-b": None, "call-c": 0})
    assert seen(await inbox.poll(10, 0)) == {"call-b": [1], "call-c": [1]}
    await inbox.sync({})
    for name in ("call-a", "call-b", "call-c"):
        await broker.append(name, [note(2)])
    assert list(await inbox.poll(10, 0)) == []


async def test_sync_with_the_same_set_does_not_repeat_what_is_uncommitted(broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.sync({LOG: None})
    await broker.append(LOG, [note(0)])
    await inbox.poll(10, 0)
    await inbox.sync({LOG: None})
    assert list(await inbox.poll(10, 0)) == []


async def test_the_newest_exclusive_subscriber_wins_and_the_loser_is_told(backend: Backend, broker: Broker) -> None:
    old, new = broker.inbox("old"), broker.inbox("new")
    await old.subscribe(LOG, exclusive=True)
    polling = asyncio.create_task(old.poll(10, 60))
    await backend.passes(1)
    await new.subscribe(LOG, exclusive=True)
    await backend.passes(0)
    assert polling.done()
    assert [(batch.lite_topic, batch.revoked) for batch in await polling] == [(LOG, True)]
    await broker.append(LOG, [note(0)])
    assert list(await old.poll(10, 0)) == []
    assert seen(await new.poll(10, 0)) == {LOG: [0]}


@pytest.mark.needs("drives_out")
async def test_an_exclusive_subscriber_drives_out_all_others(broker: Broker) -> None:
    for client in ("a", "b", "c"):
        await broker.inbox(client).subscribe(LOG)
    await broker.inbox("c").subscribe(LOG, exclusive=True)
    for client, revoked in (("a", [LOG]), ("b", [LOG]), ("c", [])):
        assert [batch.lite_topic for batch in await broker.inbox(client).poll(10, 0) if batch.revoked] == revoked


async def test_a_revocation_is_told_once_and_not_to_a_client_that_has_it_back(broker: Broker) -> None:
    me, other = broker.inbox("me"), broker.inbox("other")
    await me.subscribe(LOG, exclusive=True)
    await other.subscribe(LOG, exclusive=True)
    await me.subscribe(LOG, exclusive=True)
    assert list(await me.poll(10, 0)) == []
    assert [batch.revoked for batch in await other.poll(10, 0)] == [True]
    assert list(await other.poll(10, 0)) == []


async def test_a_client_that_is_silent_for_three_minutes_loses_its_set(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG)
    await backend.passes(179 - backend.slack / 1000)
    await broker.append(LOG, [note(0)])
    assert seen(await inbox.poll(10, 0)) == {LOG: [0]}
    await backend.passes(241)
    await broker.append(LOG, [note(1)])
    assert list(await inbox.poll(10, 0)) == []


async def test_a_client_that_polls_is_not_silent(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG)
    polling = asyncio.create_task(inbox.poll(10, 3600))
    await backend.passes(1000)
    await broker.append(LOG, [note(0)])
    await backend.passes(0)
    assert seen(await polling) == {LOG: [0]}


async def test_an_owner_that_lost_its_place_by_silence_is_told_on_its_return(backend: Backend, broker: Broker) -> None:
    owner = broker.inbox("owner")
    await owner.subscribe(LOG, exclusive=True)
    await backend.passes(182)
    await broker.inbox("new").subscribe(LOG, exclusive=True)
    assert [(batch.lite_topic, batch.revoked) for batch in await owner.poll(10, 0)] == [(LOG, True)]
    await broker.append(LOG, [note(0)])
    assert list(await owner.poll(10, 0)) == []
    assert seen(await broker.inbox("new").poll(10, 0)) == {LOG: [0]}


async def test_a_silent_client_that_held_something_exclusively_stands_in_nobodys_way(
    backend: Backend, broker: Broker
) -> None:
    await broker.inbox("gone").subscribe(LOG, exclusive=True)
    await backend.passes(300)
    await broker.inbox("me").subscribe(LOG)
    await broker.append(LOG, [note(0)])
    assert seen(await broker.inbox("me").poll(10, 0)) == {LOG: [0]}


async def test_a_closed_inbox_is_forgotten_and_its_poll_returns(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await inbox.subscribe(LOG)
    polling = asyncio.create_task(inbox.poll(10, 60))
    await backend.passes(1)
    await inbox.close()
    await backend.passes(0)
    assert polling.done()
    assert list(await polling) == []
    await broker.append(LOG, [note(0)])
    assert list(await broker.inbox("me").poll(10, 0)) == []


@pytest.mark.parametrize("name", ["", "a b", "x" * 65])
async def test_a_bad_name_is_refused(broker: Broker, name: str) -> None:
    with pytest.raises(ConfigError):
        await broker.inbox("me").subscribe(name)
    with pytest.raises(ConfigError):
        await broker.inbox("me").sync({LOG: None, name: None})
    with pytest.raises(ConfigError):
        await broker.inbox("me").unsubscribe(name)
    with pytest.raises(ConfigError):
        await broker.inbox("me").commit({name: 0})


async def test_the_inboxes_of_a_closed_broker_are_closed(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await backend.close()
    for call in (inbox.subscribe(LOG), inbox.unsubscribe(LOG), inbox.sync({}), inbox.poll(1, 0), inbox.commit({})):
        with pytest.raises(BrokerUnavailable):
            await call


@pytest.mark.promise(4)
@pytest.mark.needs("reopens")
async def test_after_a_restart_a_client_syncs_and_misses_nothing(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("me")
    await broker.append(LOG, [note(n) for n in range(5)])
    await inbox.subscribe(LOG)
    await inbox.poll(10, 0)
    await inbox.commit({LOG: 2})
    inbox = (await backend.reopen()).inbox("me")
    assert list(await inbox.poll(10, 0)) == []
    await inbox.sync({LOG: 2})
    assert seen(await inbox.poll(10, 0)) == {LOG: [3, 4]}


async def test_a_long_log_comes_in_several_batches(broker: Broker) -> None:
    inbox, got = broker.inbox("me"), []
    await inbox.subscribe(LOG)
    await broker.append(LOG, [note(n) for n in range(1000)])
    while batches := await inbox.poll(10, 0):
        got += texts(batches[0].entries)
        await inbox.commit(last(batches))
    assert got == list(range(1000))


async def test_a_set_too_large_for_one_slice_is_synced_all_the_same(broker: Broker) -> None:
    names = [f"call-{number:05}" for number in range(20_000)]
    await broker.append(names[-1], [note(0)])
    inbox = broker.inbox("me")
    await inbox.sync(dict.fromkeys(names))
    assert seen(await inbox.poll(10, 0)) == {names[-1]: [0]}
    await inbox.sync({})
    await broker.append(names[0], [note(1)])
    assert list(await inbox.poll(10, 0)) == []
