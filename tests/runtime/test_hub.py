"""Followers of a process that outlives its hosts."""

import asyncio
import os
import signal
from contextlib import aclosing
from pathlib import Path

import pytest

from agentmesh import BrokerUnavailable, Mesh
from agentmesh.broker.local import DATABASE
from agentmesh.broker.local.folder import Folder


def kill_host(folder: Path) -> None:
    holder = Folder(folder).holder()
    assert holder
    assert holder.kind == "child"
    os.kill(holder.pid, signal.SIGKILL)


async def first(mesh: Mesh, after: int) -> object:
    async with aclosing(mesh.lite_topic("notes").follow(after)) as entries:  # type: ignore[type-var]
        async for entry in entries:
            return entry.data
    return None


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_whoever_followed_while_no_host_came_up_can_follow_again_once_one_does(tmp_path: Path) -> None:
    database = tmp_path / DATABASE
    async with Mesh(f"local://{tmp_path}", alone=False, drain=0) as mesh:
        assert await mesh.lite_topic("notes").append("one") == 0
        waiting = asyncio.create_task(first(mesh, 0))
        await asyncio.sleep(0.2)
        kill_host(tmp_path)
        files = sorted(tmp_path.glob(f"{DATABASE}*"))
        for path in files:
            path.rename(tmp_path / f"aside-{path.name}")
        database.write_bytes(b"this is no database at all, and no host can open it" * 100)
        for follower in (waiting, first(mesh, 0)):
            with pytest.raises(BrokerUnavailable):
                await asyncio.wait_for(follower, 45)
        for path in files:
            (tmp_path / f"aside-{path.name}").rename(path)
        async with asyncio.timeout(40):
            while True:
                try:
                    assert await mesh.lite_topic("notes").append("two", id="two") == 1
                    assert await first(mesh, 0) == "two"
                    break
                except BrokerUnavailable:
                    await asyncio.sleep(0.2)
            waiting = asyncio.create_task(first(mesh, 1))
            await asyncio.sleep(0.2)
            await mesh.lite_topic("notes").append("three")
            assert await waiting == "three"


async def test_a_follower_that_could_not_begin_keeps_no_place(tmp_path: Path) -> None:
    async with Mesh(f"local://{tmp_path}", alone=False, drain=0) as mesh:
        hub = mesh._open_client().hub
        host = Folder(tmp_path).holder()
        assert host
        os.kill(host.pid, signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(hub.enter("log-a", -1), 0.2)
        finally:
            os.kill(host.pid, signal.SIGCONT)
        assert not hub._followers
        assert not hub._positions
