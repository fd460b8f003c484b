"""A RocketMQ cluster on this machine: name server, broker and proxy as processes of our own.

The jars come through Maven, once, into the cache folder of the user. Everything else lies in one folder, which says
what runs (`NAME.pid`), so that another process can stop it.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Final, Literal

from deploy.process import Process, ServerError, check_free, is_free, until

VERSION: Final = "5.5.0"
USER: Final = "admin"
PASSWORD: Final = "admin-secret-1"
Part = Literal["namesrv", "broker", "proxy"]
PARTS: Final[tuple[Part, ...]] = ("namesrv", "broker", "proxy")

_HERE: Final = Path(__file__).parent / "conf"
_DEADLINE: Final[dict[Part, float]] = {"namesrv": 60, "broker": 300, "proxy": 120}
_CLASSES: Final[dict[Part, str]] = {
    "namesrv": "org.apache.rocketmq.namesrv.NamesrvStartup",
    "broker": "org.apache.rocketmq.broker.BrokerStartup",
    "proxy": "org.apache.rocketmq.proxy.ProxyStartup",
}
_HEAPS: Final[dict[Part, tuple[str, str, str]]] = {
    "namesrv": ("96m", "128m", "64m"),
    "broker": ("384m", "640m", "256m"),
    "proxy": ("192m", "384m", "192m"),
}
"""First heap, largest heap, direct memory: they carry all figures of docs/cluster.md."""

_JAVA: Final = (
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
    *(f"--add-opens=java.base/{each}=ALL-UNNAMED" for each in ("java.nio", "sun.nio.ch", "java.lang", "java.util")),
    "-XX:+UseSerialGC",
    "-XX:-UseLargePages",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
    "-Dcom.rocketmq.remoting.frameMaxLength=16777216",
)


def cache() -> Path:
    """Where what is downloaded or built is kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentmesh"


