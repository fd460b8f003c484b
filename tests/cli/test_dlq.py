"""dlq: dead letters listed, shown, tried again and dropped."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli.commands import Done, Project

AGENT = '''
from pathlib import Path

from agentmesh import Agent, skill


class RoadAgent(Agent):
    """Mends roads."""

    @skill
    async def mend(self, road: str) -> dict:
        """Mend a road, with tar."""
        if not Path("tar").exists():
            raise FileNotFoundError(f"no tar for {road}")
        return {"mended": road}
'''
YAML = """
class: agent:RoadAgent
delivery: {retry: {on: [{error: OSError, attempts: 2, backoff: 10ms}]}}
"""
TOPIC = "RoadAgentTask"


@pytest.fixture
def roads(tmp_path: Path) -> Project:
    """A project whose agent has no tar."""
    place = tmp_path / "agents" / "road"
    place.mkdir(parents=True)
    (place / "agent.yaml").write_text(YAML)
    (place / "agent.py").write_text(AGENT)
    return Project(tmp_path)


def dead(project: Project, road: str, **settings: str) -> str:
    """The id of a call that ended among the dead letters."""
    done = project.run("call", TOPIC, json.dumps({"road": road}), "--json", **settings)
    assert done.code == 1
    assert "CallDeadLettered" in done.err
    return str(json.loads(done.out.splitlines()[0])["id"])


def read(project: Project, *arguments: str) -> Any:
    done = project.run(*arguments, "--json")
    assert (done.code, done.err) == (0, ""), done.err
    return json.loads(done.out)


def test_a_dead_letter_is_listed_shown_and_tried_again_as_a_new_call(roads: Project) -> None:
    old = dead(roads, "南山路")
    (listed,) = read(roads, "dlq", "list")
    assert (listed["id"], listed["topic"], listed["attempts"]) == (old, TOPIC, 2)
    assert listed["reason"] == "2 attempts raised, the last one FileNotFoundError: no tar for 南山路"
    assert old in roads.run("dlq", "list", TOPIC).out
    shown = read(roads, "dlq", "show", old)
    assert shown["input"] == {"road": "南山路"}
    assert [(each["attempt"], each["error"]) for each in shown["history"]] == [
        (1, "FileNotFoundError: no tar for 南山路")
    ]
    told = roads.run("dlq", "show", old).out
    assert "reason:    2 attempts raised" in told
    assert 'input:     {"road":"南山路"}' in told
    assert "attempt 1 at 20" in told

    (roads.folder / "tar").touch()
    new = roads.run("dlq", "retry", old).out.strip()
    assert new.startswith("call-")
    assert new != old
    done = roads.run("attach", new)
    assert (done.code, done.out) == (0, '{"mended":"南山路"}\n')
    submitted = json.loads(roads.run("attach", new, "--json", "--no-follow").out.splitlines()[0])
    assert (submitted["type"], submitted["data"]["parent"]) == ("submitted", old)
    assert read(roads, "dlq", "list") == []
    assert roads.run("attach", old, "--no-follow").code == 1


def test_all_of_a_topic_are_tried_again_or_dropped(roads: Project) -> None:
    first = [dead(roads, road) for road in "ab"]
    again = roads.run("dlq", "retry", "--all", TOPIC, "--json")
    assert [json.loads(line)["parent"] for line in again.out.splitlines()] == first
    for line in again.out.splitlines():
        assert roads.run("attach", json.loads(line)["id"]).code == 1  # there is no tar still
    assert len(read(roads, "dlq", "list", TOPIC)) == 2
    assert read(roads, "dlq", "drop", "--all", TOPIC) == {"dropped": 2}
    assert roads.run("dlq", "drop", "--all", TOPIC).out == "dropped 0 dead letters\n"
    listed = roads.run("dlq", "list")
    assert (listed.code, listed.out, listed.err) == (0, "", "no dead letters\n")


def test_one_is_dropped_and_the_others_stay(roads: Project) -> None:
    first, second = dead(roads, "a"), dead(roads, "b")
    limited = roads.run("dlq", "list", "--limit", "1")
    assert (first in limited.out, second in limited.out, limited.err) == (True, False, "and more (--limit)\n")
    assert roads.run("dlq", "drop", first).out == "dropped 1 dead letter\n"
    assert [each["id"] for each in read(roads, "dlq", "list")] == [second]
    assert roads.run("dlq", "drop", first).code == 2


def test_on_a_terminal_all_are_meant_only_if_somebody_says_so(roads: Project) -> None:
    dead(roads, "a")
    for answer, left in (("no\n", 1), ("y\n", 0)):
        with roads.terminal("dlq", "drop", "--all", TOPIC) as terminal:
            terminal.expect(f"Drop 1 dead letter of {TOPIC}? [y/N]")
            terminal.type(answer)
            terminal.expect("dropped")
            assert terminal.end() == 0
        assert len(read(roads, "dlq", "list")) == left


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["list", "NobodyTask"], 3, "NobodyTask"),
        (["show", "call-0192f0c17a3b7c62a1d4e5f60718293a"], 3, "There is no call or run"),
        (["show", "nonsense"], 3, "There is no call or run"),
        (["retry", "nonsense"], 3, "There is no call or run"),
        (["retry"], 2, "name the IDs, or else --all TOPIC"),
        (["drop", "call-1", "--all", TOPIC], 2, "name the IDs, or else --all TOPIC"),
        (["list", "--limit", "0"], 2, "--limit"),
    ],
)
def test_what_is_not_there_is_told(shared: Project, arguments: list[str], code: int, message: str) -> None:
    done = shared.run("dlq", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_a_call_that_is_not_dead_is_no_dead_letter(shared: Project) -> None:
    call = shared.run("call", "KitAgentTask", '{"text": "a"}', "-s", "echo", "--start").out.strip()
    done = shared.run("dlq", "retry", call)
    assert done.code == 2
    assert "is not among the dead letters: has not ended" in done.err


def test_a_mesh_of_a_tenant_sees_its_own_dead_letters_alone(roads: Project) -> None:
    theirs, ours = dead(roads, "a", AGENTMESH_TENANT="acme"), dead(roads, "b")

    def run(*arguments: str) -> Done:
        return roads.run("dlq", *arguments, AGENTMESH_TENANT="acme")

    assert [each["id"] for each in json.loads(run("list", "--json").out)] == [theirs]
    assert run("show", ours).code == 3
    assert run("drop", ours).code == 3
    assert run("drop", "--all", TOPIC).out == "dropped 1 dead letter\n"
    assert [each["id"] for each in read(roads, "dlq", "list")] == [ours]
