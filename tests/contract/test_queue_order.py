"""Contract, Queue: order by priority, between tenants, and by age."""

import asyncio

import pytest
from contract.kit import TOPIC, Backend, leased, published, task

from agentmesh.contracts import Broker, Delivery, Lease, Tenant
from agentmesh.message import Message

FLOOD = 3000
"""tests/broker/test_flood.py has more, once."""
IN_FLIGHT = 8


async def order(broker: Broker, limit: int = 100) -> list[str]:
    """The next tasks, as who published them and their number among those of that tenant."""
    return [lease.message.key for lease in await broker.lease([TOPIC], limit, 0, worker="w")]


async def wait_in_line(broker: Broker, *names: str, **fields: object) -> None:
    """Publish tasks, each of the tenant that its name begins with."""
    for name in names:
        await published(broker, tenant=name.rstrip("0123456789"), key=name, **fields)


@pytest.mark.promise(5)
@pytest.mark.needs("fairness")
async def test_tenants_take_turns_and_each_goes_by_age(broker: Broker) -> None:
    await wait_in_line(broker, "a1", "a2", "a3", "a4", "b1", "b2", "c1")
    assert await order(broker) == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


@pytest.mark.promise(5)
@pytest.mark.needs("priority")
async def test_priority_9_overtakes_priority_0_of_any_tenant(broker: Broker) -> None:
    await wait_in_line(broker, "a1", "a2", priority=0)
    await published(broker, key="first", priority=9)
    await wait_in_line(broker, "b1", priority=1)
    assert await order(broker) == ["first", "b1", "a1", "a2"]


async def drain(backend: Backend, leases: list[Lease], upto: str) -> int:
    """Work on what waits, `IN_FLIGHT` tasks at a time of a second each, until the call `upto` begins; how many began
    before it.
    """
    broker, begun = backend.broker, 0
    while True:
        await backend.passes(1)
        await asyncio.gather(*(broker.ack(lease) for lease in leases))
        leases = list(await broker.lease([TOPIC], IN_FLIGHT, 0, worker="w"))
        for lease in leases:
            if lease.message.id == upto:
                return begun
            begun += 1


@pytest.mark.promise(5)
@pytest.mark.needs("fairness")
@pytest.mark.parametrize("age", [0, 600])
async def test_a_flood_delays_the_first_task_of_another_tenant_by_no_more_than_what_is_in_flight(
    backend: Backend, broker: Broker, age: int
) -> None:
    for _ in range(0, FLOOD, 1000):
        flood = [task(tenant="flood", deadline=backend.now() + 10**9) for _ in range(1000)]
        await asyncio.gather(*map(broker.publish, flood))
    await backend.passes(age)
    leases = list(await broker.lease([TOPIC], IN_FLIGHT, 0, worker="w"))
    first = await published(broker, tenant="acme", deadline=backend.now() + 10**9)
    assert await drain(backend, leases, first.id) <= IN_FLIGHT
    again = await published(broker, tenant="acme", deadline=backend.now() + 10**9)
    assert await drain(backend, [], again.id) <= IN_FLIGHT


@pytest.mark.promise(5)
@pytest.mark.needs("fairness")
async def test_a_weight_shifts_the_shares_of_what_waits(broker: Broker) -> None:
    await wait_in_line(broker, *(f"a{n}" for n in range(60)), *(f"b{n}" for n in range(60)))
    before = await order(broker, 20)
    await broker.set_tenant(Tenant("a", weight=3))
    after = await order(broker, 40)
    assert sum(name.startswith("a") for name in before) == 10
    assert 28 <= sum(name.startswith("a") for name in after) <= 32


@pytest.mark.needs("reopens")
@pytest.mark.needs("fairness")
async def test_weights_and_ceilings_outlive_the_broker(backend: Backend, broker: Broker) -> None:
    await broker.set_tenant(Tenant("a", weight=3, ceiling=9))
    broker = await backend.reopen()
    assert list(await broker.tenants()) == [Tenant("a", weight=3, ceiling=9)]
    await wait_in_line(broker, *(f"b{n}" for n in range(4)), *(f"a{n}" for n in range(4)))
    await wait_in_line(broker, "a9", priority=9)
    taken = await order(broker)
    assert taken[0] == "a9"
    assert sum(name.startswith("a") for name in taken[1:5]) == 3


