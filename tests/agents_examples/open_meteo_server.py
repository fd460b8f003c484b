"""A local HTTP server that answers as Open-Meteo does, or as badly as a test wants it to."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import date, timedelta
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
TODAY = date(2026, 11, 21)
REYKJAVIK = {
    "name": "Reykjavik",
    "latitude": 64.13,
    "longitude": -21.9,
    "admin1": "Capital Region",
    "country": "Iceland",
}


def reply(body: bytes | str, status: int = 200, **headers: str) -> bytes:
    """A whole response; `headers` replace those that it would have."""
    raw = body.encode() if isinstance(body, str) else body
    named = {"Content-Type": "application/json", "Content-Length": str(len(raw))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} As Asked\r\n{head}Connection: close\r\n\r\n".encode() + raw


def says(raw: bytes) -> Play:
    """Whoever asks gets these bytes."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return play


def normals(report: dict[str, Any]) -> list[bool]:
    """For each day of a weather report, whether it is a normal."""
    return [day["normal"] for day in report["forecast"]["days"]]


class OpenMeteoServer:
    """`async with` it; agents use `url` and `geocoding_url`.

    `requests`: path and query of each request. `edit` changes the forecast's answer before it is sent, `play` takes the
    whole conversation over once a request's head was read, `places` is what the geocoding finds by a name.
    """

    def __init__(self, today: date, tls: ssl.SSLContext | None = None) -> None:
        self.today = today
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.targets: list[str] = []
        self.places: dict[str, list[Any]] = {}
        self.edit: Callable[[Any], Any] = lambda answer: answer
        self.play: Play | None = None
        self._tls = tls
        self._open: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "OpenMeteoServer":
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        base = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"
        self.url, self.geocoding_url = f"{base}/forecast", f"{base}/search"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        target = head.split(" ", 2)[1]
        url = urlsplit(target)
        self.targets.append(target)
        self.requests.append((url.path, dict(parse_qsl(url.query))))
        if self.play:
            await self.play(reader, writer)
        else:
            writer.write(self._answer(*self.requests[-1]))
        await writer.drain()

    def _answer(self, path: str, query: dict[str, str]) -> bytes:
        if path == "/v1/search":
            found = self.places.get(query["name"])
            return reply(json.dumps({"generationtime_ms": 0.5} | ({"results": found} if found else {})))
        if path != "/v1/forecast" or "latitude" not in query or int(query.get("forecast_days", "7")) > 16:
            return reply(json.dumps({"error": True, "reason": "Parameter is out of range"}), 400)
        answer = self.edit(self._forecast(query))
        return answer if isinstance(answer, bytes) else reply(json.dumps(answer))

    def _forecast(self, query: dict[str, str]) -> dict[str, Any]:
        """Rain on the first day and one more in three, and a degree more from day to day."""
        count = int(query.get("forecast_days", "7"))
        daily: dict[str, list[Any]] = {
            "time": [f"{self.today + timedelta(days=n)}" for n in range(count)],
            "weather_code": [63 if n % 3 == 0 else 1 for n in range(count)],
            "temperature_2m_max": [10.4 + n for n in range(count)],
            "temperature_2m_min": [1.6 + n for n in range(count)],
            "precipitation_probability_max": [88 if n % 3 == 0 else 4 for n in range(count)],
        }
        return {
            "latitude": float(query["latitude"]),
            "longitude": float(query["longitude"]),
            "generationtime_ms": 0.1,
            "utc_offset_seconds": 28800,
            "timezone": "Asia/Shanghai",
            "timezone_abbreviation": "GMT+8",
            "elevation": 12.0,
            "daily_units": {"time": "iso8601", "weather_code": "wmo code", "temperature_2m_max": "°C"},
            "daily": {name: daily[name] for name in ("time", *query["daily"].split(","))},
        }
