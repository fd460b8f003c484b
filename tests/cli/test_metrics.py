"""/metrics and /healthz over a real socket: a strict reading of the text format, and clients that misbehave."""

import asyncio
import contextlib
import math
import re
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

import pytest
from cli.commands import Project

from agentmesh.broker.memory import open_memory
from agentmesh.cli import metrics_server
from agentmesh.cli.metrics import HELP, exposition
from agentmesh.cli.metrics_server import address_of, serving
from agentmesh.clock import ManualClock
from agentmesh.contracts import Delivery
from agentmesh.errors import BrokerUnavailable, ConfigError
from agentmesh.message import Message

Labels = tuple[tuple[str, str], ...]


class Family(NamedTuple):
    """What the format says of one metric."""

    kind: str
    help: str
    samples: dict[Labels, float]


NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(,|$)')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")


def parsed(text: str) -> dict[str, Family]:
    """The families of an exposition; fails for anything that version 0.0.4 of the format does not have.

    https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
    """
    assert text.endswith("\n")
    families: dict[str, Family] = {}
    helps: dict[str, str] = {}
    current = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            name, _, said = line[7:].partition(" ")
            assert re.fullmatch(NAME, name)
            assert name not in helps, f"two HELP lines of {name}"
            assert re.fullmatch(r"(?:[^\\]|\\\\|\\n)*", said)
            helps[name] = said
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert kind in ("counter", "gauge", "histogram", "summary", "untyped")
            assert name not in families, f"{name} is in two places"
            families[name] = Family(kind, helps.get(name, ""), {})
            current = name
        else:
            assert line, "an empty line says nothing"
            assert not line.startswith("#"), line
            found = SAMPLE.fullmatch(line)
            assert found, line
            assert found[1] == current, f"{found[1]} stands below {current}"
            labels = read_labels(found[2] or "")
            assert labels not in families[current].samples, f"twice: {line}"
            families[current].samples[labels] = float(found[3].replace("Inf", "inf"))
    return families


def read_labels(text: str) -> Labels:
    labels, at = [], 0
    while at < len(text):
        found = LABEL.match(text, at)
        assert found, text[at:]
        value = re.sub(r"\\(.)", lambda each: "\n" if each[1] == "n" else each[1], found[2])
        labels.append((found[1], value))
        at = found.end()
    assert len(dict(labels)) == len(labels)
    return tuple(sorted(labels))


