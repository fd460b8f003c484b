"""Folders that cannot hold a mesh, files that are not ours or damaged, other processes: a named error, nothing lost."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agentmesh.broker.local import LocalBroker, file_system, open_local
from agentmesh.clock import SystemClock
from agentmesh.contracts import Delivery
from agentmesh.errors import BrokerUnavailable, MeshError
from agentmesh.message import Draft, Message

TOPIC = "WorkTask"


async def refused(folder: Path, match: str) -> None:
    """Opening it fails, says why, names the place, and leaves nothing locked behind."""
    for _ in range(2):
        with pytest.raises(BrokerUnavailable, match=match) as caught:
            await open_local(folder, SystemClock())
        assert str(folder) in str(caught.value)


async def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mesh").write_text("something else")
    await refused(tmp_path / "mesh", "cannot hold a mesh: .*local://DIR")
    await refused(tmp_path / "mesh" / "below", "cannot hold a mesh")
    assert (tmp_path / "mesh").read_text() == "something else"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a place where nobody can write")
async def test_a_folder_that_cannot_be_made_is_refused() -> None:
    await refused(Path("/proc/mesh"), "cannot hold a mesh")


@pytest.fixture
def immutable(tmp_path: Path) -> Iterator[Path]:
    """A folder in which nobody can write."""
    folder = tmp_path / "mesh"
    folder.mkdir()
    if os.geteuid():
        folder.chmod(0o500)
    elif not shutil.which("chattr") or subprocess.run(["chattr", "+i", folder], capture_output=True).returncode:
        pytest.skip("this file system has no immutable folders")
    yield folder
    if os.geteuid():
        folder.chmod(0o700)
    else:
        subprocess.run(["chattr", "-i", folder], check=True)


async def test_a_folder_that_cannot_be_written_is_refused(immutable: Path) -> None:
    await refused(immutable, "cannot hold a mesh: .*can be written")


@pytest.mark.parametrize("name", ["lock", "mesh.db"])
async def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    await refused(tmp_path, "cannot")


async def opened(folder: Path) -> LocalBroker:
    return await open_local(folder, SystemClock())


async def with_a_message(folder: Path, body: bytes = b"x") -> None:
    broker = await opened(folder)
    await broker.declare(TOPIC, Delivery())
    await broker.publish(Message(id="call-1", topic=TOPIC, body=body))
    await broker.close()


async def test_a_mesh_of_a_newer_version_is_refused_and_kept(tmp_path: Path) -> None:
    await with_a_message(tmp_path)
    with sqlite3.connect(tmp_path / "mesh.db") as db:
        db.execute("pragma user_version = 99")
    db.close()
    await refused(tmp_path, "schema 99.*newer.*Upgrade")
    with sqlite3.connect(tmp_path / "mesh.db") as db:
        assert db.execute("select count(*) from task").fetchone() == (1,)
    db.close()


@pytest.mark.parametrize("version", [0, 1, 7])
async def test_somebody_elses_database_is_refused_and_kept(tmp_path: Path, version: int) -> None:
    with sqlite3.connect(tmp_path / "mesh.db") as db:
        db.execute("create table theirs (a)")
        db.execute(f"pragma user_version = {version}")
    db.close()
    before = (tmp_path / "mesh.db").read_bytes()
    await refused(tmp_path, "a database of something else")
    assert (tmp_path / "mesh.db").read_bytes() == before


async def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mesh.db").write_bytes(b"garbage" * 1000)
    await refused(tmp_path, "damaged.*doctor")
    assert (tmp_path / "mesh.db").read_bytes() == b"garbage" * 1000


async def test_the_files_of_a_mesh_are_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mesh"
    before = os.umask(0)
    try:
        broker = await opened(folder)
        await broker.append("log-a", [Draft("data", 1)])
        modes = {path.name: path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["mesh", "lock", "socket", "mesh.db", "mesh.db-wal", "mesh.db-shm"], 0)
    await broker.close()


async def test_an_empty_file_becomes_a_mesh(tmp_path: Path) -> None:
    (tmp_path / "mesh.db").touch()
    await with_a_message(tmp_path)


@pytest.mark.parametrize("size", [100, 3000])
async def test_a_damaged_page_is_told_and_what_can_be_read_is_read(tmp_path: Path, size: int) -> None:
    broker = await opened(tmp_path)
    for number in range(20):
        data = f"mark-{number:02}" * (size // 7)
        await broker.append(f"log-{number:02}", [Draft("data", data) for _ in range(60)])
    await broker.close()
    raw = bytearray((tmp_path / "mesh.db").read_bytes())
    page = raw.rindex(b"mark-07" * 9) // 4096
    raw[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    (tmp_path / "mesh.db").write_bytes(raw)
    broker = await opened(tmp_path)
    whole, damaged = [], []
    for number in range(20):
        try:
            if len(await broker.read(f"log-{number:02}")) == 60:
                whole.append(number)
        except MeshError as error:
            damaged.append(str(error))
    assert 0 < len(whole) < 20
    assert len(damaged) == 20 - len(whole)
    assert all("damaged" in error or "cannot be decoded" in error for error in damaged)
    await broker.close()


async def test_a_log_that_cannot_be_read_keeps_nobody_from_the_others(tmp_path: Path) -> None:
    broker = await opened(tmp_path)
    for name in ("log-a", "log-b", "log-c"):
        await broker.append(name, [Draft("data", name)])
    await broker.close()
    with sqlite3.connect(tmp_path / "mesh.db") as db:
        db.execute("update entry set content = x'09' where lite_topic = 2")
    db.close()
    broker = await opened(tmp_path)
    inbox = broker.inbox("me")
    await inbox.sync({"log-a": -1, "log-b": -1, "log-c": -1})
    batches = {batch.lite_topic: [entry.data for entry in batch.entries] for batch in await inbox.poll(10, 0)}
    assert batches == {"log-a": ["log-a"], "log-b": [], "log-c": ["log-c"]}
    with pytest.raises(MeshError, match="Wire version 9"):
        await broker.read("log-b")
    await broker.close()


async def test_a_task_that_cannot_be_decoded_is_told_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await with_a_message(tmp_path)
    with sqlite3.connect(tmp_path / "mesh.db") as db:
        db.execute("update task set message = x'02'")
    db.close()
    broker = await opened(tmp_path)
    assert "a task cannot be read and is left out" in capsys.readouterr().err
    assert [stats.waiting for stats in await broker.stats()] == [0]
    await broker.close()
    with sqlite3.connect(tmp_path / "mesh.db") as db:
        assert db.execute("select count(*) from task").fetchone() == (1,)
    db.close()


# Others

HOLDER = """
import asyncio, os, sys
from agentmesh.broker.local import open_local
from agentmesh.clock import SystemClock

