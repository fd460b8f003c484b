"""Contract, Log: append, read, list."""

import asyncio
import math

import pytest
from contract.kit import DAY, HOUR, Backend, leased, note, published, said, texts

from agentmesh.contracts import Broker
from agentmesh.errors import BrokerUnavailable, ConfigError, Conflict, LeaseLost, PayloadCorrupt
from agentmesh.message import Draft, Entry

LOG = "log-a"


@pytest.mark.promise(4)
async def test_offsets_are_dense_from_0_in_the_order_of_the_appends(backend: Backend, broker: Broker) -> None:
    assert await broker.append(LOG, [note(0)]) == 0
    assert await broker.append(LOG, [note(1), note(2)]) == 1
    assert await broker.append(LOG, [note(3)]) == 3
    entries = await broker.read(LOG)
    assert [entry.offset for entry in entries] == [0, 1, 2, 3]
    assert texts(entries) == [0, 1, 2, 3]


@pytest.mark.promise(4)
async def test_appends_of_one_turn_keep_their_order_and_stay_together(broker: Broker) -> None:
    firsts = await asyncio.gather(*(broker.append(LOG, [note(f"{n}a"), note(f"{n}b")]) for n in range(50)))
    assert list(firsts) == list(range(0, 100, 2))
    assert texts(await broker.read(LOG)) == [f"{n}{half}" for n in range(50) for half in "ab"]


async def test_an_entry_says_when_it_was_written_and_by_whom(backend: Backend, broker: Broker) -> None:
    await broker.append(LOG, [Draft("step", {"a": [1, None, "é"]}, "s-1", 2, "token")])
    await backend.passes(1.5)
    await broker.append(LOG, [note("x")])
    first, second = await broker.read(LOG)
    assert first == Entry(0, "s-1", backend.about(backend.now() - 1500), "step", 2, "token", {"a": [1, None, "é"]})
    assert second == Entry(1, "@1", backend.about(backend.now()), "data", 0, "", {"text": "x"})


async def test_appending_nothing_makes_no_log(broker: Broker) -> None:
    assert await broker.append(LOG, []) == 0
    assert await broker.list() == []
    await broker.append(LOG, [note(0)])
    assert await broker.append(LOG, []) == 1


@pytest.mark.needs("expect")
async def test_expect_must_be_the_next_offset(broker: Broker) -> None:
    for wrong in (1, -1, 7):
        with pytest.raises(Conflict, match=LOG):
            await broker.append(LOG, [note(0)], expect=wrong)
    assert await broker.append(LOG, [note(0)], expect=0) == 0
    with pytest.raises(Conflict):
        await broker.append(LOG, [note(1)], expect=0)
    assert await broker.append(LOG, [note(1)], expect=1) == 1
    assert texts(await broker.read(LOG)) == [0, 1]


@pytest.mark.promise(4)
@pytest.mark.needs("expect")
async def test_of_several_writers_that_expect_one_offset_one_wins(broker: Broker) -> None:
    results = await asyncio.gather(
        *(broker.append(LOG, [note(n), note(n)], expect=0) for n in range(5)), return_exceptions=True
    )
    assert [isinstance(result, Conflict) for result in results] == [False, True, True, True, True]
    assert texts(await broker.read(LOG)) == [0, 0]


@pytest.mark.promise(3)
async def test_an_id_that_is_there_keeps_its_offset_and_its_data(broker: Broker) -> None:
    assert await broker.append(LOG, [note("first", id="k")]) == 0
    assert await broker.append(LOG, [note("other")]) == 1
    assert await broker.append(LOG, [note("again", id="k")]) == 0
    assert texts(await broker.read(LOG)) == ["first", "other"]


@pytest.mark.promise(3)
async def test_an_id_counts_once_within_one_append_and_within_one_turn(broker: Broker) -> None:
    assert await broker.append(LOG, [note(0, id="a"), note(1, id="a"), note(2, id="b"), note(3, id="a")]) == 0
    results = await asyncio.gather(*(broker.append(LOG, [note(n, id="c"), note(n)]) for n in range(3)))
    assert list(results) == [2, 2, 2]
    assert texts(await broker.read(LOG)) == [0, 2, 0, 0, 1, 2]


