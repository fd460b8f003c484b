"""Logs of one's own, and what stands behind every follower."""

import asyncio
from contextlib import aclosing

import pytest

from agentmesh import BrokerUnavailable, Conflict, LiteTopic, Mesh, PayloadCorrupt
from agentmesh.message import Entry


async def take(log: LiteTopic, count: int, after: int = -1) -> list[Entry]:
    found: list[Entry] = []
    async with aclosing(log.follow(after)) as entries:
        async for entry in entries:
            found.append(entry)
            if len(found) == count:
                return found
    return found


@pytest.mark.promise(4)
async def test_a_follower_sees_what_was_then_what_comes_in_order(mesh: Mesh) -> None:
    log = mesh.lite_topic("notes-42")
    assert [await log.append({"n": n}) for n in range(3)] == [0, 1, 2]
    following = asyncio.create_task(take(log, 6))
    late = asyncio.create_task(take(mesh.lite_topic("notes-42"), 4, after=1))
    await asyncio.sleep(0)
    for n in range(3, 6):
        await log.append({"n": n})
    assert [entry.data["n"] for entry in await following] == [0, 1, 2, 3, 4, 5]
    assert [entry.offset for entry in await late] == [2, 3, 4, 5]


@pytest.mark.promise(4)
async def test_a_slow_follower_of_a_long_log_misses_nothing(mesh: Mesh) -> None:
    log = mesh.lite_topic("很长的日志")
    await asyncio.gather(*(log.append({"n": n}) for n in range(500)))
    slow, seen = mesh.lite_topic("很长的日志"), []
    async with aclosing(slow.follow()) as entries:
        async for entry in entries:
            seen.append(entry.offset)
            if len(seen) == 10:
                await asyncio.gather(*(log.append({"n": n}) for n in range(5000)))
            if len(seen) == 5500:
                break
    assert seen == list(range(5500))


async def test_appending_the_same_id_again_is_a_no_op(mesh: Mesh) -> None:
    log = mesh.lite_topic("notes")
    assert await log.append("a", id="1") == 0
    assert await log.append("b", id="2") == 1
    assert await log.append("a", id="1") == 0
    assert [entry.data for entry in await log.read()] == ["a", "b"]


async def test_a_writer_that_expects_another_offset_gets_a_conflict(mesh: Mesh) -> None:
    log = mesh.lite_topic("notes")
    await log.append("a", expect=0)
    with pytest.raises(Conflict):
        await log.append("b", expect=0)
    with pytest.raises(PayloadCorrupt):
        await log.append(object())
    assert [entry.data for entry in await log.read()] == ["a"]


async def test_a_log_is_read_in_pages_and_by_time(mesh: Mesh) -> None:
    log = mesh.lite_topic("notes")
    for n in range(5):
        await log.append(n)
    page = await log.read(after=1, limit=2)
    assert [entry.data for entry in page] == [2, 3]
    assert [entry.data for entry in await log.read(since=page[0].time)][-1] == 4
    assert not await log.read(since=page[-1].time + 1_000_000)


async def test_a_closed_mesh_says_so_and_ends_its_followers(url: str) -> None:
    async with Mesh(url) as mesh:
        log = mesh.lite_topic("notes")
        following = asyncio.create_task(take(log, 1))
        await asyncio.sleep(0)
    with pytest.raises(BrokerUnavailable):
        await following
    with pytest.raises(BrokerUnavailable):
        await log.append(1)
    with pytest.raises(BrokerUnavailable):
        mesh.lite_topic("notes")


async def test_what_is_in_a_mesh_is_there_when_it_is_opened_again(url: str) -> None:
    async with Mesh(url) as mesh:
        await mesh.lite_topic("notes").append({"a": [1, "二", None]})
    async with Mesh(url) as mesh, Mesh(url) as twin:
        assert [entry.data for entry in await mesh.lite_topic("notes").read()] == [{"a": [1, "二", None]}]
        await twin.lite_topic("notes").append(2)
        assert len(await mesh.lite_topic("notes").read()) == 2
