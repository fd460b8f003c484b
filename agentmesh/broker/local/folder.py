"""The folder of a `local://` mesh: its lock, its socket, and where it may lie."""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, NamedTuple
from weakref import WeakSet

from agentmesh.broker.process import pid_of
from agentmesh.errors import BrokerUnavailable

DATABASE: Final = "mesh.db"
LOCK: Final = "lock"
SOCKET: Final = "socket"
_NETWORK: Final = frozenset({"afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3"})
_PATH_LIMIT: Final = 100
"""Of a Unix socket's address: 108 bytes on Linux, 104 elsewhere (unix(7))."""

_sockets: Final[WeakSet[socket.socket]] = WeakSet()

Kind = Literal["program", "child"]
"""Who hosts: a program in its own loop, or the child that runs no user code."""


class Holder(NamedTuple):
    """Who holds the lock, by what the lock file says."""

    kind: Kind
    process: str

    @property
    def pid(self) -> int:
        return pid_of(self.process)


class Lock:
    """The lock of a folder, held. The kernel gives it back when this process dies, however it dies."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def is_of(self, path: Path) -> bool:
        """Whether `path` is still the file that is locked; if somebody removed it, others can lock another one."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(path))
        except OSError:
            return False

    def release(self) -> None:
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            self.disown()

    def disown(self) -> None:
        """Close it; in a forked child the parent goes on holding it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Folder:
    """A folder that holds a mesh, made if it is not there, readable by its owner alone.

    Raises `BrokerUnavailable` if it cannot be made or read, or is on a network file system.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().resolve()
        with self._explained():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_network(self.path)

    @property
    def database(self) -> Path:
        return self.path / DATABASE

    def take(self, kind: Kind, process: str) -> Lock | None:
        """The lock, if nobody holds it."""
        with self._explained():
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{kind} {process}\n".encode(), 0)
                os.close(os.open(self.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite's own follow it
            except BlockingIOError:
                os.close(descriptor)
                return None
            except BaseException:
                os.close(descriptor)
                raise
            return Lock(descriptor)

    def is_free(self) -> bool:
        """Whether nobody holds the lock."""
        lock = None
        with contextlib.suppress(OSError):
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CLOEXEC)
            lock = Lock(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            finally:
                lock.disown()
        return True

    def holder(self) -> Holder | None:
        """Who holds the lock, or held it last; None if that cannot be told."""
        try:
            kind, _, process = (self.path / LOCK).read_text(errors="replace").strip().partition(" ")
        except OSError:
            return None
        if kind in ("program", "child") and pid_of(process):
            return Holder("child" if kind == "child" else "program", process)
        return None

    def listen(self) -> socket.socket:
        """The folder's socket, bound, for its owner alone. Whoever holds the lock may have it."""
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _sockets.add(server)
        try:
            with self._explained(), self._address() as address:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path / SOCKET)
                os.fchmod(server.fileno(), 0o600)
                server.bind(address)
                os.chmod(self.path / SOCKET, 0o600)
                server.listen(128)
        except BaseException:
            server.close()
            raise
        server.setblocking(False)
        return server

    def connect(self) -> socket.socket:
        """A connection to whoever listens. Raises `OSError` if nobody does."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        _sockets.add(client)
        try:
            with self._address() as address:
                client.setblocking(False)
                client.connect(address)
        except BaseException:
            client.close()
            raise
        return client

    @contextlib.contextmanager
    def _address(self) -> Iterator[str]:
        """The socket's address. One that is too long goes by way of an open descriptor of the folder, where the system
        can do that."""
        address = str(self.path / SOCKET)
        if len(os.fsencode(address)) <= _PATH_LIMIT:
            yield address
            return
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            short = f"/proc/self/fd/{folder}"
            if not os.path.isdir(short):
                raise BrokerUnavailable(
                    f"{self.path} is too long a path for a socket ({_PATH_LIMIT} bytes). Use a shorter one."
                )
            yield f"{short}/{SOCKET}"
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BrokerUnavailable(
                f"{self.path} cannot hold a mesh: {error.strerror}. "
                "Name a folder that can be written, with --mesh local://DIR."
            ) from error


def disown_sockets() -> None:
    """In a forked child: let go of the parent's sockets, so that they close when the parent dies. Their numbers stay
    taken, since what was inherited with them may close them again."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for each in list(_sockets):
        if each.fileno() >= 0:
            os.dup2(nothing, each.fileno(), inheritable=False)
    os.close(nothing)


def peer(connection: socket.socket) -> tuple[int, int]:
    """The pid and the user of the process at the other side, that called connect or listen (unix(7), SO_PEERCRED); 0
    and ours where the system does not tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return 0, os.getuid()
    raw = connection.getsockopt(socket.SOL_SOCKET, option, 12)
    return int.from_bytes(raw[:4], "little", signed=True), int.from_bytes(raw[4:8], "little", signed=True)


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
