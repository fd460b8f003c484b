"""`local://DIR`: the embedded broker over a folder, for one process at a time."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.shared import Shared
from agentmesh.broker.embedded.store import Store
from agentmesh.broker.process import name_process
from agentmesh.clock import Clock
from agentmesh.errors import BrokerUnavailable

DATABASE: Final = "mesh.db"
LOCK: Final = "lock"
_NETWORK: Final = frozenset({"afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3"})
_shared: Final = Shared()
_locks: Final[set[int]] = set()


async def open_local(folder: str | Path, clock: Clock) -> EmbeddedBroker:
    """The mesh in `folder`, which is made if it is not there, readable by its owner alone.

    Raises `BrokerUnavailable` if another process has it open (and names its pid), if the folder cannot be read or
    written or is on a network file system, or if a newer version wrote it. What a dead process held is handed out again
    at once.
    """
    path = Path(folder).expanduser().resolve()  # noqa: ASYNC240 - a look at the folder's name, once
    return _shared.open(f"local://{path}", lambda on_close: _open(path, clock, on_close))


def _open(path: Path, clock: Clock, on_close: Callable[[], None]) -> EmbeddedBroker:
    lock = -1
    process = name_process()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_network(path)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _hold(path, lock)
        os.close(os.open(path / DATABASE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite's own files follow it
        store = Store(path / DATABASE, process)
    except BaseException as error:
        if lock >= 0:
            os.close(lock)
        if isinstance(error, OSError):
            raise BrokerUnavailable(
                f"{path} cannot hold a mesh: {error.strerror}. "
                "Name a folder that can be written, with --mesh local://DIR."
            ) from error
        raise
    _locks.add(lock)

    def close() -> None:
        store.close()
        _locks.discard(lock)
        os.close(lock)
        on_close()

    try:
        return EmbeddedBroker(store, clock, process=process, on_close=close)
    except BaseException:
        close()
        raise


def _hold(path: Path, lock: int) -> None:
    """Take the lock of the folder; the kernel gives it back when this process dies, however it dies."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        raise BrokerUnavailable(
            f"{path} is open in another process, pid {pid}. End that one, or use another folder: "
            "one process at a time can have a local mesh open."
        ) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _refuse_network(path: Path) -> None:
    """A network file system does not keep the promises of locks and of shared memory that SQLite's WAL stands on."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace")
    except OSError:
        return  # not Linux: nothing to go by
    kind = file_system(path, mounts)
    if kind in _NETWORK:
        raise BrokerUnavailable(
            f"{path} is on a network file system ({kind}), where a local mesh would not be safe. Use a local disk."
        )


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system that `path` is on, by the text of `/proc/self/mountinfo` (proc_pid_mountinfo(5))."""
    kinds = {}
    for line in mounts.splitlines():
        mount, _, source = line.partition(" - ")
        point = mount.split(" ")[4].replace("\\040", " ")
        kinds[point] = source.partition(" ")[0]
    return next((kinds[str(parent)] for parent in (path, *path.parents) if str(parent) in kinds), "")


def _forked() -> None:
    """In a forked child, what is open is the parent's: its lock ends with the parent, not with us."""
    for lock in _locks:
        os.close(lock)
    _locks.clear()
    _shared.disown()


os.register_at_fork(after_in_child=_forked)
