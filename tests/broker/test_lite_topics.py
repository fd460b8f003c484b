"""LiteTopics at scale: what an operation costs does not depend on how many there are, and nothing takes long at once.

Costs are counted in statements of SQL, not in time.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmesh.broker.embedded import inboxes, logs
from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.memory import open_memory
from agentmesh.clock import ManualClock, settle
from agentmesh.contracts import Batch, Inbox
from agentmesh.errors import BrokerUnavailable, ConfigError
from agentmesh.ids import digest, new_token
from agentmesh.message import Draft

MANY = 20_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def broker(clock: ManualClock) -> AsyncIterator[EmbeddedBroker]:
    opened = await open_memory("", clock)
    yield opened
    await opened.close()


@contextmanager
def statements(broker: EmbeddedBroker) -> Iterator[list[str]]:
    """What the broker asks of SQLite meanwhile."""
    asked: list[str] = []
    broker._store._db.set_trace_callback(asked.append)
    yield asked
    broker._store._db.set_trace_callback(None)


def name_of(number: int) -> str:
    return f"log-{digest(str(number))}"


async def fill(broker: EmbeddedBroker, count: int, start: int = 0) -> list[str]:
    names = [name_of(number) for number in range(start, start + count)]
    for at in range(0, count, 500):
        await asyncio.gather(*(broker.append(name, [Draft("data", 0)]) for name in names[at : at + 500]))
    return names


async def read_all(inbox: Inbox) -> list[Batch]:
    found: list[Batch] = []
    while batches := await inbox.poll(1000, 0):
        found += batches
        await inbox.commit({batch.lite_topic: batch.entries[-1].offset for batch in batches})
    return found


async def test_append_poll_and_list_ask_the_store_as_little_among_many_as_among_few(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_LOGS_IN_MEMORY", 1)
    costs = []
    names = []
    for count in (1000, MANY - 1000):
        names += await fill(broker, count, len(names))
        inbox = broker.inbox("me")
        await inbox.sync(dict.fromkeys(names))
        assert len(await read_all(inbox)) == count
        await broker.append("log-another", [Draft("data")])
        cost = []
        for work in (
            broker.append(names[7], [Draft("data", 1)]),
            inbox.poll(100, 0),
            inbox.commit({names[7]: 99}),
            inbox.poll(100, 0),
            broker.read(names[11]),
            broker.list("log-", names[5], 100),
        ):
            with statements(broker) as asked:
                await work
            cost.append(len(asked))
        costs.append(cost)
    assert costs[0] == costs[1]
    append, poll, commit, empty, read, listing = costs[0]
    assert append <= 5  # find it, begin, whose epoch it is, insert, commit
    assert (poll, commit, empty) == (0, 0, 0)
    assert read <= 2
    assert listing == 1
    assert len(broker.state.logs._logs) <= 1


async def test_a_full_sync_asks_for_many_heads_at_once_and_for_none_when_nothing_changed(
    broker: EmbeddedBroker,
) -> None:
    names = await fill(broker, MANY)
    inbox = broker.inbox("me")
    with statements(broker) as asked:
        await inbox.sync(dict.fromkeys(names))
    assert len(asked) <= MANY / inboxes._HEADS + MANY / inboxes._SLICE
    assert len(await read_all(inbox)) == MANY
    for interests in (dict.fromkeys(names), dict.fromkeys(names, 0)):
        with statements(broker) as asked:
            await inbox.sync(interests)
        assert asked == []
    assert list(await inbox.poll(1000, 0)) == []
    with statements(broker) as asked:
        await inbox.sync(dict.fromkeys(names[:-1]) | {name_of(MANY): None})
    assert len(asked) == 1
    await broker.append(names[-1], [Draft("data", 1)])
    await broker.append(name_of(MANY), [Draft("data", 1)])
    assert [batch.lite_topic for batch in await inbox.poll(1000, 0)] == [name_of(MANY)]


async def turns_of(work: Any) -> int:
    """How often others had their turn while it went on."""
    turns = 0
    task = asyncio.ensure_future(work)
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    await task
    return turns


async def test_a_sync_of_many_lets_others_have_their_turn(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inboxes, "_TURN", 0)
    inbox = broker.inbox("me")
    wanted = dict.fromkeys(map(name_of, range(MANY)))
    assert await turns_of(inbox.sync(wanted)) > MANY / inboxes._HEADS
    assert await turns_of(inbox.sync({})) > MANY / inboxes._SLICE


@pytest.fixture
def sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync gives way after every step."""
    monkeypatch.setattr(inboxes, "_TURN", 0)


async def ready(inbox: Inbox) -> set[str]:
    return {batch.lite_topic for batch in await read_all(inbox)}


