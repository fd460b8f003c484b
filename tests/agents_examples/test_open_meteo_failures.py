"""What comes back from Open-Meteo when nothing good does: normals, at once, and no thread left behind."""

import asyncio
import json
import socket
import ssl
import subprocess
import threading
import time
from contextlib import asynccontextmanager

import pytest
from agents_examples.open_meteo_server import REYKJAVIK, TODAY, OpenMeteoServer, normals, reply, says

from agentmesh.testing import open_mesh

SECOND = 1.4
"""Where tests share the processor; what is measured here is at most 0.8 s on a free one."""


async def never(reader, writer):
    await asyncio.sleep(60)


async def close(reader, writer):
    """The connection ends without an answer."""


async def drip(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    await dribble(writer)


async def drip_headers(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    await dribble(writer)


async def dribble(writer):
    for _ in range(1000):
        writer.write(b"1")
        await writer.drain()
        await asyncio.sleep(0.05)


async def no_end(reader, writer):
    writer.write(b'HTTP/1.1 200 OK\r\n\r\n{"daily": "')
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def more_headers(reader, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: 1\r\n" * 1000)
        await writer.drain()


WHOLE = {"time": ["2026-11-22"], "weather_code": [1], "temperature_2m_max": [9], "temperature_2m_min": [1]}
FAILURES = {
    "no answer": never,
    "closed": close,
    "a slow drip": drip,
    "a slow drip of headers": drip_headers,
    "no end": no_end,
    "headers without end": more_headers,
    "not HTTP": says(b"220 mail.example ESMTP\r\n"),
    "not JSON": says(reply("<html>Sign in</html>", Content_Type="text/html")),
    "empty": says(reply("")),
    "no text": says(reply(b"\xff\xfe\x00")),
    "deep": says(reply("[" * 200_000)),
    "half a body": says(reply('{"daily": {"time"', Content_Length="5000")),
    "half a chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}"),
    "huge": says(reply('{"daily": "' + "x" * 2_000_000 + '"}')),
    "a redirect": says(reply("", 302, Location="/v1/elsewhere")),
    "a redirect to a file": says(reply("", 301, Location="file:///etc/hostname")),
    "400": says(reply('{"error": true, "reason": "no"}', 400)),
    "429": says(reply('{"error": true, "reason": "Daily limit exceeded"}', 429, Retry_After="1")),
    "500": says(reply("oops", 500)),
    "204": says(reply("", 204)),
    "a list": says(reply("[1, 2]")),
    "null": says(reply("null")),
    "no days": says(reply('{"daily": {}}')),
    "days that are no lists": says(reply('{"daily": {"time": "2026-11-22"}}')),
    "a column less": says(reply(json.dumps({"daily": WHOLE}))),
    "columns of different length": says(
        reply(json.dumps({"daily": WHOLE | {"precipitation_probability_max": [1, 2]}}))
    ),
    "nothing but null": says(reply(json.dumps({"daily": WHOLE | {"precipitation_probability_max": [None]}}))),
    "nothing but NaN": says(reply(json.dumps({"daily": WHOLE | {"precipitation_probability_max": [float("nan")]}}))),
}


@pytest.mark.parametrize("play", FAILURES.values(), ids=FAILURES)
async def test_whatever_goes_wrong_there_are_normals_at_once_and_for_a_while_nobody_is_asked_again(
    ask, live, weather, server, play
):
    now = [1000.0]
    source = live(patience=weather("live").Patience(0.4, 0.6), clock=lambda: now[0])
    server.play = play
    before = time.perf_counter()
    report = await ask("杭州明天天气", source)
    assert time.perf_counter() - before < 2 * SECOND
    assert normals(report) == [True]
    assert "Open-Meteo" not in report["text"]
    assert len(server.requests) == 1

    server.play = None
    now[0] += 299
    assert normals(await ask("北京明天天气", source)) == [True]
    assert len(server.requests) == 1
    now[0] += 2
    assert normals(await ask("北京明天天气", source)) == [False]
    await no_threads_left()


async def no_threads_left():
    """Giving up ends the thread too, whatever it waits for."""
    async with asyncio.timeout(5):
        while any(thread.name == "weather-web" for thread in threading.enumerate()):
            await asyncio.sleep(0.01)


async def test_a_geocoding_that_goes_wrong_leaves_the_city_unknown(ask, server):
    server.play = says(reply('{"results": "none"}'))
    assert "did not recognise" in (await ask("Weather in Reykjavik tomorrow"))["text"]
    assert len(server.requests) == 1


async def test_geocoding_and_forecast_share_the_time_there_is(ask, live, weather, server):
    async def late(reader, writer):
        await asyncio.sleep(0.4)
        path, query = server.requests[-1]
        writer.write(server._answer(path, query))

    server.places["Reykjavik"] = [REYKJAVIK]
    server.play = late
    before = time.perf_counter()
    report = await ask("Weather in Reykjavik tomorrow", live(patience=weather("live").Patience(0.5, 0.6)))
    assert time.perf_counter() - before < SECOND
    assert report["forecast"]["days"] == []
    assert len(server.requests) == 2


def refused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1/forecast"


@asynccontextmanager
async def full_backlog():
    """An address that never takes a connection: its queue is full."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(server.getsockname())
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/v1/forecast"
        finally:
            for each in waiting:
                each.close()


async def cost(ask, weather, url):
    """Seconds until there are normals, with the patience of `auto`."""
    before = time.perf_counter()
    assert normals(await ask("杭州明天天气", weather("live").Live("auto", url))) == [True]
    return time.perf_counter() - before


async def test_being_offline_costs_less_than_a_second(ask, weather):
    assert await cost(ask, weather, refused()) < SECOND
    assert await cost(ask, weather, "http://weather.invalid/v1/forecast") < SECOND
    async with full_backlog() as url:
        assert await cost(ask, weather, url) < SECOND


@pytest.fixture
def look_up(monkeypatch):
    """What `host.invalid` resolves to: a function that gives ports of loopback, and may take its time."""

    def set_answer(answer):
        def getaddrinfo(host, *arguments, **options):
            ports = answer() if host == "host.invalid" else None
            if ports is None:
                return real(host, *arguments, **options)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

        real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return set_answer


async def test_a_name_whose_look_up_hangs_costs_no_more_and_is_not_asked_when_it_is_found_later(
    ask, weather, server, look_up
):
    found = threading.Event()
    look_up(lambda: found.wait(30) and [server.port])
    try:
        assert await cost(ask, weather, "http://host.invalid/v1/forecast") < SECOND
    finally:
        found.set()
    await no_threads_left()
    assert server.requests == []


async def test_a_second_address_of_the_host_gets_its_turn(ask, weather, server, look_up):
    async with full_backlog() as url:
        look_up(lambda: [int(url.split(":")[2].split("/")[0]), server.port])
        source = weather("live").Live("auto", "http://host.invalid/v1/forecast")
        assert normals(await ask("杭州明天天气", source)) == [False]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1"
    )
    try:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl to make a certificate with")
    return folder


async def test_over_https_the_certificate_has_to_be_trusted(ask, weather, certificate, monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    async with OpenMeteoServer(TODAY, context) as server:
        assert normals(await ask("杭州明天天气", weather("live").Live("auto", server.url))) == [True]
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
        source = weather("live").Live("auto", server.url)
        assert normals(await ask("杭州明天天气", source)) == [False]
        server.play = drip
        impatient = weather("live").Live("auto", server.url, patience=weather("live").Patience(0.4, 0.6))
        assert normals(await ask("杭州明天天气", impatient)) == [True]
        await no_threads_left()


async def test_a_server_that_never_finishes_its_handshake_is_given_up(ask, weather):
    async with OpenMeteoServer(TODAY) as deaf:  # it waits for the end of a request in plain HTTP
        url = deaf.url.replace("http:", "https:")
        source = weather("live").Live("auto", url, patience=weather("live").Patience(0.4, 0.6))
        before = time.perf_counter()
        assert normals(await ask("杭州明天天气", source)) == [True]
        assert time.perf_counter() - before < SECOND
        await no_threads_left()


async def test_cancelling_the_call_ends_the_conversation(weather, live, server):
    server.play = never
    async with open_mesh(weather("agent").WeatherAgent(TODAY, live())) as mesh:
        call = await mesh.start("WeatherAgentTask", {"request": "杭州明天的天气"})
        while not server.requests:
            await asyncio.sleep(0.01)
        await call.cancel()
        await no_threads_left()