async def test_an_id_is_known_only_in_its_own_log(broker: Broker) -> None:
    assert await broker.append(LOG, [note(0, id="k")]) == 0
    assert await broker.append("log-b", [note(1, id="k")]) == 0
    assert texts(await broker.read("log-b")) == [1]


@pytest.mark.promise(3)
@pytest.mark.needs("reopens")
async def test_an_id_is_known_after_a_restart_however_long_ago_it_was(backend: Backend, broker: Broker) -> None:
    await broker.append(LOG, [note(-1, id="k")])
    for start in range(0, 400, 100):
        await broker.append(LOG, [note(n) for n in range(start, start + 100)])
    assert await broker.append(LOG, [note("again", id="k")]) == 0
    broker = await backend.reopen()
    assert await broker.append(LOG, [note("again", id="k")]) == 0
    assert len(await broker.read(LOG)) == 401


@pytest.mark.parametrize("entry_id", ["@0", "@", "@anything"])
async def test_ids_of_the_mesh_are_refused(broker: Broker, entry_id: str) -> None:
    with pytest.raises(PayloadCorrupt, match="@"):
        await broker.append(LOG, [note("fine"), note("x", id=entry_id)])
    assert await broker.read(LOG) == []


@pytest.mark.parametrize("name", ["", "a b", "log/a", "日志", "x" * 65, "log-a\n", "../x"])
async def test_a_bad_name_is_refused(broker: Broker, name: str) -> None:
    with pytest.raises(ConfigError, match="LiteTopic"):
        await broker.append(name, [note(0)])
    with pytest.raises(ConfigError, match="LiteTopic"):
        await broker.read(name)
    if name:
        with pytest.raises(ConfigError, match="LiteTopic"):
            await broker.list(name)
        with pytest.raises(ConfigError, match="LiteTopic"):
            await broker.list("log-", name)


@pytest.mark.parametrize("data", [object(), {"a": {1, 2}, "b": object()}, "\ud800", {"a": 2**70}, math])
async def test_data_that_cannot_be_stored_is_refused_alone(broker: Broker, data: object) -> None:
    good, bad = await asyncio.gather(
        broker.append(LOG, [note("good")]),
        broker.append(LOG, [note("before"), Draft("data", data)]),
        return_exceptions=True,
    )
    assert good == 0
    assert isinstance(bad, PayloadCorrupt)
    assert texts(await broker.read(LOG)) == ["good"]


@pytest.mark.parametrize("draft", [Draft("data", {}, id="\ud800"), Draft("\ud800"), Draft("data", {}, token="\udcff")])
async def test_text_that_is_no_unicode_is_refused_alone(broker: Broker, draft: Draft) -> None:
    good, bad = await asyncio.gather(
        broker.append(LOG, [note("good")]), broker.append(LOG, [draft]), return_exceptions=True
    )
    assert good == 0
    assert isinstance(bad, PayloadCorrupt)
    with pytest.raises(PayloadCorrupt):
        await broker.append("log-b", [note(0)], title="\ud800")


async def test_any_other_text_is_kept_as_it_is(broker: Broker) -> None:
    odd = "a\x00b\n杭州 😀 ‮ \uffff"
    await broker.append(LOG, [note(odd, id=odd)], title=odd)
    (entry,) = await broker.read(LOG)
    assert (entry.id, entry.data["text"]) == (odd, odd)
    assert (await broker.list())[0].title == odd
    assert await broker.append(LOG, [note("again", id=odd)]) == 0


@pytest.mark.promise(3)
async def test_an_append_under_a_lease_needs_that_lease(backend: Backend, broker: Broker) -> None:
    message = await published(broker)
    lease = await leased(broker)
    assert await broker.append(message.id, [said(lease, "delta", {"text": "a"})], lease=lease) == 2
    await backend.passes(30)
    with pytest.raises(LeaseLost):
        await broker.append(message.id, [said(lease, "delta", {"text": "b"})], lease=lease)
    with pytest.raises(LeaseLost):
        await broker.append(LOG, [note("elsewhere")], lease=lease)
    assert len(await broker.read(message.id)) == 3
    assert await broker.read(LOG) == []