async def test_what_is_subscribed_and_unsubscribed_during_a_sync_stays_so(broker: EmbeddedBroker, sliced: None) -> None:
    names = await fill(broker, 3000)
    inbox = broker.inbox("me")
    await inbox.sync(dict.fromkeys(names[:2000]))
    syncing = asyncio.create_task(inbox.sync(dict.fromkeys(names[1000:])))
    await asyncio.sleep(0)
    await inbox.subscribe(names[0], -1)
    await inbox.unsubscribe(names[2999])
    await inbox.unsubscribe(names[1000])
    assert not syncing.done()
    await syncing
    assert await ready(inbox) == {names[0], *names[1001:2999]}
    await inbox.subscribe(names[1000], -1)
    await inbox.sync(dict.fromkeys(names[1000:]))
    assert await ready(inbox) == {names[1000], names[2999]}


async def test_a_later_sync_takes_the_place_of_one_that_still_goes_on(broker: EmbeddedBroker, sliced: None) -> None:
    names = await fill(broker, 3000)
    inbox = broker.inbox("me")
    first = asyncio.create_task(inbox.sync(dict.fromkeys(names)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not first.done()
    await inbox.sync({names[0]: None, names[2500]: None})
    await first
    assert await ready(inbox) == {names[0], names[2500]}


async def test_a_sync_that_is_cancelled_is_over(broker: EmbeddedBroker, sliced: None) -> None:
    names = await fill(broker, 3000)
    inbox = broker.inbox("me")
    syncing = asyncio.create_task(inbox.sync(dict.fromkeys(names)))
    for _ in range(20):
        await asyncio.sleep(0)
    syncing.cancel()
    await settle()
    assert 0 < len(await ready(inbox)) < 3000
    assert broker._inboxes.client("me", 0).changed is None
    await inbox.sync({names[0]: -1})
    assert await ready(inbox) == {names[0]}


async def test_a_sync_with_a_bad_name_changes_nothing(broker: EmbeddedBroker, sliced: None) -> None:
    names = await fill(broker, 2000)
    inbox = broker.inbox("me")
    await inbox.sync({names[0]: None})
    with pytest.raises(ConfigError):
        await inbox.sync({**dict.fromkeys(names[1:]), "not a name": None})
    assert await ready(inbox) == {names[0]}


async def test_a_sync_ends_when_the_broker_is_closed_or_the_client_forgotten(
    broker: EmbeddedBroker, sliced: None
) -> None:
    names = await fill(broker, 3000)
    syncs = [asyncio.create_task(broker.inbox(name).sync(dict.fromkeys(names))) for name in ("a", "b")]
    for _ in range(20):
        await asyncio.sleep(0)
    await broker.inbox("a").close()
    await syncs[0]
    assert await ready(broker.inbox("a")) == set()
    await broker.close()
    with pytest.raises(BrokerUnavailable):
        await syncs[1]


def leaving(broker: EmbeddedBroker) -> int:
    return len(broker._inboxes._leaving)


async def test_a_client_of_many_is_forgotten_in_slices_and_may_return_meanwhile(
    broker: EmbeddedBroker, clock: ManualClock
) -> None:
    names = await fill(broker, MANY)
    inbox = broker.inbox("me")
    await inbox.sync(dict.fromkeys(names))
    await inbox.close()
    assert leaving(broker) == 1
    again = broker.inbox("me")
    await again.subscribe(names[3])
    await broker.inbox("other").subscribe(names[4], exclusive=True)
    assert leaving(broker) == 1
    turns = 0
    while leaving(broker):
        await asyncio.sleep(0)
        turns += 1
    assert turns >= MANY / inboxes._SLICE - 1
    assert await ready(again) == {names[3]}
    await asyncio.gather(*(broker.append(name, [Draft("data", 1)]) for name in names[:10]))
    assert await ready(again) == {names[3]}
    assert await ready(broker.inbox("other")) == {names[4]}


async def test_each_client_is_forgotten_when_its_own_three_minutes_are_over(
    broker: EmbeddedBroker, clock: ManualClock
) -> None:
    clients = [f"client-{n}" for n in range(40)]
    for client in clients:
        await broker.inbox(client).subscribe(client)
        await clock.advance(1)
    polling = asyncio.create_task(broker.inbox("client-7").poll(1, 3600))
    await broker.inbox("client-9").commit({})
    await clock.advance(180 - 40)
    known = broker._inboxes._clients
    for n in range(40):
        gone = {f"client-{other}" for other in range(n + 1)} - {"client-7", "client-9"}
        assert set(clients) - set(known) <= gone
        await clock.advance(1)
        assert set(clients) - set(known) == gone
    await clock.advance(3600)
    assert set(known) == {"client-7"}
    polling.cancel()


async def test_a_silent_owner_learns_on_its_return_that_it_is_the_owner_no_more(
    broker: EmbeddedBroker, clock: ManualClock
) -> None:
    owner = broker.inbox("owner")
    await owner.subscribe("log-a", exclusive=True)
    await owner.subscribe("log-b", exclusive=True)
    await owner.subscribe("log-c")
    await clock.advance(182)
    await broker.inbox("new").subscribe("log-a", exclusive=True)
    await owner.subscribe("log-b", exclusive=True)
    assert [(batch.lite_topic, batch.revoked) for batch in await owner.poll(10, 0)] == [("log-a", True)]
    assert list(await owner.poll(10, 0)) == []
    for n in range(2 * inboxes.RETURNING):
        await broker.inbox(f"client-{n}").subscribe(f"log-{n}", exclusive=True)
    await clock.advance(200)
    assert len(broker._inboxes._lost) == inboxes.RETURNING


async def test_what_a_client_committed_of_an_ended_log_says_nothing_of_the_next_of_that_name(
    broker: EmbeddedBroker, clock: ManualClock
) -> None:
    inbox = broker.inbox("me")
    await broker.append("call-a", [Draft("data", n) for n in range(5)])
    await inbox.subscribe("call-a")
    await read_all(inbox)
    await inbox.unsubscribe("call-a")
    for _ in range(27 * 30):
        await inbox.commit({})  # not silent
        await clock.advance(120)
    assert await broker.read("call-a") == []
    await broker.append("call-a", [Draft("data", "new") for _ in range(7)])
    await inbox.subscribe("call-a")
    assert [entry.data for batch in await read_all(inbox) for entry in batch.entries] == ["new"] * 7


async def test_a_poll_tells_of_many_revocations_up_to_its_limit(broker: EmbeddedBroker) -> None:
    names = [f"log-{n}" for n in range(25)]
    inbox = broker.inbox("me")
    await inbox.sync(dict.fromkeys(names))
    for name in names:
        await broker.inbox("other").subscribe(name, exclusive=True)
    told = [[batch.lite_topic for batch in await inbox.poll(10, 0)] for _ in range(4)]
    assert told == [names[:10], names[10:20], names[20:], []]


async def test_reading_from_a_time_looks_at_few_entries_however_many_there_are(
    broker: EmbeddedBroker, clock: ManualClock
) -> None:
    start = clock.now()
    for n in range(60):
        await broker.append("log-a", [Draft("data", n) for _ in range(50)])
        await clock.advance(1)
    with statements(broker) as asked:
        entries = await broker.read("log-a", limit=3, since=start + 30_000)
    assert [entry.offset for entry in entries] == [1500, 1501, 1502]
    assert len(asked) <= 13
    with statements(broker) as asked:
        assert await broker.read("log-a", since=clock.now() + 1) == []
    assert asked == []


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(st.integers(1, 4), st.integers(-3, 3)), min_size=1, max_size=12),
    after=st.integers(-2, 30),
    since=st.integers(-3, 30),
)
def test_times_never_decrease_so_that_reading_from_a_time_misses_nothing(
    steps: list[tuple[int, int]], after: int, since: int
) -> None:
    async def check() -> None:
        clock, name = ManualClock(1000), new_token()
        for count, later in steps:  # by processes whose clocks differ
            broker = await open_memory(name, clock)
            await broker.append("log-a", [Draft("data") for _ in range(count)])
            await broker.close()
            clock._now += later
        broker = await open_memory(name, clock)
        entries = await broker.read("log-a")
        times = [entry.time for entry in entries]
        assert times == sorted(times)
        wanted = [entry for entry in entries if entry.offset > after and entry.time >= 1000 + since]
        assert await broker.read("log-a", after, since=1000 + since) == wanted
        await broker.close()

    asyncio.run(check())


BAD: list[Callable[[EmbeddedBroker, str], Any]] = [
    lambda broker, name: broker.append(name, [Draft("data")]),
    lambda broker, name: broker.read(name),
    lambda broker, name: broker.list(name),
    lambda broker, name: broker.list("log-", name),
    lambda broker, name: broker.inbox("me").subscribe(name),
    lambda broker, name: broker.inbox("me").unsubscribe(name),
    lambda broker, name: broker.inbox("me").sync({name: None}),
    lambda broker, name: broker.inbox("me").commit({name: 0}),
]


@pytest.mark.parametrize("call", BAD)
@pytest.mark.parametrize("name", ["a b", "log/a", "日志", "x" * 65, "log-a\n", "../x", "\ud800"])
async def test_every_way_in_refuses_a_name_with_wrong_characters(
    broker: EmbeddedBroker, call: Callable[[EmbeddedBroker, str], Any], name: str
) -> None:
    with pytest.raises(ConfigError, match="LiteTopic"):
        await call(broker, name)
