"""Real processes, killed with SIGKILL in the middle of their work."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = '''
import asyncio
import json
import sys

from agentmesh import Agent, Context, Mesh, skill


class SlowAgent(Agent):
    """Says which attempt it is, and hangs in the first one."""

    @skill
    async def work(self, text: str, *, ctx: Context) -> str:
        await ctx.emit(f"attempt {ctx.attempt}")
        await ctx.once("step", lambda: ctx.attempt)
        print("working", flush=True)
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return f"{text}, recorded {await ctx.once('step', lambda: ctx.attempt)}"


async def begin(url):
    async with Mesh(url) as mesh:
        await mesh.serve(SlowAgent())
        call = await mesh.start("SlowAgentTask", {"text": "杭州"}, key="k")
        print(call.id, flush=True)
        await call.result()


async def go_on(url, call_id):
    async with Mesh(url) as mesh:
        await mesh.serve(SlowAgent())
        print(await (await mesh.attach(call_id)).result(), flush=True)


async def look(url, call_id):
    async with Mesh(url) as mesh:
        call = await mesh.attach(call_id)
        async for event in call.events():
            print(json.dumps([event.offset, event.type, event.attempt, event.data]), flush=True)


asyncio.run(globals()[sys.argv[1]](*sys.argv[2:]))
'''


def python(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, str(program), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return out.splitlines()


def begin_and_kill(folder: Path, url: str) -> str:
    process = python(folder, "begin", url)
    assert process.stdout
    call_id = process.stdout.readline().strip()
    assert process.stdout.readline().strip() == "working"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return call_id


@pytest.mark.promise(1)
@pytest.mark.promise(2)
@pytest.mark.promise(3)
def test_a_call_whose_worker_was_killed_ends_once_and_shows_one_output(tmp_path: Path) -> None:
    url = f"local://{tmp_path / 'mesh'}"
    call_id = begin_and_kill(tmp_path, url)
    assert finish(python(tmp_path, "go_on", url, call_id)) == ["working", "杭州, recorded 1"]
    events: list[Any] = [json.loads(line) for line in finish(python(tmp_path, "look", url, call_id))]
    assert [event[1] for event in events] == ["submitted", "accepted", "step", "accepted", "delta", "completed"]
    assert events[4][3] == {"text": "attempt 2"}
    assert events[5][3] == {"result": "杭州, recorded 1"}
    assert finish(python(tmp_path, "go_on", url, call_id)) == ["杭州, recorded 1"]


def test_a_second_process_joins_the_first_and_takes_its_work_over_when_it_is_killed(tmp_path: Path) -> None:
    url = f"local://{tmp_path / 'mesh'}"
    first = python(tmp_path, "begin", url)
    assert first.stdout
    call_id = first.stdout.readline().strip()
    assert first.stdout.readline().strip() == "working"
    second = python(tmp_path, "go_on", url, call_id)
    try:
        assert second.stdout
        registered = python(tmp_path, "look", url, call_id)
        assert registered.stdout
        assert json.loads(registered.stdout.readline())[1] == "submitted"
    finally:
        first.kill()
        first.communicate()
    assert finish(second) == ["working", "杭州, recorded 1"]
    assert json.loads(finish(registered)[-1])[1] == "completed"
