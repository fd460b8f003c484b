"""`agentmesh export` and `import` with a cluster at either end."""

from pathlib import Path
from typing import Any

import pytest
from cluster.conftest import Place
from transfer.kit import WAITING, WaitingAgent, contents, exported, fill, imported, mesh

from agentmesh.contracts import Tenant
from agentmesh.ids import new_token

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(240)]
UNLIMITED = Tenant("租户甲", weight=3, ceiling=8)


def but_limits(found: dict[str, Any]) -> dict[str, Any]:
    """What is the same on a cluster, which holds no limits of tenants."""
    return {**found, "tenants": [UNLIMITED if each.name == UNLIMITED.name else each for each in found["tenants"]]}


async def test_a_mesh_that_moves_to_a_cluster_and_back_is_the_same(place: Place, tmp_path: Path) -> None:
    async with mesh(f"memory://{new_token()}") as source:
        await fill(source)
        before = but_limits(await contents(source))
        raw, _ = await exported(source)
    async with mesh(place.broker, registry=place.registry, cache=tmp_path) as cluster:
        done = await imported(cluster, raw)
        assert [note for note in done.notes if "租户甲" not in note] == []
        assert await contents(cluster) == before
        again = await imported(cluster, raw)
        assert again.resumed
        back, sofar = await exported(cluster)
        assert sofar.problems == []
    async with mesh(f"local://{tmp_path / '网'}") as last:
        await imported(last, back)
        assert await contents(last) == before


async def test_what_waited_on_a_laptop_is_worked_on_in_a_cluster(place: Place, tmp_path: Path) -> None:
    async with mesh(f"memory://{new_token()}") as source:
        filled = await fill(source)
        raw, _ = await exported(source)
    agent = WaitingAgent()
    async with mesh(place.broker, registry=place.registry, cache=tmp_path) as cluster:
        await imported(cluster, raw)
        await cluster.registry.remove(WAITING)  # its card was another one
        await cluster.serve(agent)
        for each in filled.waiting:
            if each != filled.waiting[1]:  # that one is delayed
                await (await cluster.attach(each)).result()
        assert len(agent.done) == len(filled.waiting) - 1