async def test_read_goes_on_past_an_offset_up_to_a_limit(broker: Broker) -> None:
    await broker.append(LOG, [note(n) for n in range(10)])
    assert texts(await broker.read(LOG, 3)) == [4, 5, 6, 7, 8, 9]
    assert texts(await broker.read(LOG, 3, 2)) == [4, 5]
    assert texts(await broker.read(LOG, -1, 1)) == [0]
    assert texts(await broker.read(LOG, -7, 2)) == [0, 1]
    assert await broker.read(LOG, 9) == []
    assert await broker.read(LOG, 99) == []
    assert await broker.read(LOG, 3, 0) == []


@pytest.mark.parametrize("count", [1, 63, 64, 65, 127, 128, 129, 130, 300])
async def test_a_long_log_reads_the_same_from_every_offset(broker: Broker, count: int) -> None:
    for n in range(0, count, 7):
        await broker.append(LOG, [note(each) for each in range(n, min(n + 7, count))])
    for after in range(-1, count):
        assert texts(await broker.read(LOG, after, 5)) == list(range(after + 1, min(after + 6, count)))


async def test_read_since_a_time(backend: Backend, broker: Broker) -> None:
    for n in range(5):
        await broker.append(LOG, [note(n)])
        await backend.passes(1)
    start, _, third, _, last = (entry.time for entry in await broker.read(LOG))
    assert texts(await broker.read(LOG, since=third)) == [2, 3, 4]
    assert texts(await broker.read(LOG, since=third + 1)) == [3, 4]
    assert texts(await broker.read(LOG, after=3, since=third)) == [4]
    assert texts(await broker.read(LOG, -1, 2, start + 1)) == [1, 2]
    assert await broker.read(LOG, since=last + 1) == []


async def test_a_log_that_is_not_there_is_empty(broker: Broker) -> None:
    assert await broker.read("log-nobody") == []
    assert await broker.read("log-nobody", 5, since=1) == []


@pytest.mark.promise(4)
async def test_any_number_of_readers_read_for_themselves(broker: Broker) -> None:
    await broker.append(LOG, [note(n) for n in range(10)])
    positions = [-1] * 5
    for turn in range(20):
        reader = turn % 5
        page = await broker.read(LOG, positions[reader], reader + 1)
        assert texts(page) == list(range(positions[reader] + 1, min(positions[reader] + reader + 2, 10)))
        positions[reader] = page[-1].offset if page else positions[reader]


@pytest.mark.promise(4)
@pytest.mark.needs("reopens")
async def test_a_log_goes_on_where_it_was_after_a_restart(backend: Backend, broker: Broker) -> None:
    await broker.append(LOG, [note(n) for n in range(3)])
    before = await broker.read(LOG)
    broker = await backend.reopen()
    assert await broker.read(LOG) == before
    assert await broker.append(LOG, [note(3)], expect=3) == 3
    assert texts(await broker.read(LOG, 1)) == [2, 3]


async def test_list_gives_logs_by_name_with_their_title_and_times(backend: Backend, broker: Broker) -> None:
    start = backend.now()
    await broker.append("log-b", [note(0)], title="Notes")
    await backend.passes(2)
    await broker.append("log-a", [note(0), note(1)])
    await broker.append("log-b", [note(1)], title="Another")
    found = await broker.list()
    assert [(each.lite_topic, each.title, each.next, each.created, each.touched) for each in found] == [
        ("log-a", "", 2, backend.about(start + 2000), backend.about(start + 2000)),
        ("log-b", "Notes", 2, backend.about(start), backend.about(start + 2000)),
    ]


