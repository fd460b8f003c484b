"""`agentmesh stats`: counts by topic and tenant, once or again and again."""

import json
import signal
import subprocess
from collections.abc import Callable

from cli.commands import Project

Start = Callable[..., "subprocess.Popen[str]"]


def call(project: Project, *options: str, **more: str) -> str:
    done = project.run("call", "KitAgentTask", "-s", "ask", "--start", "--no-serve", *options, **more)
    assert done.code == 0, done.err
    return done.out.strip()


def test_stats_count_what_waits_by_topic_and_by_tenant_where_there_are_several(project: Project) -> None:
    assert project.run("stats", "--no-color-does-not-exist").code == 2
    project.run("agents")
    call(project)
    shown = project.run("stats", "KitAgentTask")
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[0] == ["TOPIC", "WAITING", "RUNNING", "DEAD", "OLDEST"]
    assert lines[1][:4] == ["KitAgentTask", "1", "0", "0"]
    assert len(lines) == 2
    for tenant in ("acme", "acme", "杭州"):
        call(project, AGENTMESH_TENANT=tenant)
    lines = [line.split() for line in project.run("stats").out.splitlines()]
    assert [line[0] for line in lines] == [
        "TOPIC",
        "CountAgentTask",
        "KitAgentTask",
        "acme",
        "default",
        "杭州",
        "PaintAgentTask",
    ]
    assert [line[1] for line in lines[2:6]] == ["4", "2", "1", "1"]
    told = json.loads(project.run("stats", "KitAgentTask", "--json").out)
    (topic,) = told["topics"]
    assert (topic["topic"], topic["waiting"], topic["running"], topic["dead"]) == ("KitAgentTask", 4, 0, 0)
    assert topic["tenants"]["acme"] == {"waiting": 2, "running": 0}
    assert topic["oldest"] >= 0
    assert told["rates"] is None


def test_stats_of_an_unknown_topic_name_the_nearest(shared: Project) -> None:
    shared.run("agents")
    unknown = shared.run("stats", "KitTask")
    assert (unknown.code, unknown.out) == (3, "")
    assert "Did you mean KitAgentTask" in unknown.err
    assert json.loads(shared.run("stats", "3rd", "--json").err)["error"] == "TopicNotFound"
    assert "'5parsecs' is no duration" in shared.run("stats", "--watch", "5parsecs").err


def test_watching_tells_an_object_a_look_with_rates_until_ctrl_c(project: Project, in_background: Start) -> None:
    project.run("agents")
    watch = in_background("stats", "KitAgentTask", "--watch", "0.2", "--json")
    assert watch.stdout
    first = json.loads(watch.stdout.readline())
    assert (first["rates"], first["topics"][0]["waiting"]) == (None, 0)
    assert json.loads(watch.stdout.readline())["rates"]
    call(project)
    looks = []
    while not looks or looks[-1]["topics"][0]["waiting"] == 0:
        looks.append(json.loads(watch.stdout.readline()))
    while looks[-1]["rates"] is None:  # the store has moved to a host of its own: counters began anew
        looks.append(json.loads(watch.stdout.readline()))
    assert looks[-1]["time"] > first["time"]
    watch.send_signal(signal.SIGINT)
    _, err = watch.communicate(timeout=20)
    assert (watch.returncode, err) == (0, "")


def test_a_pipe_gets_a_block_a_look_and_a_terminal_is_redrawn(project: Project, in_background: Start) -> None:
    project.run("agents")
    watch = in_background("stats", "--watch", "100ms")
    assert watch.stdout
    lines = [watch.stdout.readline() for _ in range(12)]
    heads = [number for number, line in enumerate(lines) if line.startswith("TOPIC ")]
    assert len(heads) > 1
    assert all(lines[number - 1] == "\n" for number in heads[1:])
    assert "\x1b" not in "".join(lines)
    assert any(line.startswith("published 0/s, leased 0/s") for line in lines)
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=20)
    assert watch.returncode == 0
    with project.terminal("stats", "--watch", "0.1") as terminal:
        terminal.expect("dead-lettered 0/s")
        terminal.type("\x03")
        assert terminal.end() == 0
        assert "\x1b[?25l" in terminal.raw  # redrawn in place, and the cursor comes back
        assert terminal.raw.rindex("\x1b[?25h") > terminal.raw.rindex("\x1b[?25l")
        assert "Traceback" not in terminal.text
