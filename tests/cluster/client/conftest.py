"""A RocketMQ that runs, and topics and groups of the test's own on it.

It is the one of `AGENTMESH_TEST_CLUSTER` (see `tests/cluster/run.py`), or of `AGENTMESH_TEST_ENDPOINT` and
`AGENTMESH_TEST_REMOTING`, or the one at the usual ports.
"""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cluster.client.kit import Place

from agentmesh.broker.rocketmq.address import Address, read_address
from agentmesh.broker.rocketmq.client import Connection
from agentmesh.broker.rocketmq.remoting import Remoting

_HERE = Path(__file__).parent
_SERVERS = {"address", "secured", "without_lite", "local_mode", "fragile"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents and _SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.cluster)


@pytest.fixture
def address() -> Address:
    folder = os.environ.get("AGENTMESH_TEST_CLUSTER")
    if folder:
        return read_address(Path(folder, "steady", "url").read_text().strip())
    return Address(
        os.environ.get("AGENTMESH_TEST_ENDPOINT", "127.0.0.1:8081"),
        os.environ.get("AGENTMESH_TEST_REMOTING", "127.0.0.1:10911"),
    )


@pytest.fixture
async def remoting(address: Address) -> AsyncIterator[Remoting]:
    remoting = Remoting(address)
    yield remoting
    await remoting.close()


@pytest.fixture
async def connection(address: Address) -> AsyncIterator[Connection]:
    async with Connection(address) as connection:
        yield connection
        await connection.close(hurry=True)


@pytest.fixture
async def place(remoting: Remoting) -> AsyncIterator[Place]:
    place = Place(remoting)
    yield place
    await place.remove()
