"""The real commands, in several terminals of one folder."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cli.commands import Project

from agentmesh.broker.local.folder import Folder

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    yield Project(tmp_path).write_agents()
    holder = Folder(tmp_path / ".agentmesh").holder()
    if holder:
        with suppress(ProcessLookupError):
            os.kill(holder.pid, signal.SIGKILL)


@pytest.fixture
def start(project: Project) -> Iterator[Start]:
    """Starts commands that are killed at the end, whatever happens."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> "subprocess.Popen[str]":
        started.append(project.start(*arguments))
        return started[-1]

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def up(start: Start, *agents: str) -> "subprocess.Popen[str]":
    """`agentmesh up`, once it serves."""
    process = start("up", *agents)
    assert process.stderr
    assert process.stderr.readline() == "serving at local://.agentmesh; Ctrl-C stops\n"
    return process


@pytest.mark.slow
@pytest.mark.promise(2)
def test_up_in_two_terminals_a_call_in_a_third_and_attach_in_a_fourth(project: Project, start: Start) -> None:
    up(start, "agents/count")
    kit = up(start, "agents/kit")
    agents = json.loads(project.run("agents", "--json").out)
    assert {"CountAgentTask", "KitAgentTask", "SupervisorAgentTask"} <= {each["topic"] for each in agents}
    started = project.run("call", "KitAgentTask", "-s", "hang", "--start")
    call = started.out.strip()
    attached = start("attach", call)
    assert attached.stderr
    assert attached.stderr.readline() == "working on attempt 1\n"
    kit.kill()  # its task goes to the next that serves it
    up(start, "agents/kit")
    out, err = attached.communicate(timeout=30)
    assert (attached.returncode, out) == (0, '{"attempt":2}\n'), err
    run = project.run("run", "count the beans")
    assert (run.code, "two" in run.out) == (0, True), run.err


@pytest.mark.slow
@pytest.mark.promise(1)
def test_ctrl_c_at_a_terminal_ends_its_programs_and_not_the_host(project: Project, start: Start) -> None:
    one, two = up(start, "agents/count"), up(start, "agents/kit")
    holder = Folder(project.folder / ".agentmesh").holder()
    assert holder
    assert holder.kind == "child"
    assert os.getpgid(holder.pid) != os.getpgid(one.pid)
    one.send_signal(signal.SIGINT)
    _, err = one.communicate(timeout=20)
    assert (one.returncode, err.splitlines()[-1]) == (0, "stopped")
    done = project.run("call", "KitAgentTask", '{"text": "still there"}', "-s", "echo")
    assert (done.code, done.out) == (0, '{"text":"still there"}\n')
    os.kill(holder.pid, signal.SIGKILL)
    done = project.run("call", "KitAgentTask", '{"text": "and now"}', "-s", "echo")
    assert (done.code, done.out) == (0, '{"text":"and now"}\n')
    assert two.poll() is None
