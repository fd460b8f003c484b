"""r-nacos on this machine: a server that speaks Nacos, as one process of our own.

Everything lies in one folder, which says what runs (`rnacos.pid`), so that another process can stop it.
"""

import asyncio
import json
import os
import shutil
import signal
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Final

from deploy.process import Process, ServerError, check_free, is_free, until

VERSION: Final = "0.8.8"
USER: Final = "nacos"
PASSWORD: Final = "nacos"
PORT: Final = 8848
_STARTS: Final = 6
_GRPC: Final = 1000
_CONSOLE: Final = 2000


def binary() -> Path:
    """The `rnacos` to run: `RNACOS_BIN`, on the path, or where cargo puts it. Raises `ServerError`."""
    told = os.environ.get("RNACOS_BIN") or shutil.which("rnacos")
    found = Path(told) if told else Path.home() / ".cargo" / "bin" / "rnacos"
    if not found.is_file():
        raise ServerError(
            f"There is no rnacos ({found}). Build it once, in about eight minutes (it needs Rust and a C compiler): "
            f"cargo install rnacos --version {VERSION}"
        )
    return found


class NacosServer:
    """A server in `folder`. It takes `port` (HTTP), + 1000 (gRPC) and + 2000 (console); 0: three that are free.

    With `auth` it wants a token, for `USER` with `PASSWORD`. What is stored survives `stop` and `kill`.
    """

    def __init__(self, folder: Path, port: int = 0, auth: bool = False) -> None:
        self.folder = folder.absolute()
        self.port = port or free_block()
        self._auth = auth
        self._process = Process(self.folder / "rnacos.pid", str(self.folder))

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """For `Mesh(registry=…)`."""
        return f"nacos://{self.address}"

    def start(self) -> None:
        """Start it, unless it runs; returns once what is written can be read back. Raises `ServerError`.

        An empty folder makes about one start in eight lose its storage: it then answers `true` to everything and keeps
        nothing. Such a start is thrown away and repeated.
        """
        if self.pid() is not None:
            return
        program = binary()
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        fresh = not any(data.iterdir())
        for port in (self.port, self.port + _GRPC, self.port + _CONSOLE):
            check_free(port, "r-nacos")
        for _ in range(_STARTS):
            self._spawn(program)
            if self._becomes_ready():
                return
            self.stop()
            if fresh:
                shutil.rmtree(data)
                data.mkdir()
        raise ServerError(f"r-nacos did not become ready in {_STARTS} starts:\n{self.log()}")

    async def started(self) -> None:
        """`start` for who must not block."""
        await asyncio.to_thread(self.start)

    def stop(self) -> None:
        """Stop it; what does not end in ten seconds is killed."""
        self._process.stop()

    def kill(self) -> None:
        """SIGKILL; returns once it is gone."""
        self._process.kill()

    def freeze(self) -> None:
        """SIGSTOP."""
        self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._process.signal(signal.SIGCONT)

    def pid(self) -> int | None:
        """Of the process, if it runs."""
        return self._process.pid()

    def log(self) -> str:
        """The end of what it printed."""
        try:
            return (self.folder / "out.log").read_text(errors="replace")[-3000:]
        except OSError:
            return ""

    def _spawn(self, program: Path) -> None:
        settings = {
            "RNACOS_SDK_HOST": "127.0.0.1",
            "RNACOS_CONSOLE_HOST": "127.0.0.1",
            "RNACOS_HTTP_PORT": self.port,
            "RNACOS_GRPC_PORT": self.port + _GRPC,
            "RNACOS_HTTP_CONSOLE_PORT": self.port + _CONSOLE,
            "RNACOS_RAFT_NODE_ADDR": f"127.0.0.1:{self.port + _GRPC}",
            "RNACOS_DATA_DIR": self.folder / "data",
            "RNACOS_ENABLE_OPEN_API_AUTH": str(self._auth).lower(),
            "RNACOS_INIT_ADMIN_USERNAME": USER,
            "RNACOS_INIT_ADMIN_PASSWORD": PASSWORD,
            "RNACOS_CONSOLE_ENABLE_CAPTCHA": "false",
            "RNACOS_NAMING_INSTANCE_METADATA_PERSISTENCE_ENABLE": "false",  # else the first metadata stay for ever
            "RUST_LOG": "warn",
        }
        environment = self.folder / "env"
        environment.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._process.start([program, "-e", environment], self.folder / "out.log", os.environ)

    def _becomes_ready(self) -> bool:
        """Whether it keeps what it is given; a start that panicked or ended is not waited for."""

        def settled() -> bool:
            return self.pid() is None or self._keeps() or "panicked" in self.log()

        return until(settled, 15) and self.pid() is not None and self._keeps()

    def _keeps(self) -> bool:
        value = uuid.uuid4().hex
        fields = {"dataId": "ready", "group": "readiness"}
        try:
            if self._auth:
                told = json.loads(self._ask("/auth/users/login", post={"username": USER, "password": PASSWORD}))
                fields["accessToken"] = told["accessToken"]
            self._ask("/cs/configs", post={**fields, "content": value})
            return until(lambda: self._ask(f"/cs/configs?{urllib.parse.urlencode(fields)}") == value, 0.5)
        except (OSError, ValueError, KeyError):
            return False

    def _ask(self, path: str, post: dict[str, str] | None = None) -> str:
        """Raises `OSError`."""
        body = None if post is None else urllib.parse.urlencode(post).encode()
        with urllib.request.urlopen(f"http://{self.address}/nacos/v1{path}", body, timeout=2) as answer:
            return str(answer.read().decode())


def free_block() -> int:
    """A port that is free together with its gRPC and console ports."""
    for port in range(21_000 + os.getpid() % 900, 29_000):
        if all(is_free(each) for each in (port, port + _GRPC, port + _CONSOLE)):
            return port
    raise ServerError("No ports are free between 21000 and 31000.")