def jars() -> Path:
    """The folder of the jars; they are fetched if they are not there. Raises `ServerError`."""
    folder = cache() / f"rocketmq-{VERSION}"
    if folder.is_dir():
        return folder
    for tool, package in (("java", "openjdk-17-jre-headless"), ("mvn", "maven")):
        if not shutil.which(tool):
            raise ServerError(f"There is no `{tool}`. Install Java 17 or newer and Maven: apt-get install {package}.")
    print(f"Fetching RocketMQ {VERSION} (about 150 jars, once)", flush=True)
    part = folder.with_name(f"{folder.name}.{os.getpid()}")
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
    command = ["mvn", "-q", "-B", "-f", str(_HERE / "pom.xml"), goal, "-DincludeScope=runtime"]
    done = subprocess.run([*command, f"-DoutputDirectory={part}"], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(part, ignore_errors=True)
        raise ServerError(f"Maven could not fetch RocketMQ {VERSION}:\n{(done.stdout + done.stderr)[-2000:]}")
    with contextlib.suppress(OSError):  # somebody else was faster
        part.rename(folder)
    shutil.rmtree(part, ignore_errors=True)
    return folder


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that are free now."""
    for first in range(20_000 + os.getpid() % 500 * 20, 32_000, count):
        if all(is_free(port) for port in range(first, first + count)):
            return first
    raise ServerError("No ports are free between 20000 and 32000.")


class RocketMQ:
    """A cluster in `folder`. Without `first_port` it has the usual ports: 9876, 10911, 8080 and 8081.

    `acl` demands signatures (`USER`, `PASSWORD` may do everything). `settings` are lines for broker.conf that override
    ours. `mode` is the proxy's; `lite` says whether the broker has LiteTopics: what is wrong on purpose is for tests.
    `environment` is what a part gets besides ours.
    """

    def __init__(
        self,
        folder: Path,
        *,
        first_port: int | None = None,
        acl: bool = False,
        settings: Sequence[str] = (),
        mode: Literal["cluster", "local"] = "cluster",
        lite: bool = True,
        events: int = 100_000,
        flush: Literal["ASYNC_FLUSH", "SYNC_FLUSH"] = "ASYNC_FLUSH",
        tls: tuple[Path, Path] | None = None,
        environment: Mapping[Part, Mapping[str, str]] | None = None,
    ) -> None:
        self.folder = folder.absolute()
        ports = (
            (9876, 10911, 10912, 8080, 8081)
            if first_port is None
            else (first_port, first_port + 4, first_port + 5, first_port + 6, first_port + 7)
        )  # the broker also takes its port − 2
        self._ports = dict(zip(("NAMESRV", "BROKER", "HA", "REMOTING", "PROXY"), ports, strict=True))
        self._acl = acl
        self._settings = settings
        self._mode = mode
        self._lite = lite
        self._events = events
        self._flush = flush
        self._tls = tls
        self._environment = dict(environment or {})
        self._processes = {
            part: Process(self.folder / f"{part}.pid", _CLASSES[part], str(self.folder)) for part in PARTS
        }

    @property
    def endpoint(self) -> str:
        """HOST:PORT of the proxy's gRPC."""
        return f"127.0.0.1:{self._ports['PROXY']}"

    @property
    def remoting(self) -> str:
        """HOST:PORT of the broker."""
        return f"127.0.0.1:{self._ports['BROKER']}"

    @property
    def proxy_remoting(self) -> str:
        """HOST:PORT of the proxy's remoting protocol."""
        return f"127.0.0.1:{self._ports['REMOTING']}"

    @property
    def namesrv(self) -> str:
        """HOST:PORT of the name server."""
        return f"127.0.0.1:{self._ports['NAMESRV']}"

    @property
    def url(self) -> str:
        """For `Mesh(…)`."""
        return f"rocketmq://{self.endpoint}?remoting={self.remoting}"

    def start(self, *parts: Part) -> None:
        """Start these, or all; returns once each says that it is up. What runs already is left alone."""
        library = jars()
        self._write_settings()
        for part in parts or PARTS:
            if self.pid(part) is None:
                self._check_ports(part)
                self._start(part, library)

    def stop(self, *parts: Part) -> None:
        """Stop these, or all, the last one first; what does not end in ten seconds is killed."""
        for part in reversed(parts or PARTS):
            self._processes[part].stop()

    def kill(self, *parts: Part) -> None:
        """SIGKILL these, or all; returns once they are gone."""
        for part in reversed(parts or PARTS):
            self._processes[part].kill()

    def freeze(self, part: Part) -> None:
        """SIGSTOP."""
        self._processes[part].signal(signal.SIGSTOP)

    def thaw(self, part: Part) -> None:
        """SIGCONT."""
        self._processes[part].signal(signal.SIGCONT)

    def pid(self, part: Part) -> int | None:
        """Of the process, if it runs."""
        return self._processes[part].pid()

    def memory(self, part: Part) -> int:
        """What it takes (RSS, bytes)."""
        pages = Path(f"/proc/{self.pid(part)}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def mqadmin(self, *arguments: str) -> str:
        """What `mqadmin` prints; a JVM of its own, so it takes seconds."""
        command = ["java", *self._flags(), "-Xmx128m", "-cp", f"{jars()}/*"]
        main = "org.apache.rocketmq.tools.command.MQAdminStartup"
        return subprocess.run([*command, main, *arguments], capture_output=True, text=True, check=False).stdout

    def log(self, part: Part) -> str:
        """The end of what it printed."""
        try:
            return (self.folder / "out" / f"{part}.log").read_text(errors="replace")[-3000:]
        except OSError:
            return ""

    def _write_settings(self) -> None:
        for each in ("tmp", "store", "out", "conf"):
            (self.folder / each).mkdir(parents=True, exist_ok=True)
        values = {
            **self._ports,
            "STORE": str(self.folder / "store"),
            "FLUSH": self._flush,
            "LITE": str(self._lite).lower(),
            "EVENTS": self._events,
            "USER": USER,
            "PASSWORD": PASSWORD,
        }
        conf = (_HERE / "broker.conf").read_text() + ((_HERE / "broker-acl.conf").read_text() if self._acl else "")
        lines = Template(conf).substitute(values).splitlines()
        overridden = {each.partition("=")[0] for each in self._settings}
        kept = [line for line in lines if line.partition("=")[0] not in overridden]
        (self.folder / "conf" / "broker.conf").write_text("\n".join([*kept, *self._settings]) + "\n")
        proxy = json.loads(Template((_HERE / "proxy.json").read_text()).substitute(values))
        if self._acl:
            proxy |= _PROXY_ACL
        if self._tls:
            certificate, key = self._tls
            proxy |= {"tlsTestModeEnable": False, "tlsCertPath": str(certificate), "tlsKeyPath": str(key)}
        (self.folder / "conf" / "proxy.json").write_text(json.dumps(proxy | {"proxyMode": self._mode}, indent=2))
        (self.folder / "conf" / "namesrv.conf").write_text(
            f"listenPort={self._ports['NAMESRV']}\nbindAddress=127.0.0.1\n"
        )

    def _start(self, part: Part, library: Path) -> None:
        """The proxy ends by itself while the name server does not know the broker yet: it is started again."""
        for attempt in range(6):
            if self._start_once(part, library):
                return
            if part != "proxy" or attempt == 5:
                break
            time.sleep(1)
        raise ServerError(f"RocketMQ's {part} did not start:\n{self.log(part)}")

    def _start_once(self, part: Part, library: Path) -> bool:
        first, largest, direct = _HEAPS[part]
        command = ["java", *self._flags(), f"-Xms{first}", f"-Xmx{largest}", f"-XX:MaxDirectMemorySize={direct}"]
        arguments = {
            "namesrv": ["-c", str(self.folder / "conf" / "namesrv.conf")],
            "broker": ["-c", str(self.folder / "conf" / "broker.conf"), "-n", self.namesrv],
            "proxy": ["-pm", self._mode, "-n", self.namesrv, "-pc", str(self.folder / "conf" / "proxy.json")],
        }[part]
        if part == "proxy" and self._mode == "local":
            arguments += ["-bc", str(self.folder / "conf" / "broker.conf")]
        homes = {"ROCKETMQ_HOME": str(self.folder), "RMQ_PROXY_HOME": str(self.folder)}
        environment = {**os.environ, **homes, **self._environment.get(part, {})}
        path = self.folder / "out" / f"{part}.log"
        process = self._processes[part]
        process.start([*command, "-cp", f"{library}/*", _CLASSES[part], *arguments], path, environment)
        pid = process.pid()
        if pid:
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        word = b"startup successfully" if part == "proxy" else b"boot success"
        until(lambda: word in path.read_bytes() or process.pid() is None, _DEADLINE[part])
        return process.pid() is not None and word in path.read_bytes()

    def _flags(self) -> list[str]:
        flags = [*_JAVA, f"-Duser.home={self.folder}", f"-Djava.io.tmpdir={self.folder / 'tmp'}"]
        return [*flags, f"-Drocketmq.home.dir={self.folder}", f"-Drocketmq.namesrv.addr={self.namesrv}"]

    def _check_ports(self, part: Part) -> None:
        names = {"namesrv": ("NAMESRV",), "broker": ("BROKER", "HA"), "proxy": ("PROXY", "REMOTING")}[part]
        for port in (self._ports[name] for name in names):
            check_free(port, f"RocketMQ's {part}")


_PROXY_ACL: Final = {
    "enableAclRpcHookForClusterMode": True,
    "authenticationEnabled": True,
    "authenticationProvider": "org.apache.rocketmq.auth.authentication.provider.DefaultAuthenticationProvider",
    "authenticationMetadataProvider": "org.apache.rocketmq.proxy.auth.ProxyAuthenticationMetadataProvider",
    "innerClientAuthenticationCredentials": json.dumps({"accessKey": USER, "secretKey": PASSWORD}),
    "authorizationEnabled": True,
    "authorizationProvider": "org.apache.rocketmq.auth.authorization.provider.DefaultAuthorizationProvider",
    "authorizationMetadataProvider": "org.apache.rocketmq.proxy.auth.ProxyAuthorizationMetadataProvider",
}
