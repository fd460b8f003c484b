"""`agentmesh trace`: a call or run with all below it, as a tree and a timeline."""

import json
import re

import pytest
from cli.commands import Project

FIELDS = [
    "at",
    "time",
    "duration",
    "depth",
    "call",
    "parent",
    "topic",
    "lite_topic",
    "offset",
    "attempt",
    "worker",
    "event",
    "error",
    "counts",
    "data",
]


@pytest.fixture(scope="module")
def run_id(shared: Project) -> str:
    """A run that has ended, in a process that is gone."""
    done = shared.run("run", "count the beans")
    found = re.search(r"run-[0-9a-f]{32}", done.err)
    assert found, done.err
    return found[0]


def test_a_run_is_shown_as_a_tree_and_in_order_of_time(shared: Project, run_id: str) -> None:
    done = shared.run("trace", run_id)
    assert done.code == 0
    tree, _, table = done.out.partition("\n\n")
    root, child = tree.splitlines()
    assert re.fullmatch(rf"{run_id}  SupervisorAgentTask\.run  completed  \S+ m?s", root)
    assert re.fullmatch(r"└─ call-\w+  CountAgentTask\.count  completed  \S+ m?s", child)
    head, *rows = table.splitlines()
    assert head.split() == ["AT", "TOOK", "TOPIC", "LITETOPIC", "TRY", "WORKER", "EVENT", "WHAT"]
    events = [row for row in rows if row.startswith("+")]
    ats = [float(row.split()[0]) for row in events]
    assert ats == sorted(ats)
    assert ats[0] == 0
    for word in ("submitted", "accepted", "planned", "call_started", "· submitted", "· completed", "call_finished"):
        assert any(word in row for row in events), word
    assert f"run-…{run_id[-8:]}" in events[0]
    assert "\x1b" not in done.out  # what agents say steers no terminal
    assert "\x07" not in done.out


def test_json_has_an_object_for_each_entry_with_the_same_fields(shared: Project, run_id: str) -> None:
    rows = [json.loads(line) for line in shared.run("trace", run_id, "--json").out.splitlines()]
    assert all(list(row) == FIELDS for row in rows)
    assert {row["lite_topic"].partition("-")[0] for row in rows} == {"run", "call"}
    submitted = [row for row in rows if row["event"] == "submitted"]
    assert [(row["topic"], row["depth"], row["parent"]) for row in submitted] == [
        ("SupervisorAgentTask", 0, ""),
        ("CountAgentTask", 1, run_id),
    ]
    assert submitted[0]["duration"] >= submitted[1]["duration"] >= 800
    assert {row["worker"] != "" for row in rows if row["attempt"]} == {True}
    below = shared.run("trace", submitted[1]["call"])
    assert f"made by {run_id}" in below.err


def test_there_is_a_limit_and_it_is_said(shared: Project, run_id: str) -> None:
    cut = shared.run("trace", run_id, "--json", "--limit", "3")
    assert (cut.code, len(cut.out.splitlines())) == (0, 3)
    assert "there is more than 3 entries: --limit N shows more" in cut.err
    assert shared.run("trace", run_id, "--limit", "0").code == 2


def test_a_call_that_failed_says_why_and_one_that_waits_is_shown_as_far_as_it_is(project: Project) -> None:
    failed = project.run("call", "KitAgentTask", "-s", "fail", "--start").out.strip()
    waits = project.run("call", "KitAgentTask", "-s", "ask", "--start").out.strip()
    project.run("attach", failed)
    done = project.run("trace", failed)
    assert f"{failed}  KitAgentTask.fail  failed" in done.out
    assert done.out.count("ZeroDivisionError: division by zero") == 2
    assert "  KitAgentTask.ask  not ended" in project.run("trace", waits).out


@pytest.mark.parametrize("wrong", ["run-0192f0c17a3b7c62a1d4e5f60718293a", "call-nothing", "log-mine", "nonsense"])
def test_an_unknown_id_is_not_found(shared: Project, wrong: str) -> None:
    done = shared.run("trace", wrong)
    assert (done.code, done.out) == (3, "")
    assert f"There is no call or run '{wrong}'" in done.err
    told = json.loads(shared.run("trace", wrong, "--json").err)
    assert (told["error"], told["call_id"]) == ("CallNotFound", wrong)


def test_another_tenants_call_is_as_if_it_did_not_exist(project: Project) -> None:
    mine = project.run("call", "KitAgentTask", "-s", "ask", "--start", AGENTMESH_TENANT="acme").out.strip()
    assert project.run("trace", mine, AGENTMESH_TENANT="acme").code == 0
    assert project.run("trace", mine).code == 0  # an operator's
    other = project.run("trace", mine, AGENTMESH_TENANT="umbrella")
    unknown = project.run("trace", "call-0192f0c17a3b7c62a1d4e5f60718293a", AGENTMESH_TENANT="umbrella")
    assert other.code == unknown.code == 3
    assert other.err.replace(mine, "ID") == unknown.err.replace("call-0192f0c17a3b7c62a1d4e5f60718293a", "ID")
