"""The table of exit codes, from the outside and from the inside."""

import json

import pytest
from cli.commands import Project

from agentmesh import errors
from agentmesh.cli.exits import MEANINGS, exit_code, exit_code_of_end
from agentmesh.message import Event

CASES = [
    (["call", "KitAgentTask", '{"text": "杭州"}', "--skill", "echo"], 0, ""),
    (["call", "KitAgentTask", "--skill", "fail"], 1, "ZeroDivisionError: division by zero"),
    (["call", "KitAgentTask", "-s", "echo"], 1, "The input does not match its schema"),
    (["call", "KitAgentTask", "{'text'}"], 2, "the argument is not JSON"),
    (["call", "KitAgentTask", "@missing.json"], 2, "missing.json cannot be read: No such file"),
    (["call", "KitAgentTask", "--deadline", "soon"], 2, "'soon' is no duration"),
    (["rum"], 2, "Did you mean 'run'?"),
    (["run", " "], 2, "the goal is empty"),
    (["run", "--agents", "nowhere", "a goal"], 2, "nowhere is not there"),
    (["agents", "--mesh", "nonsense"], 2, "an address such as local://DIR, not 'nonsense'"),
    (["agents", "--mesh", "http://host"], 2, "is no mesh"),
    (["call", "KitTask", "--skill", "echo"], 3, "Did you mean KitAgentTask"),
    (["call", "KitAgentTask", "--skill", "ekko"], 3, "has no skill 'ekko'. Skills: ask, echo, fail, hang"),
    (["attach", "run-0192f0c17a3b7c62a1d4e5f60718293a"], 3, "There is no call or run"),
    (["cancel", "nonsense"], 3, "There is no call or run 'nonsense'"),
    (["agents", "--mesh", "local:///dev/null/mesh"], 4, "cannot hold a mesh"),
    (["call", "KitAgentTask", "--skill", "ask"], 5, "asks: Which colour?"),
    (["call", "KitAgentTask", "--skill", "hang", "--deadline", "300ms"], 124, "its deadline passed"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_each_way_to_end_has_its_code_and_one_line(
    shared: Project, arguments: list[str], code: int, message: str
) -> None:
    done = shared.run(*arguments)
    assert done.code == code, done.err
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == (1 if code else 0)
    assert message in "".join(lines)
    assert (done.out != "") == (code == 0)


def test_with_json_an_error_is_one_object_on_stderr(shared: Project) -> None:
    failed = shared.run("call", "KitAgentTask", "--skill", "ask", "--json")
    told = json.loads(failed.err)
    assert failed.code == 5
    assert told["error"] == "InputRequired"
    assert told["call_id"].startswith("call-")
    assert told["question"]
    assert f"agentmesh answer {told['call_id']} TEXT" in told["hint"]
    unknown = json.loads(shared.run("agents", "--json", "--nonsense").err)
    assert unknown["error"] == "UsageError"


def test_a_traceback_is_shown_only_to_those_who_debug(shared: Project) -> None:
    process = shared.start("agents", "--mesh", "nonsense", AGENTMESH_DEBUG="1")
    _, err = process.communicate(timeout=40)
    assert process.returncode == 1
    assert "Traceback" in err


def test_every_error_has_a_code_of_the_table() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MeshError)]
    assert len(kinds) > 20
    for kind in kinds:
        error = kind.__new__(kind)
        assert exit_code(error) in MEANINGS
    assert exit_code(errors.CallTimedOut("x")) == 124
    assert exit_code(errors.BudgetExceeded("x")) == 1


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("completed", {"result": 1}, 0),
        ("failed", {"error": "ValueError", "message": ""}, 1),
        ("failed", {"error": "ModelUnavailable", "message": ""}, 4),
        ("failed", {"error": "CallTimedOut", "message": ""}, 1),
        ("cancelled", {"by": "you"}, 1),
        ("dead_lettered", {"reason": "", "attempts": 3}, 1),
        ("timed_out", {}, 124),
    ],
)
def test_how_a_call_ended_gives_the_code(kind: str, data: dict[str, object], code: int) -> None:
    assert exit_code_of_end(Event(9, kind, 1, 0, data)) == code
