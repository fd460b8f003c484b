"""`agentmesh doctor` on the health of a mesh: each problem with what to do, and nothing is changed by looking."""

import json
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from cli.commands import Project

Start = Callable[..., "subprocess.Popen[str]"]


def change(project: Project, *statements: str) -> None:
    with closing(sqlite3.connect(project.folder / ".agentmesh/mesh.db")) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def found(project: Project) -> dict[str, list[dict[str, Any]]]:
    areas: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(project.run("doctor", "--json").out):
        assert list(each) == ["area", "status", "text", "fix"]
        areas.setdefault(each["area"], []).append(each)
    return areas


def test_each_problem_comes_with_what_to_do_and_warns(project: Project) -> None:
    project.run("agents")
    call = project.run("call", "KitAgentTask", "-s", "ask", "--start", "--no-serve").out.strip()
    change(
        project,
        "insert into dead select 5, topic, 0, 3, 'poison', message from task",
        "update task set token = 'held', holder = '99999999-1-nobody'",
        f"delete from lite_topic where name = '{call}'",
    )
    done = project.run("doctor")
    assert done.code == 0  # what warns does not fail
    for said, fix in (
        ("1 tasks are leased to pid 99999999, which is dead.", "fix: Whoever hosts hands them out again"),
        ("KitAgentTask has 1 dead letters.", "fix: agentmesh dlq list KitAgentTask"),
        (f"1 tasks have lost their log: {call}.", "fix: They are worked on, but nobody can wait for them"),
        ("Entries that belong to no LiteTopic: numbers 1.", "fix: They only take room"),
    ):
        assert f"warn  health    {said}" in done.out
        assert fix in done.out
    health = found(project)["health"]
    assert {each["status"] for each in health} == {"warn"}
    assert all(each["fix"] for each in health)


def test_a_damaged_page_fails_by_the_name_of_its_table(project: Project) -> None:
    project.run("call", "KitAgentTask", '{"text": "find-me-%s"}' % ("x" * 3000), "-s", "echo")
    database = project.folder / ".agentmesh/mesh.db"
    with closing(sqlite3.connect(database)) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    raw = bytearray(database.read_bytes())
    page = raw.rindex(b"find-me-") // 4096
    raw[page * 4096 : (page + 1) * 4096] = b"\xff" * 4096
    database.write_bytes(raw)
    done = project.run("doctor")
    assert done.code == 1
    assert "fail  integrity Table entry is damaged (" in done.out
    assert "The others can be read." in done.out
    assert "3 topics; 0 tasks waiting" in done.out
    assert ".recover | sqlite3 recovered.db" in done.out


def test_looking_leaves_a_mesh_where_it_is_and_asks_the_host_that_is_there_for_all(
    project: Project, in_background: Start
) -> None:
    up = in_background("up")
    assert up.stderr
    while "Ctrl-C stops" not in up.stderr.readline():
        pass
    project.run("stats")  # now that there are two, the store has moved to a host
    lock = Path(project.folder / ".agentmesh/lock").read_text()
    areas = found(project)
    pid = lock.split()[1].partition("-")[0]
    assert areas["host"] == [
        {"area": "host", "status": "ok", "text": f"hosted by pid {pid}, for all who come", "fix": ""}
    ]
    assert areas["integrity"][0]["text"] == "every table checked"
    assert "health" not in areas
    assert Path(project.folder / ".agentmesh/lock").read_text() == lock
    assert up.poll() is None


def test_an_older_file_is_left_as_it_is(project: Project) -> None:
    folder = project.folder / ".agentmesh"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "mesh.db")) as db:
        db.executescript((Path(__file__).parents[1] / "broker/schema_1.sql").read_text())
        db.execute("pragma user_version = 1")
        db.execute(f"pragma application_id = {0x414D5348}")
    assert found(project)["database"][0]["text"].startswith("schema 1 (the next use brings it to 2), ")
    project.run("agents")
    assert found(project)["database"][0]["text"].startswith("schema 2, ")
