"""The folder: what is left in it, what is taken from it, who may see it, and when a host ends."""

import asyncio
import fcntl
import os
import signal
import socket
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from local.kit import TOPIC, Programs, joined, until

from agentmesh.broker.local import folder as folder_module
from agentmesh.broker.local import open_local
from agentmesh.broker.local.folder import Folder
from agentmesh.broker.local.hosting import serve
from agentmesh.broker.local.spawn import LOG_LIMIT, Spawner
from agentmesh.broker.process import is_dead
from agentmesh.clock import SystemClock
from agentmesh.errors import BrokerUnavailable
from agentmesh.message import Draft


async def test_what_dead_processes_left_is_in_nobodys_way(folder: Path) -> None:
    folder.mkdir()
    (folder / "lock").write_text("child 99999999-1-gone\n")
    with closing(socket.socket(socket.AF_UNIX)) as stale:
        stale.bind(str(folder / "socket"))
    for alone in (True, False, True):
        async with joined(folder, alone=alone) as broker:
            await broker.append("log-a", [Draft("data", 1)])
    os.kill(Folder(folder).holder().pid, signal.SIGKILL)  # type: ignore[union-attr]


async def test_folder_socket_and_files_are_their_owners_alone(programs: Programs, folder: Path) -> None:
    before = os.umask(0)
    try:
        first = await programs.start()
        await first.do("append", "log-a", 0)
        assert (folder / "socket").stat().st_mode & 0o777 == 0o600
        await programs.start()
        await first.do("append", "log-a", 0)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()}
    assert modes == dict.fromkeys(["host.log", "lock", "mesh.db", "mesh.db-shm", "mesh.db-wal", "socket"], 0)


async def test_a_path_too_long_for_a_socket_works_where_the_system_can(programs: Programs, tmp_path: Path) -> None:
    programs.folder = tmp_path / ("deep" * 20) / ("deeper" * 15)
    one = await programs.start()
    two = await programs.start()
    await one.do("append", "log-a", 0)
    await programs.killed_host()
    assert await two.do("append", "log-a", 1) == 1


async def test_and_is_refused_where_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentmesh.broker.local.folder.os.path.isdir", lambda _: False)
    with pytest.raises(BrokerUnavailable, match="too long a path for a socket"):
        Folder(tmp_path / ("deep" * 30)).listen()


async def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "file_system", lambda *_: "nfs4")
    for alone in (True, False):
        with pytest.raises(BrokerUnavailable, match=r"network file system \(nfs4\).*Use a local disk"):
            await open_local(tmp_path / "mesh", SystemClock(), alone=alone)


async def test_a_host_whose_lock_is_removed_gives_way_and_loses_nothing(programs: Programs, folder: Path) -> None:
    one = await programs.start(alone=False)
    await one.do("subscribe", "log-a")
    polling = one.ask("poll")
    await one.do("append", "log-b", 0)
    first = programs.host()
    (folder / "lock").unlink()
    two = await programs.start()  # hosts in its own loop: the lock is free
    assert await two.do("append", "log-a", "news") == 0
    assert await polling == [["log-a", ["news"]]]
    assert await one.do("append", "log-b", 1) == 1
    await until(lambda: _gone(first))
    assert await two.do("read", "log-b") == [0, 1]


def _gone(pid: int) -> bool:
    return is_dead(f"{pid}-0-x")


async def test_a_host_that_was_deposed_commits_no_more(folder: Path) -> None:
    """Another epoch began: what it was asked for is left to the next host."""
    broker = await open_local(folder, SystemClock())
    await broker.append("log-a", [Draft("data", 1)])
    with sqlite3.connect(folder / "mesh.db") as db:
        db.execute("update host set epoch = epoch + 1, process = 'another'")
    db.close()
    with pytest.raises(BrokerUnavailable, match="another host by now"):
        await broker.append("log-a", [Draft("data", 2)])
    assert await broker.append("log-a", [Draft("data", 3)]) == 1
    assert broker.remote
    assert [entry.data for entry in await broker.read("log-a")] == [1, 3]
    await broker.close()
    os.kill(Folder(folder).holder().pid, signal.SIGKILL)  # type: ignore[union-attr]


