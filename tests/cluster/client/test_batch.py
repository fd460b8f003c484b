"""Requests that go together, without a server."""

import asyncio
from collections.abc import Sequence

import pytest

from agentmesh.broker.rocketmq.client.batch import Batch
from agentmesh.errors import BrokerUnavailable, ConfigError, MeshError


class Carrier:
    """Notes what goes together; `let_go` answers what is on its way."""

    def __init__(self) -> None:
        self.loads: list[list[int]] = []
        self.gate = asyncio.Event()

    async def carry(self, items: Sequence[int]) -> Sequence[int | MeshError]:
        self.loads.append(list(items))
        await self.gate.wait()
        return [ConfigError(f"{each} is odd") if each % 2 else each * 10 for each in items]


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_added_in_one_turn_of_the_loop_goes_together() -> None:
    carrier = Carrier()
    batch = Batch(carrier.carry, most=10, flying=1)
    futures = [batch.add(each) for each in (0, 2, 4)]
    carrier.gate.set()
    assert await asyncio.gather(*futures) == [0, 20, 40]
    assert carrier.loads == [[0, 2, 4]]


async def test_what_is_added_while_all_are_on_their_way_waits_and_goes_together() -> None:
    carrier = Carrier()
    batch = Batch(carrier.carry, most=3, flying=1)
    first = batch.add(0)
    await turn()
    others = [batch.add(each) for each in (2, 4, 6, 8)]
    await turn()
    assert carrier.loads == [[0]]
    carrier.gate.set()
    await asyncio.gather(first, *others)
    assert carrier.loads == [[0], [2, 4, 6], [8]]


async def test_a_load_stays_within_its_bound_but_one_item_always_goes() -> None:
    carrier = Carrier()
    carrier.gate.set()
    batch = Batch(carrier.carry, most=10, flying=1, bound=10, size=lambda item: item)
    await asyncio.gather(*(batch.add(each) for each in (100, 4, 4, 4)))
    assert carrier.loads == [[100], [4, 4], [4]]


async def test_each_item_gets_its_own_answer() -> None:
    carrier = Carrier()
    carrier.gate.set()
    batch = Batch(carrier.carry, most=10, flying=1)
    even, odd = batch.add(2), batch.add(3)
    assert await even == 20
    with pytest.raises(ConfigError, match="3 is odd"):
        await odd


async def test_an_error_of_the_request_is_everybodys() -> None:
    async def fail(items: Sequence[int]) -> Sequence[int]:
        raise BrokerUnavailable("gone")

    batch = Batch(fail, most=10, flying=1)
    results = await asyncio.gather(batch.add(1), batch.add(2), return_exceptions=True)
    assert [type(each) for each in results] == [BrokerUnavailable, BrokerUnavailable]


async def test_close_waits_for_everything_that_was_added() -> None:
    carrier = Carrier()
    batch = Batch(carrier.carry, most=1, flying=1)
    futures = [batch.add(each) for each in (0, 2)]
    closing = asyncio.create_task(batch.close())
    await turn()
    assert not closing.done()
    carrier.gate.set()
    await closing
    assert [each.result() for each in futures] == [0, 20]


async def test_a_waiter_that_is_cancelled_takes_nothing_back() -> None:
    carrier = Carrier()
    batch = Batch(carrier.carry, most=10, flying=1)
    gone, stays = batch.add(0), batch.add(2)
    gone.cancel()
    carrier.gate.set()
    assert await stays == 20
    assert carrier.loads == [[0, 2]]
