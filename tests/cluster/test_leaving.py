"""A mesh that is left leaves no groups behind."""

import asyncio
from time import monotonic

import pytest
from cluster.conftest import Place

from agentmesh import Agent, Mesh, skill
from agentmesh.broker.rocketmq.address import read_address
from agentmesh.broker.rocketmq.remoting import Remoting

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]
POLLS_END = 8


class SkyAgent(Agent):
    """Weather."""

    @skill
    async def forecast(self, city: str) -> str:
        """The weather of a city."""
        return f"sunny in {city}"


async def test_the_groups_of_its_inboxes_are_gone_soon_and_for_good(place: Place) -> None:
    address = read_address(place.broker)
    async with Mesh(place.broker, place.registry) as worker:
        await worker.serve(SkyAgent())
        async with Mesh(place.broker, place.registry) as mesh:
            assert await mesh.call("SkyAgentTask", {"city": "杭州"}) == "sunny in 杭州"
            await mesh.lite_topic("notes").append("a note")
            began = monotonic()
        took = monotonic() - began
    await asyncio.sleep(POLLS_END)
    remoting = Remoting(address)
    groups = [name for name in await remoting.groups() if name.startswith(f"{address.namespace}-agentmesh-inbox")]
    await remoting.close()
    assert groups == []
    assert took < 4