async def test_a_host_ends_when_nobody_was_there_for_its_idle_time(folder: Path) -> None:
    hosting = asyncio.create_task(serve(folder, SystemClock(), idle=0.5))
    await until(lambda: (folder / "socket").exists())
    broker = await open_local(folder, SystemClock())
    await broker.append("log-a", [Draft("data", 1)])
    await asyncio.sleep(1.2)
    assert not hosting.done()
    await broker.close()
    assert await asyncio.wait_for(hosting, 5) == "nobody was there any more"
    assert Folder(folder).is_free()


async def test_a_second_host_of_a_folder_ends_at_once(programs: Programs, folder: Path) -> None:
    await programs.start(alone=False)
    assert await serve(folder, SystemClock()) == "another host has the folder"


async def test_the_host_is_in_a_session_of_its_own(programs: Programs, folder: Path) -> None:
    """Ctrl-C at a terminal goes to the programs there, not to their host."""
    program = await programs.start(alone=False)
    assert os.getsid(programs.host()) == programs.host()
    assert os.getsid(program.pid) == os.getsid(0)


def _is_collected(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


async def test_hosts_that_end_leave_no_zombies(programs: Programs, folder: Path) -> None:
    async with joined(folder, alone=False) as broker:
        for number in range(2):
            await broker.append("log-a", [Draft("data", number)])
            pid = await programs.killed_host()
            await until(partial(_is_collected, pid))


async def test_the_log_of_hosts_does_not_grow_without_bound(programs: Programs, folder: Path) -> None:
    folder.mkdir()
    (folder / "host.log").write_text("x" * (LOG_LIMIT + 1))
    program = await programs.start(alone=False)
    assert (folder / "host.log").stat().st_size < LOG_LIMIT
    (folder / "host.log").write_text("x" * (LOG_LIMIT + 1))
    await until(lambda: (folder / "host.log").stat().st_size < LOG_LIMIT, 4)
    await program.do("append", "log-a", 0)


async def test_of_many_that_could_start_a_host_one_does(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentmesh.broker.local import spawn

    started: list[int] = []

    def start(*_: object, **__: object) -> int:
        started.append(1)
        return 0

    monkeypatch.setattr("agentmesh.broker.local.spawn.os.posix_spawn", start)
    monkeypatch.setattr(Spawner, "_collect", lambda *_: None)
    monkeypatch.setattr(spawn, "_HANGS", 0.2)
    spawners = [Spawner(Folder(folder), ()) for _ in range(3)]
    with (folder / "host.log").open("a") as held:  # as the child holds it that was started
        fcntl.flock(held, fcntl.LOCK_EX)
        for each in spawners:
            each.start()
        assert started == []
        time.sleep(0.3)
        assert "does not come up" in spawners[0].start()
        assert started == [1]


async def test_a_host_that_cannot_open_the_store_says_why(folder: Path) -> None:
    folder.mkdir()
    (folder / "mesh.db").write_bytes(b"garbage" * 1000)
    with pytest.raises(BrokerUnavailable, match="does not come up: .*damaged"):
        await open_local(folder, SystemClock(), alone=False)


async def test_a_forked_child_does_not_keep_its_parents_leases(programs: Programs) -> None:
    """It inherits the connection; that closes with the parent all the same."""
    parent, other = await programs.start(alone=False), await programs.start()
    await parent.do("declare", TOPIC)
    await parent.do("publish", TOPIC, "call-1")
    assert await parent.do("lease", TOPIC) == [["call-1", 1]]
    child = await parent.do("fork")
    parent.kill()
    assert await other.do("lease", TOPIC, seconds=4) == [["call-1", 2]]
    os.kill(child, signal.SIGKILL)


async def test_another_event_loop_of_the_process_is_refused(programs: Programs, folder: Path) -> None:
    async with joined(folder, alone=False) as broker:

        def elsewhere() -> list[str]:
            errors = []
            for attempt in (lambda: open_local(folder, SystemClock()), lambda: broker.append("log-a", [])):
                try:
                    asyncio.run(attempt())
                except BrokerUnavailable as error:
                    errors.append(str(error))
            return errors

        errors = await asyncio.to_thread(elsewhere)
        assert len(errors) == 2
        assert all("event loop" in error for error in errors)
        assert await broker.append("log-a", [Draft("data", 1)]) == 0
