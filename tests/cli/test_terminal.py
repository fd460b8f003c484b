"""What a person at a terminal sees, and what their keys do."""

import subprocess
import sys

from cli.commands import Project, environment


def test_a_run_is_shown_live_and_its_answer_rendered(shared: Project) -> None:
    with shared.terminal("run", "count the beans") as terminal:
        terminal.expect("CountAgentTask.count")
        terminal.expect("two beans")
        assert terminal.end() == 0
        shown = terminal.text
        raw = terminal.raw
    assert "\x1b[?25l" in raw  # the cursor is hidden while lines are redrawn, and comes back
    assert raw.rindex("\x1b[?25h") > raw.rindex("\x1b[?25l")
    assert "✓ CountAgentTask.count" in shown
    assert "completed" in shown
    answer = shown[shown.rindex("Beans") :].splitlines()
    assert [line.strip() for line in answer[:4]] == ["Beans", "", "There are two [31mbeans.", "And no more."]
    assert "**" not in answer


def test_what_agents_say_cannot_steer_the_terminal(shared: Project) -> None:
    with shared.terminal("run", "count the beans", NO_COLOR="1") as terminal:
        terminal.end()
        assert "\x1b]0;" not in terminal.raw
        assert "\x07" not in terminal.raw
        assert "\x1b[31m" not in terminal.raw
        assert "\x1b[32m" not in terminal.raw  # NO_COLOR: our own green neither


def test_ctrl_c_cancels_a_run(project: Project) -> None:
    with project.terminal("run", "paint the wall") as terminal:
        terminal.expect("? Which colour?")
        terminal.type("\x03")
        assert terminal.end() == 130
        said = terminal.text
    assert "cancelling run-" in said
    run = said[said.index("cancelled run-") :].split()[1]
    shown = project.run("attach", run)
    assert shown.code == 1
    assert "cancelled" in shown.err


def test_ctrl_c_leaves_what_was_attached_as_it_is(project: Project) -> None:
    call = project.run("call", "KitAgentTask", "-s", "ask", "--start").out.strip()
    with project.terminal("attach", call, "--no-serve") as terminal:
        terminal.expect("nothing here serves KitAgentTask")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert f"detached; agentmesh attach {call} shows it again" in terminal.text
    with project.terminal("attach", call) as terminal:
        terminal.expect("? Which colour?")
        terminal.type("绿\n")
        assert terminal.end() == 0
        assert '"colour": "绿"' in terminal.text


def test_a_question_is_asked_and_answered_where_the_run_is_shown(project: Project) -> None:
    with project.terminal("run", "刷墙") as terminal:
        terminal.expect("? Which colour?")
        terminal.type("\n\ngreen\n")
        assert terminal.end() == 0
        assert "The wall is green now." in terminal.text
    with project.terminal("call", "KitAgentTask", "-s", "ask") as terminal:
        terminal.expect("? Which colour?")
        terminal.type("\x04")
        assert terminal.end() == 5
        assert "hint: agentmesh answer call-" in terminal.text


def test_ctrl_c_stops_up_and_its_work_is_given_back(project: Project) -> None:
    call = project.run("call", "KitAgentTask", "-s", "hang", "--start").out.strip()
    with project.terminal("up", "--drain", "30") as terminal:
        terminal.expect("Ctrl-C stops")
        terminal.type("\x03")
        terminal.expect("what runs may take 30 s to end")
        terminal.type("\x03")
        assert terminal.end() == 0
        assert "stopped at once" in terminal.text
    assert project.run("attach", call).out == '{"attempt":2}\n'


def test_the_command_line_imports_nothing_heavy_before_it_is_needed() -> None:
    program = "import sys, agentmesh.cli.main; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment(), timeout=30
    )
    heavy = {"asyncio", "rich", "pydantic", "yaml", "openai", "jsonschema", "structlog", "agentmesh.mesh", "sqlite3"}
    assert not heavy & set(done.stdout.split())
