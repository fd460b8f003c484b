"""The backends that the contract suite runs against.

A backend is an object with the methods of `kit.Backend`; a further one is a function here and its name among
the parameters. What it cannot give it says in its flags, and the tests that ask for it are skipped.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from contract.across import HostProcess
from contract.cluster import Cluster
from contract.kit import FOLDER, Backend

from agentmesh.broker.local import open_local
from agentmesh.broker.memory import open_memory
from agentmesh.clock import ManualClock
from agentmesh.contracts import Broker, Delivery, Retry
from agentmesh.ids import new_token

START = 1_800_000_000_123
"""Not a round time, so that rounding would show."""


def _memory(folder: Path) -> Backend:
    clock, name = ManualClock(START), new_token()
    return Backend(clock, lambda: open_memory(name, clock))


def _local(folder: Path) -> Backend:
    clock = ManualClock(START)
    return Backend(clock, lambda: open_local(folder / "mesh", clock))


def _across(folder: Path) -> Backend:
    """The host is another process, and so is its clock."""
    host = HostProcess(folder / "mesh", START)
    return Backend(host.clock, lambda: host.open(alone=False), host.stop)


def _rocketmq(folder: Path) -> Backend:
    """The servers are RocketMQ's; `tests/cluster/run.py` starts them."""
    cluster = Cluster()
    return Backend(
        cluster.clock,
        cluster.open,
        cluster.sweep,
        transactions=False,
        expect=False,
        priority=False,
        fairness=False,
        quotas=False,
        ttl=False,
        drives_out=False,
        keeps_age=False,
        shortest_lease=10,
        slack=8000,
    )


BACKENDS = {"memory": _memory, "local": _local, "across": _across}
if FOLDER:
    BACKENDS["rocketmq"] = _rocketmq


@pytest.fixture(
    params=[pytest.param(each, marks=pytest.mark.cluster if each == "rocketmq" else ()) for each in BACKENDS]
)
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    found = BACKENDS[request.param](tmp_path)
    for flag in (mark.args[0] for mark in request.node.iter_markers("needs")):
        if not getattr(found, flag):
            pytest.skip(f"{request.param} has no {flag}")
    await found.open()
    yield found
    await found.close()
    await found.stop()


@pytest.fixture
async def broker(backend: Backend) -> Broker:
    """The open broker, with the topic of the tests: a lease of 30 s, three lost attempts."""
    await backend.broker.declare("WeatherAgentTask", Delivery(lease=30, retry=Retry(lost=3)))
    return backend.broker
