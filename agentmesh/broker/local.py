"""`local://DIR`: the embedded broker over a folder, for one process at a time."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agentmesh.broker.embedded.broker import EmbeddedBroker
from agentmesh.broker.embedded.shared import Shared
from agentmesh.broker.embedded.store import Store
from agentmesh.clock import Clock
from agentmesh.errors import BrokerUnavailable

DATABASE: Final = "mesh.db"
LOCK: Final = "lock"
_shared: Final = Shared()


async def open_local(folder: str | Path, clock: Clock) -> EmbeddedBroker:
    """The mesh in `folder`, which is made if it is not there, readable by its owner alone.

    Raises `BrokerUnavailable` if another process has it open (and names its pid), if the folder cannot be read or
    written, or if a newer version wrote it. What a dead process held is handed out again at once.
    """
    path = Path(folder).expanduser().resolve()  # noqa: ASYNC240 - a look at the folder's name, once
    return _shared.open(f"local://{path}", lambda on_close: _open(path, clock, on_close))


def _open(path: Path, clock: Clock, on_close: Callable[[], None]) -> EmbeddedBroker:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BrokerUnavailable(
            f"{path} cannot hold a mesh: {error.strerror}. Name a folder that can be written, with --mesh local://DIR."
        ) from error
    try:
        _hold(path, lock)
        store = Store(path / DATABASE)
    except BaseException:
        os.close(lock)
        raise

    def close() -> None:
        store.close()
        os.close(lock)
        on_close()

    return EmbeddedBroker(store, clock, on_close=close)


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
