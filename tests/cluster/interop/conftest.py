"""The cluster as rocketmq-a2a's clients and agents see it."""

from collections.abc import AsyncIterator

import pytest
from cluster.interop.kit import Cluster


@pytest.fixture
async def cluster(rocketmq_url: str) -> AsyncIterator[Cluster]:
    async with Cluster(rocketmq_url) as cluster:
        yield cluster