async def main():
    broker = await open_local(sys.argv[1], SystemClock())
    print(os.getpid(), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await broker.close()

asyncio.run(main())
"""

FORKING = """
import asyncio, os, sys
from agentmesh.broker.local import open_local
from agentmesh.clock import SystemClock
from agentmesh.errors import BrokerUnavailable

async def use(broker):
    try:
        await broker.append("log-a", [])
    except BrokerUnavailable as error:
        print("fork" in str(error), flush=True)

async def main():
    broker = await open_local(sys.argv[1], SystemClock())
    if os.fork() == 0:
        asyncio.set_event_loop(None)
        asyncio._set_running_loop(None)
        asyncio.new_event_loop().run_until_complete(use(broker))
        sys.stdin.readline()
        os._exit(0)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

asyncio.run(main())
"""


@contextmanager
def running(program: str, folder: Path) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


async def test_a_process_that_is_killed_leaves_the_folder_free(tmp_path: Path) -> None:
    with running(HOLDER, tmp_path) as process:
        assert said(process) == str(process.pid)
        process.kill()
        process.wait()
        await with_a_message(tmp_path)


async def test_a_process_that_closes_lets_the_next_one_in(tmp_path: Path) -> None:
    with running(HOLDER, tmp_path) as process:
        said(process)
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.wait(10) == 0
    await with_a_message(tmp_path)


async def test_another_event_loop_of_the_process_is_refused(tmp_path: Path) -> None:
    broker = await opened(tmp_path)
    errors: list[Exception] = []

    def elsewhere() -> None:
        for attempt in (opened(tmp_path), broker.append("log-a", [])):
            try:
                asyncio.run(attempt)
            except BrokerUnavailable as error:
                errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(errors) == 2
    assert all("event loop" in str(error) for error in errors)
    await broker.close()


async def test_a_loop_that_ended_without_closing_leaves_the_folder_free(tmp_path: Path) -> None:
    await asyncio.to_thread(lambda: asyncio.run(opened(tmp_path)))
    await with_a_message(tmp_path)


async def test_a_forked_child_cannot_use_the_mesh_and_does_not_keep_it_locked(tmp_path: Path) -> None:
    with running(FORKING, tmp_path) as process:
        assert said(process) == "True"
        process.kill()
        process.wait()
        await with_a_message(tmp_path)


def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount() -> None:
    mounts = "\n".join(
        [
            "22 27 0:21 / / rw,relatime - ext4 /dev/vda rw",
            "23 22 0:40 / /srv rw,relatime shared:1 - nfs4 server:/srv rw",
            "24 23 0:41 / /srv/me/local\\040disk rw - xfs /dev/vdb rw",
        ]
    )
    assert file_system(Path("/var/mesh"), mounts) == "ext4"
    assert file_system(Path("/srv/me/mesh"), mounts) == "nfs4"
    assert file_system(Path("/srv/me/local disk/mesh"), mounts) == "xfs"
    assert file_system(Path("/srvr"), mounts) == "ext4"
    assert file_system(Path("/x"), "") == ""


async def test_only_the_owner_can_read_what_is_stored(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    broker = await open_local(tmp_path, SystemClock())
    await broker.append("notes", [Draft("data", {"secret": 1})])
    assert {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == dict.fromkeys(
        ("lock", "mesh.db", "mesh.db-shm", "mesh.db-wal", "socket"), 0
    )
    await broker.close()
