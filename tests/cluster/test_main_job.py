"""The main job over RocketMQ and Nacos: two agent processes, two supervisors, one of them killed in the middle."""

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.conftest import Place

from agentmesh import Mesh
from agentmesh.testing import Calls, Item, ModelServer, Request

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]
CREW = Path(__file__).with_name("crew.py")


class Crew:
    """The processes of a mesh."""

    def __init__(self, place: Place, model: str, effects: Path) -> None:
        self._command = [sys.executable, str(CREW), *place, model]
        self._effects = effects
        self.processes: list[subprocess.Popen[str]] = []

    def join(self, role: str) -> None:
        """Start a process; returns once it serves."""
        command = [*self._command, role, str(self._effects)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


class Script:
    """A model that asks for two forecasts, then for a route, and then answers. The first time that it is to ask for the
    route, it kills whoever asks."""

    def __init__(self) -> None:
        self.victim = 0

    def __call__(self, request: Request) -> Item:
        results = [message["content"] for message in request.messages if message["role"] == "tool"]
        if not results:
            return Calls(("SkyAgentTask-forecast", {"city": "杭州"}), ("SkyAgentTask-forecast", {"city": "乌镇"}))
        if len(results) == 2:
            if self.victim:
                victim, self.victim = self.victim, 0
                os.kill(victim, signal.SIGKILL)
            return Calls(("RoadAgentTask-route", {"weather": "晴"}))
        return "沿着湖走。"


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def crew(place: Place, script: Script, tmp_path: Path) -> Iterator[Crew]:
    with ModelServer(itertools.repeat(script)) as model:
        crew = Crew(place, model.url, tmp_path / "effects")
        yield crew
        crew.stop()


async def test_a_run_goes_on_when_its_supervisor_is_killed(
    place: Place, crew: Crew, script: Script, tmp_path: Path
) -> None:
    for role in ("agents", "agents", "supervisor", "supervisor"):
        await asyncio.to_thread(crew.join, role)
    async with Mesh(place.broker, place.registry) as mesh:
        run = await mesh.run("周末去哪里")
        async for event in run.events():
            if event.type == "accepted" and event.attempt == 1:
                script.victim = int(event.data["worker"].partition("-")[0])
            if event.type in ("completed", "failed"):
                break
        assert await run.result() == "沿着湖走。"
        events = [event async for event in run.events()]
        calls = [event.data["call"] for event in events if event.type == "call_started"]
        assert len(calls) == len(set(calls)) == 3
        for call in calls:
            ends = [event.type async for event in (await mesh.attach(call)).events()]
            assert ends[-1] == "completed"
    assert max(event.attempt for event in events) == 2
    effects = Counter(line.partition(" ")[2] for line in (tmp_path / "effects").read_text().splitlines())
    assert effects == {"forecast 杭州": 1, "forecast 乌镇": 1, "route 晴": 1}
