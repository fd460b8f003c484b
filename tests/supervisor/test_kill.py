"""A supervisor's process, killed with SIGKILL between any two commits, several times over, and started again."""

import json
import signal
import subprocess
import sys
from collections import Counter
from itertools import pairwise
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
from agentmesh.card import AgentCard, AgentSkill
from agentmesh.contracts import Registration
from agentmesh.broker.embedded.store import Store

url, model, kill_after, crowd = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
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
    async with Mesh(url, model="scripted", base_url=model, api_key="key", embedder="none", drain=0) as mesh:
        for number in range(crowd):
            skills = (AgentSkill(id="sell", description=f"Sells tulips number {number}."),)
            card = AgentCard(name=f"Shop {number}", version="1.0.0", skills=skills)
            await mesh.registry.register(Registration(f"Shop{number}Task", "1.0.0", card, "the-crowd"))
        await mesh.serve(SkyAgent(), RoadAgent())
        run = await mesh.run("the sky over a city", key="the-run")
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


def start(folder: Path, model: str, kill_after: int, crowd: int = 0) -> subprocess.CompletedProcess[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    url = f"local://{folder / 'mesh'}"
    arguments = [sys.executable, str(program), url, model, str(kill_after), str(crowd)]
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


def search_and_reply(request: Request) -> Item:
    """The model among thousands: a forecast, a search for roads, a route, then the answer."""
    said = [message for message in request.messages if message["role"] == "assistant"]
    if not said:
        return Calls(("SkyAgentTask-forecast", {"city": "Hangzhou"}))
    if len(said) == 1:
        return Calls(("find_agents", {"query": "a route on roads"}))
    if len(said) == 2:
        return Calls(("RoadAgentTask-route", {"weather": "sunny"}))
    return "By the lake."


@pytest.mark.slow
@pytest.mark.promise(3)
@pytest.mark.parametrize("kills", [(6, 4, 5, 3), (9, 8, 7), (12, 2, 2, 3)], ids=str)
def test_a_run_among_many_agents_offers_the_same_after_it_was_killed(tmp_path: Path, kills: tuple[int, ...]) -> None:
    crowd = 150
    with ModelServer([search_and_reply] * 20) as server:
        for kill_after in kills:
            start(tmp_path, server.url, kill_after, crowd)
        done = start(tmp_path, server.url, 0, crowd)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["answer"] == "By the lake."
        assert server.refused == []
        asked: dict[str, Any] = {}
        for request in server.requests:
            told = asked.setdefault(request.headers["idempotency-key"], request.body)
            assert (request.body["tools"], request.messages) == (told["tools"], told["messages"])
    assert len(asked) == 4
    lists = [[tool["function"]["name"] for tool in body["tools"]] for body in asked.values()]
    for earlier, later in pairwise(lists):
        assert later[: len(earlier)] == earlier
    assert "RoadAgentTask-route" not in lists[1]
    assert "RoadAgentTask-route" in lists[2]
