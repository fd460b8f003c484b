"""A supervisor's process, killed with SIGKILL between any two commits, several times over, and started again."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agentmesh.testing import Calls, Item, ModelServer, Request

PROGRAM = '''
import asyncio
import json
import os
import signal
import sys

from agentmesh import Agent, Mesh, skill
from agentmesh.broker.embedded.store import Store

url, model, kill_after = sys.argv[1], sys.argv[2], int(sys.argv[3])
commit, commits = Store.commit, 0


def commit_and_die(self, changes):
    global commits
    commit(self, changes)
    commits += 1
    if commits == kill_after:
        os.kill(os.getpid(), signal.SIGKILL)


Store.commit = commit_and_die


class SkyAgent(Agent):
    """Weather."""

    @skill
    async def forecast(self, city: str) -> dict[str, str]:
        """The weather of a city."""
        return {"text": f"sunny in {city}"}


class RoadAgent(Agent):
    """Roads."""

    @skill
    async def route(self, weather: str) -> dict[str, str]:
        """A route for the weather."""
        return {"text": f"by the lake, {weather}"}


async def main():
    async with Mesh(url, model="scripted", base_url=model, api_key="key", drain=0) as mesh:
        await mesh.serve(SkyAgent(), RoadAgent())
        run = await mesh.run("plan a trip", key="the-run")
        answer = await run.result()
        events = [[event.type, event.data] async for event in run.events()]
        calls = {}
        for kind, data in events:
            if kind == "call_started":
                ended = [event.type async for event in (await mesh.attach(data["call"])).events()]
                calls[data["call"]] = ended
        print(json.dumps({"answer": answer, "events": events, "calls": calls}))


asyncio.run(main())
'''


def reply(request: Request) -> Item:
    """The model: two forecasts, then a route, then the answer."""
    results = [message["content"] for message in request.messages if message["role"] == "tool"]
    if not results:
        return Calls(("SkyAgentTask-forecast", {"city": "Hangzhou"}), ("SkyAgentTask-forecast", {"city": "Wuzhen"}))
    if len(results) == 2:
        return Calls(("RoadAgentTask-route", {"weather": "sunny"}))
    return "By the lake."


def start(folder: Path, model: str, kill_after: int) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    url = f"local://{folder / 'mesh'}"
    arguments = [sys.executable, str(program), url, model, str(kill_after)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=50, check=False)


@pytest.mark.promise(2)
@pytest.mark.promise(3)
@pytest.mark.parametrize("kills", [(3, 5, 4), (6, 4, 7), (8, 6), (11, 9), (14, 5, 5, 9), (17,)], ids=str)
def test_a_run_goes_on_from_its_journal_however_often_it_is_killed(tmp_path: Path, kills: tuple[int, ...]) -> None:
    with ModelServer([reply] * 20) as server:
        killed = 0
        for kill_after in kills:
            if start(tmp_path, server.url, kill_after).returncode == -signal.SIGKILL:
                killed += 1
        done = start(tmp_path, server.url, 0)
        assert done.returncode == 0, done.stderr
        keys = Counter(request.headers["idempotency-key"] for request in server.requests)
    told: dict[str, Any] = json.loads(done.stdout)
    assert killed >= len(kills) - 1  # the last may have been done before its commit came
    assert told["answer"] == "By the lake."
    types = Counter(kind for kind, _ in told["events"])
    assert (types["planned"], types["call_started"], types["call_finished"], types["completed"]) == (2, 3, 3, 1)
    assert all(ended.count("completed") == 1 for ended in told["calls"].values())
    assert len(keys) == 3
    assert sum(keys.values()) <= 3 + killed
    assert server.refused == []
