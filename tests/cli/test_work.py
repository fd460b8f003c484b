"""run, call, attach, answer, cancel and up, with their output going to pipes."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli.commands import Project, without_stalls

ROOT = Path(__file__).parents[2]


def lines_of(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


def test_the_answer_alone_goes_to_stdout_and_the_progress_to_stderr(shared: Project) -> None:
    done = shared.run("run", "-", stdin="count the beans\n")
    assert done.code == 0
    assert done.out.startswith("# Beans\n\nThere are **two** ")
    assert "bean 25%" not in done.out
    said = done.err.splitlines()
    assert said[0].startswith("run-")
    assert said[1:] == [
        "round 1: CountAgentTask.count",
        "CountAgentTask.count: one ]0;stolen title bean 25%",
        "CountAgentTask.count: two beans 75%",
        "CountAgentTask.count: completed",
    ]


def test_with_json_a_run_is_its_id_and_one_event_a_line(shared: Project) -> None:
    done = shared.run("run", "--json", "数豆子", "--deadline", "10m")
    assert (done.code, done.err) == (0, "")
    first, *events = lines_of(done.out)
    assert first.keys() == {"id"}
    assert all(event.keys() == {"offset", "type", "attempt", "time", "data"} for event in events)
    assert [event["offset"] for event in events] == list(range(len(events)))
    assert [events[0]["type"], events[-1]["type"]] == ["submitted", "completed"]
    assert 0 <= 600_000 - (events[0]["data"]["deadline"] - events[0]["time"]) < 1000
    again = lines_of(shared.run("attach", first["id"], "--json", "--after", "3").out)
    assert again == events[4:]
    assert shared.run("attach", first["id"]).out == events[-1]["data"]["result"] + "\n"


def test_a_folder_without_agents_is_told_so_and_the_goal_still_runs(empty: Project) -> None:
    done = empty.run("run", "paint the wall")
    assert done.code == 0
    assert "no agents in agents/ to call (agentmesh new agent NAME" in done.err
    assert "No agent" in done.out
    up = empty.run("up")
    assert up.code == 2
    assert "There are no agents in agents/ to serve. agentmesh new agent NAME" in up.err


def test_a_call_reads_its_input_from_stdin_or_a_file_and_writes_json(shared: Project) -> None:
    (shared.folder / "input.json").write_text('{"text": "雨"}', encoding="utf-8")
    piped = shared.run("call", "KitAgentTask", "-", "-s", "echo", stdin='{"text": "雨"}')
    filed = shared.run("call", "KitAgentTask", "@input.json", "-s", "echo")
    assert piped.out == filed.out == '{"text":"雨"}\n'
    assert piped.err.splitlines()[1:] == ["echoing 50%"]


def test_a_started_call_waits_until_somebody_attaches_and_serves(project: Project) -> None:
    started = project.run("call", "KitAgentTask", '{"text": "a"}', "-s", "echo", "--start", "--key", "k")
    call = started.out.strip()
    assert (started.code, started.err) == (0, "")
    assert (
        project.run("call", "KitAgentTask", '{"text": "a"}', "-s", "echo", "--start", "--key", "k").out == started.out
    )
    assert project.run("call", "KitAgentTask", '{"text": "b"}', "-s", "echo", "--start", "--key", "k").code == 2
    looked = project.run("attach", call, "--no-follow")
    assert (looked.code, looked.out, looked.err) == (0, "", f"{call} has not ended\n")
    assert project.run("attach", call).out == '{"text":"a"}\n'
    assert project.run("attach", call, "--no-follow").out == '{"text":"a"}\n'
    assert project.run("cancel", call).out == "it had ended: completed\n"


def test_a_question_is_answered_from_another_process(project: Project) -> None:
    asked = project.run("run", "paint the wall")
    run = asked.err.split()[0]
    assert asked.code == 5
    assert f"hint: agentmesh answer {run} TEXT" in asked.err
    assert project.run("attach", run).code == 5
    assert project.run("answer", run, "light", "green").code == 0
    assert project.run("answer", run, "red").code == 2
    done = project.run("attach", run)
    assert done.code == 0
    assert done.out.startswith("The wall is light green now.")
    assert "Which colour? – answered: light green" in done.err


def test_a_cancelled_run_takes_its_calls_with_it(project: Project) -> None:
    run = project.run("run", "paint the wall").err.split()[0]
    assert project.run("cancel", run).out == "cancelled\n"
    events = lines_of(project.run("attach", run, "--json", "--no-follow").out)
    child = next(event["data"]["call"] for event in events if event["type"] == "call_started")
    shown = project.run("attach", child)
    assert shown.code == 1
    assert "cancelled by" in shown.err


def test_the_work_of_a_killed_process_goes_on_in_the_next_that_attaches(
    project: Project, in_background: Callable[..., subprocess.Popen[str]]
) -> None:
    killed = in_background("call", "KitAgentTask", "-s", "hang")
    assert killed.stderr
    call = killed.stderr.readline().strip()
    assert killed.stderr.readline() == "working on attempt 1\n"
    killed.kill()
    killed.wait()
    done = project.run("attach", call)
    assert (done.code, done.out) == (0, '{"attempt":2}\n')
    assert "working on attempt 2" in done.err
    replayed = [event["type"] for event in lines_of(project.run("attach", call, "--json").out)]
    assert replayed == ["submitted", "accepted", "accepted", "progress", "completed"]


def test_up_serves_until_it_is_told_to_stop_and_others_see_its_agents(
    project: Project, in_background: Callable[..., subprocess.Popen[str]]
) -> None:
    up = in_background("up", "agents/kit", "agents/paint")
    assert up.stdout
    assert up.stderr
    assert up.stderr.readline() == "serving at local://.agentmesh; Ctrl-C stops\n"
    other = project.run("agents", "--json")
    assert other.code == 0
    assert "SupervisorAgentTask" in {each["topic"] for each in json.loads(other.out)}
    doctor = project.run("doctor")
    assert doctor.code == 0
    assert "for all who come" in doctor.out
    up.send_signal(signal.SIGTERM)
    out, err = up.communicate(timeout=20)
    assert up.returncode == 0
    assert err.splitlines()[-1] == "stopped"
    topics = [line.split()[0] for line in out.splitlines()]
    assert topics == ["TOPIC", "KitAgentTask", "PaintAgentTask", "SupervisorAgentTask"]


def test_a_reader_that_goes_away_is_no_error(
    project: Project, in_background: Callable[..., subprocess.Popen[str]]
) -> None:
    run = in_background("run", "--json", "count the beans")
    assert run.stdout
    assert run.stderr
    run.stdout.readline()
    run.stdout.close()
    assert without_stalls(run.stderr.read()) == ""
    assert run.wait(20) == 1
    run.stdout = None


def test_a_handler_that_raises_is_told_in_one_line_and_in_full_on_demand(shared: Project) -> None:
    place = f"({shared.folder / 'agents/kit/agent.py'}:19)"
    brief = shared.run("call", "KitAgentTask", "-s", "fail").err.splitlines()
    assert brief[1].startswith(
        f"warning: handler raised: ZeroDivisionError: division by zero {place} topic=KitAgentTask"
    )
    process = shared.start("call", "KitAgentTask", "-s", "fail", "-v")
    assert "Traceback (most recent call last)" in process.communicate(timeout=40)[1]


def test_the_travel_goal_is_planned_from_the_weather(tmp_path: Path) -> None:
    goal = "帮我做一个下周三到下周日杭州周边自驾游方案"
    done = Project(tmp_path).run("run", goal, "--agents", str(ROOT / "agents"))
    assert done.code == 0
    for day in range(1, 6):
        assert f"第 {day} 天" in done.out
    assert "天气" in done.out
    said = [line for line in done.err.splitlines() if line.startswith("round ")]
    assert said == ["round 1: WeatherAgentTask.forecast", "round 2: TravelAgentTask.plan"]
