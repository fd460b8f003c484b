"""Words that the tests against a Nacos are written in, and the server that they share."""

import asyncio
import atexit
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agentmesh.card import AgentCard, AgentSkill
from agentmesh.clock import SystemClock
from agentmesh.contracts import Registration
from agentmesh.ids import new_token
from agentmesh.registry.nacos import NacosRegistry, open_nacos
from deploy.nacos import NacosServer, binary
from deploy.process import ServerError

SECONDS = 15.0


@functools.cache
def shared_server() -> NacosServer:
    """The r-nacos of this test process."""
    check_binary()
    folder = Path(tempfile.mkdtemp(prefix="agentmesh-nacos-"))
    server = NacosServer(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.stop)
    server.start()
    return server


def check_binary() -> None:
    """Skip the test where there is no r-nacos; fail it where there is to be one."""
    try:
        binary()
    except ServerError as error:
        if os.environ.get("AGENTMESH_CLUSTER"):
            pytest.fail(str(error))
        pytest.skip(str(error))


def fresh_url() -> str:
    """A namespace of one's own: on `NACOS_URL` if that is set, else on the r-nacos of the tests."""
    base = os.environ.get("NACOS_URL") or shared_server().url
    return f"{base}{'&' if '?' in base else '?'}namespace=t-{new_token()}"


def credentials(url: str) -> dict[str, str]:
    """For `NACOS_URL`; none for the servers of the tests."""
    if not url.startswith(os.environ.get("NACOS_URL") or "none"):
        return {}
    names = {"username": "NACOS_USERNAME", "password": "NACOS_PASSWORD", "token": "NACOS_TOKEN"}
    return {name: os.environ[variable] for name, variable in names.items() if variable in os.environ}


async def opened(url: str, **options: Any) -> NacosRegistry:
    """A registry of its own, as another process has it."""
    return await open_nacos(url, SystemClock(), **{**credentials(url), **options})


def card(name: str = "Weather", version: str = "1.0.0", text: str = "Tells the weather.") -> AgentCard:
    return AgentCard(name=name, version=version, description=text, skills=(AgentSkill(id="tell"),))


def agent(topic: str = "WeatherTask", version: str = "1.0.0", text: str = "Tells the weather.") -> Registration:
    return Registration(topic, version, card(topic, version, text), "instance-1")


async def alive(registry: NacosRegistry) -> list[tuple[str, str]]:
    return [(each.topic, each.version) for each in await registry.list()]


async def until(condition: Callable[[], Any], seconds: float = SECONDS) -> float:
    """Wait until it holds (it may be a coroutine function); returns after how many seconds it did."""
    start = time.monotonic()
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return time.monotonic() - start
        assert time.monotonic() - start < seconds, f"it does not come to hold within {seconds:g} s"
        await asyncio.sleep(0.01)


async def until_alive(registry: NacosRegistry, *expected: tuple[str, str], seconds: float = SECONDS) -> float:
    """Wait until these and no others are alive."""

    async def equal() -> bool:
        return await alive(registry) == sorted(expected)

    return await until(equal, seconds)


class Puppet:
    """Another process with `count` agents, `{prefix}0Task` and so on."""

    def __init__(self, url: str, count: int = 1, prefix: str = "Puppet") -> None:
        self.agents = [(f"{prefix}{number}Task", "1.0.0") for number in range(count)]
        program = Path(__file__).parents[3] / "benchmarks" / "nacos.py"
        self._process = subprocess.Popen(
            [sys.executable, program, "serve", url, str(count), prefix], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    async def ready(self) -> float:
        """Wait until its agents are registered; how many seconds that took."""
        assert self._process.stdout
        line = await asyncio.to_thread(self._process.stdout.readline)
        assert line.startswith(b"ready "), line
        return float(line.split()[1])

    def kill(self) -> None:
        self._process.kill()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.kill()
        self._process.communicate()