async def ask(url: str, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send these bytes and read the answer to its end."""
    port = int(url.split(":")[2].partition("/")[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        async with asyncio.timeout(20):
            answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    version, status, _ = first.split(" ", 2)
    assert version == "HTTP/1.1"
    assert headers["connection"] == "close"
    return int(status), headers, body


def get(path: str = "/metrics", method: str = "GET", host: str = "localhost:9464") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode()


async def none() -> Mapping[str, float]:
    return {}


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serving(none, "127.0.0.1", 0, patience=0.3) as address:
        yield address


async def test_the_figures_of_a_broker_are_in_the_text_format() -> None:
    broker = await open_memory("", ManualClock())
    odd = 'a"b\\c\n天气'
    await broker.declare("WorkTask", Delivery())
    for number, tenant in enumerate(["default", odd, odd]):
        await broker.publish(Message(id=f"call-{number}", topic="WorkTask", tenant=tenant))
    await broker.lease(["WorkTask"], 1, 0, worker="w")
    async with serving(broker.figures, "127.0.0.1", 0) as url:
        status, headers, body = await ask(url, get())
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert int(headers["content-length"]) == len(body)
    families = parsed(body.decode())
    assert set(families) == {f"agentmesh_{name}" for name in HELP}
    for name, family in families.items():
        assert family.help, name
        assert family.kind == ("counter" if name.endswith("_total") else "gauge")
        assert family.samples, name
    assert families["agentmesh_tasks_published_total"].samples == {(): 3}
    waiting = families["agentmesh_tasks_waiting"].samples
    assert sum(waiting.values()) == 2
    assert (("tenant", odd), ("topic", "WorkTask")) in waiting
    ((labels, one),) = families["agentmesh_info"].samples.items()
    assert (labels[0][0], one) == ("version", 1)
    await broker.close()


def test_odd_values_and_names_of_a_newer_host_are_still_in_the_format() -> None:
    odd = {"x": math.inf, 'y{a="1"}': -math.inf, "z_total": math.nan, "x_2": 1e300, 'y{a="2"}': 7, "tiny": 5e-324}
    families = parsed(exposition(odd, "1"))
    assert families["agentmesh_x"].samples == {(): math.inf}
    assert families["agentmesh_y"].samples == {(("a", "1"),): -math.inf, (("a", "2"),): 7}
    assert math.isnan(families["agentmesh_z_total"].samples[()])
    assert families["agentmesh_z_total"].kind == "counter"
    assert families["agentmesh_tiny"].samples == {(): 5e-324}


@pytest.mark.parametrize("text", ["a 1", "# TYPE a gauge\nb 1\n", "# TYPE a gauge\na{b=c} 1\n", "# TYPE a new\n", "\n"])
def test_the_parser_is_strict(text: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        parsed(text)


async def test_health_is_whether_the_mesh_answers(url: str) -> None:
    assert await ask(url, get("/healthz")) == (200, (await ask(url, get("/healthz")))[1], b"ok\n")

    async def gone() -> Mapping[str, float]:
        raise BrokerUnavailable("This broker is closed.")

    async def silent() -> Mapping[str, float]:
        return await asyncio.Event().wait()  # type: ignore[return-value]

    async with serving(gone, "127.0.0.1", 0) as closed:
        for path in ("/healthz", "/metrics"):
            status, _, body = await ask(closed, get(path))
            assert (status, body) == (503, b"This broker is closed.\n")
    async with serving(silent, "127.0.0.1", 0, patience=0.1) as waiting:
        status, _, body = await ask(waiting, get("/healthz"))
        assert (status, body) == (503, b"The mesh does not answer within 0.1 s.\n")


RUBBISH: list[tuple[str, bytes, int]] = [
    ("another path", get("/"), 404),
    ("a path out of the tree", get("/../../etc/passwd"), 404),
    ("another method", get(method="POST"), 405),
    ("a query", get("/metrics?name[]=x"), 200),
    ("version 1.0 without a host", b"GET /metrics HTTP/1.0\r\n\r\n", 200),
    ("version 1.1 without a host", b"GET /metrics HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
    ("another version", b"GET /metrics HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
    ("no request line", b"\r\n\r\n", 400),
    ("a space too many", b"GET  /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
    ("a folded header", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n more\r\n\r\n", 400),
    ("a space before the colon", b"GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
    ("zeros", b"\0" * 300 + b"\r\n\r\n", 400),
    ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("headers without end", b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 100_000, 431),
    ("a line without end", b"A" * 1_000_000, 431),
    ("half a request", b"GET /metrics HT", 408),
    ("nothing at all", b"", 408),
    ("a page elsewhere", get(host="rebound.example:9464"), 421),
    ("an address elsewhere", get(host="10.0.0.1"), 421),
    ("the sixth version", get(host="[::1]:9464"), 200),
]


@pytest.mark.parametrize(("raw", "status"), [case[1:] for case in RUBBISH], ids=[case[0] for case in RUBBISH])
async def test_rubbish_is_answered_and_cut_off(url: str, raw: bytes, status: int) -> None:
    assert (await ask(url, raw))[0] == status
    assert (await ask(url, get("/healthz")))[0] == 200


async def test_head_has_the_headers_and_no_body(url: str) -> None:
    _, headers, body = await ask(url, get(method="HEAD"))
    full = await ask(url, get())
    assert body == b""
    assert headers["content-length"] == str(len(full[2])) != "0"
    assert (await ask(url, get(method="PUT")))[1]["allow"] == "GET, HEAD"


async def test_a_client_that_leaves_or_does_not_read_holds_up_nobody() -> None:
    figures = {f'tasks_waiting{{topic="T{number}"}}': 1.0 for number in range(200_000)}

    async def much() -> Mapping[str, float]:
        return figures

    async with serving(much, "127.0.0.1", 0, patience=0.5) as url:
        port = int(url.split(":")[2].partition("/")[0])
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", port))
            slow.sendall(get())
            for _ in range(3):
                _, leaving = await asyncio.open_connection("127.0.0.1", port)
                leaving.write(b"GET /metr")
                leaving.close()
            end = asyncio.get_running_loop().time() + 2
            while asyncio.get_running_loop().time() < end:  # past its patience
                assert (await ask(url, get("/nowhere")))[0] == 404
            slow.settimeout(10)
            read = await asyncio.to_thread(read_all, slow)
        assert 0 < read < len(exposition(figures, ""))  # it was cut off


def read_all(client: socket.socket) -> int:
    """How many bytes there are until the end."""
    count = 0
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            count += len(data)
    return count


async def test_more_connections_than_there_is_room_for_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "CONNECTIONS", 3)
    async with serving(none, "127.0.0.1", 0, patience=5) as url:
        port = int(url.split(":")[2].partition("/")[0])
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert (await ask(url, get()))[0] == 503
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(10):
            while (await ask(url, get()))[0] != 200:
                await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ("0", ("127.0.0.1", 0)),
        ("localhost:1", ("127.0.0.1", 1)),
        ("127.1.2.3:65535", ("127.1.2.3", 65535)),
        ("[::1]:9464", ("::1", 9464)),
    ],
)
def test_an_address_on_loopback_is_taken(text: str, address: tuple[str, int]) -> None:
    assert address_of(text) == address


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "example.com:9464", "*:9464"])
def test_an_address_off_loopback_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not loopback.*proxy"):
        address_of(text)


@pytest.mark.parametrize("text", ["", "x", "65536", "-1", "1.5", "localhost:", "١"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="port from 1 to 65535"):
        address_of(text)


async def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"--metrics {port}: .*in use.*0 for any"):
            async with serving(none, "127.0.0.1", port):
                pass


def test_up_serves_metrics_and_says_where(
    project: Project, in_background: Callable[..., "subprocess.Popen[str]"]
) -> None:
    up = in_background("up", "--metrics", "0")
    assert up.stderr
    said = up.stderr.readline()
    url = re.findall(r"http://127\.0\.0\.1:\d+/metrics", said)[0]
    for line in up.stderr:
        if "Ctrl-C stops" in line:
            break
    with urllib.request.urlopen(url, timeout=20) as answer:
        families = parsed(answer.read().decode())
    topics = {dict(labels)["topic"] for labels in families["agentmesh_tasks_waiting"].samples}
    assert {"KitAgentTask", "SupervisorAgentTask"} <= topics
    port = url.split(":")[2].partition("/")[0]
    for wrong, why in ((port, "in use"), ("0.0.0.0:0", "is not loopback"), ("high", "use a port")):
        refused = project.run("up", "--metrics", wrong)
        assert (refused.code, refused.out) == (2, "")
        assert why in refused.err
    up.terminate()
    assert up.wait(20) == 0