@pytest.mark.needs("priority")
async def test_a_priority_above_the_ceiling_is_lowered_and_entry_0_says_so(broker: Broker) -> None:
    high, default = await published(broker, tenant="acme", priority=9), await published(broker, priority=6)
    (submitted,) = await broker.read(high.id)
    assert (submitted.data["priority"], submitted.data["wished"]) == (5, 9)
    (submitted,) = await broker.read(default.id)
    assert submitted.data["priority"] == 6
    assert "wished" not in submitted.data
    assert [lease.message.id for lease in await broker.lease([TOPIC], 2, 0, worker="w")] == [default.id, high.id]


@pytest.mark.needs("priority")
async def test_a_ceiling_that_is_lifted_or_lowered_holds_for_what_waits(broker: Broker) -> None:
    await published(broker, key="six", priority=6)
    await published(broker, key="eight", tenant="acme", priority=8)
    await published(broker, key="nine", tenant="acme", priority=9)
    await broker.set_tenant(Tenant("acme", ceiling=9))
    assert await order(broker, 1) == ["nine"]
    await broker.set_tenant(Tenant("acme", ceiling=2))
    assert await order(broker) == ["six", "eight"]
    lowered = await published(broker, tenant="acme", priority=3)
    assert (await broker.read(lowered.id))[0].data["priority"] == 2


@pytest.mark.needs("priority")
async def test_a_task_that_waits_gains_a_level_for_each_aging(backend: Backend, broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(aging=60))
    await published(broker, key="old", priority=2)
    await backend.passes(119)
    await published(broker, key="new", priority=4)
    assert await order(broker, 1) == ["new"]
    await backend.passes(1)
    await published(broker, key="newer", priority=4)
    assert await order(broker) == ["old", "newer"]


@pytest.mark.needs("priority")
async def test_without_aging_a_task_keeps_its_level(backend: Backend, broker: Broker) -> None:
    await broker.declare(TOPIC, Delivery(aging=0))
    await published(broker, key="old", priority=3)
    await backend.passes(10_000)
    await published(broker, key="new", priority=4)
    assert await order(broker) == ["new", "old"]


@pytest.mark.needs("priority")
async def test_a_delayed_task_ages_from_when_it_could_begin(backend: Backend, broker: Broker) -> None:
    await published(broker, key="delayed", priority=0, not_before=backend.now() + 3_600_000)
    await backend.passes(3600)
    await published(broker, key="new", priority=1)
    assert await order(broker) == ["new", "delayed"]


@pytest.mark.needs("fairness")
async def test_a_task_that_comes_back_keeps_its_place_among_its_tenants(backend: Backend, broker: Broker) -> None:
    first = await published(broker, key="first")
    await wait_in_line(broker, "default1", "default2")
    lease = await leased(broker)
    assert lease.message.id == first.id
    await broker.nack(lease, error="E", not_before=backend.now() + 1000)
    await backend.passes(1)
    assert await order(broker) == ["first", "default1", "default2"]


@pytest.mark.needs("lanes")
@pytest.mark.needs("fairness")
async def test_tenants_take_turns_within_a_lane_too(broker: Broker) -> None:
    await wait_in_line(broker, "a1", "a2", "a3", "b1", lane="2.0")
    await wait_in_line(broker, "c1", lane="3.0")
    leases = await broker.lease([TOPIC], 9, 0, worker="w", lanes=["2.0"])
    assert [lease.message.key for lease in leases] == ["a1", "b1", "a2", "a3"]


@pytest.mark.needs("fairness")
async def test_many_tenants_come_and_go_and_each_has_its_turn(broker: Broker) -> None:
    messages = [task(tenant=f"tenant-{number}", key=str(number)) for number in range(2500)]
    await asyncio.gather(*map(broker.publish, messages))
    leases: list[Lease] = []
    while found := await broker.lease([TOPIC], 100, 0, worker="w"):
        leases += found
        await asyncio.gather(*(broker.ack(lease) for lease in found))
    assert {lease.message.key for lease in leases} == {message.key for message in messages}
    second: Message = await published(broker, tenant="tenant-7")
    assert (await leased(broker)).message.id == second.id