async def test_list_goes_through_a_prefix_in_pages(broker: Broker) -> None:
    names = [f"log-{n:02}" for n in range(7)]
    for name in [*names, "lof-1", "loh-1", "log", "LOG-1", "log_1", "logs-1"]:
        await broker.append(name, [note(0)])
    pages, after = [], ""
    while page := await broker.list("log-", after, 3):
        pages.append([each.lite_topic for each in page])
        after = page[-1].lite_topic
    assert pages == [names[:3], names[3:6], names[6:]]
    assert [each.lite_topic for each in await broker.list("log-03")] == ["log-03"]
    assert await broker.list("log-x") == []
    assert len(await broker.list()) == 13
    assert len(await broker.list(limit=4)) == 4


@pytest.mark.needs("ttl")
@pytest.mark.needs("reopens")
async def test_the_log_of_a_call_lives_for_a_day_after_its_deadline(backend: Backend, broker: Broker) -> None:
    message = await published(broker, deadline=backend.now() + 10 * DAY * 1000)
    broker = await backend.away(11 * DAY - 120)
    await backend.passes(119)
    assert len(await broker.read(message.id)) == 1
    assert await broker.publish(message) is False
    broker = await backend.away(2 * HOUR)
    await backend.passes(61)
    assert await broker.read(message.id) == []
    assert await broker.list("call-") == []


@pytest.mark.needs("ttl")
async def test_the_log_of_a_call_lives_for_a_day_after_its_last_append(backend: Backend, broker: Broker) -> None:
    message = await published(broker, deadline=backend.now() + 1000)
    for _ in range(2):
        await backend.passes(DAY - 1)
        await broker.append(message.id, [note("late")])
    await backend.passes(DAY - 1)
    assert len(await broker.read(message.id)) == 3
    await backend.passes(2 * HOUR + 61)
    assert await broker.read(message.id) == []


@pytest.mark.needs("ttl")
@pytest.mark.needs("reopens")
@pytest.mark.parametrize("name", ["run-1", "session-1", "log-1", "memory-1", "task-1"])
async def test_other_logs_live_for_thirty_days_after_their_last_append(
    backend: Backend, broker: Broker, name: str
) -> None:
    await broker.append(name, [note(0)])
    broker = await backend.away(29 * DAY)
    await broker.append(name, [note(1)])
    broker = await backend.away(30 * DAY - 120)
    await backend.passes(119)
    assert len(await broker.read(name)) == 2
    broker = await backend.away(2 * HOUR)
    await backend.passes(61)
    assert await broker.read(name) == []


@pytest.mark.needs("ttl")
@pytest.mark.promise(4)
async def test_a_log_that_ended_may_begin_anew_for_readers_and_writers(backend: Backend, broker: Broker) -> None:
    inbox = broker.inbox("reader")
    await broker.append("call-a", [note(n, id=f"k{n}") for n in range(3)])
    await inbox.subscribe("call-a")
    (batch,) = await inbox.poll(1, 0)
    await inbox.commit({"call-a": batch.entries[-1].offset})
    for _ in range(27):
        polling = asyncio.create_task(inbox.poll(1, HOUR))
        await backend.passes(HOUR)
        assert list(await polling) == []
    assert await broker.read("call-a") == []
    assert await broker.append("call-a", [note("new", id="k1")], expect=0) == 0
    (batch,) = await inbox.poll(1, 0)
    assert texts(batch.entries) == ["new"]


async def test_a_larger_append_than_a_batch_is_stored_whole(broker: Broker) -> None:
    others = [broker.append(f"log-{n}", [note(n)]) for n in range(100)]
    results = await asyncio.gather(
        *others[:50], broker.append(LOG, [note(n) for n in range(5000)]), *others[50:], return_exceptions=True
    )
    assert results == [0] * 101
    assert texts(await broker.read(LOG, 4990, 100)) == list(range(4991, 5000))
    assert len(await broker.list("log-", limit=1000)) == 101


async def test_a_closed_broker_neither_reads_nor_writes(backend: Backend, broker: Broker) -> None:
    await backend.close()
    for call in (broker.append(LOG, [note(0)]), broker.read(LOG), broker.list()):
        with pytest.raises(BrokerUnavailable, match="closed"):
            await call
