"""`check`: every mistake of every file, without running any of them."""

import json
import os
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentmesh.errors import DeclarationError
from agentmesh.runtime.check import check
from agentmesh.runtime.declaration import load

AGENT = """
raise SystemExit("this is never run")
from agentmesh import Agent, skill

class Base(Agent):
    version = "1.0.0"

    @skill
    def shared(self): ...

class TravelAgent(Base):
    @skill(id="plan-trip")
    async def plan(self, request): ...

    def pack(self): ...
"""


def agent(folder: Path, yaml: str = "class: agent:TravelAgent\n", source: str | None = AGENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.yaml").write_text(textwrap.dedent(yaml), encoding="utf-8")
    if source is not None:
        (folder / "agent.py").write_text(textwrap.dedent(source), encoding="utf-8")
    return folder


def told(path: Path) -> list[str]:
    return [str(each).removeprefix(str(path)).lstrip("/") for each in check(path)]


def test_a_sound_agent_has_no_mistakes_and_is_not_run(tmp_path: Path) -> None:
    place = agent(
        tmp_path / "travel", "class: agent:TravelAgent\nskills: [{id: plan-trip}, {id: pack}, {id: shared}]\n"
    )
    assert check(place) == []
    assert check(place / "agent.yaml") == []
    assert check(str(tmp_path)) == []


def test_all_mistakes_of_a_project_are_told_in_order_of_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "agentmesh.yaml").write_text("brokr: memory://x\n")
    agent(
        tmp_path / "agents" / "a",
        "topik: x\nclass: agent:TravelAgnt\nskills:\n  - id: plan-trip\n    input: {type: x}\n",
    )
    agent(tmp_path / "agents" / "b", "class: agent:TravelAgent\nskills:\n  - id: plam\n", AGENT + "\n\ndef f(:\n")
    agent(
        tmp_path / "agents" / "c", "class: agent:TravelAgent\nskills:\n  - id: plan-tripp\n  - id: _hidden\nname: C\n"
    )
    expected = """
        agentmesh.yaml:1: brokr: There is no setting 'brokr'. Did you mean 'broker'?
        agents/a/agent.yaml:1: topik: there is no key 'topik' here. Did you mean 'topic'?
        agents/a/agent.yaml:2: class: agent has no class 'TravelAgnt'. Did you mean 'TravelAgent'?
        agents/a/agent.yaml:5: skills[0].input.type: 'x' is no type: there are array, boolean, integer, null, number,
        agents/b/agent.py:18: SyntaxError: invalid syntax.
        agents/c/agent.yaml:3: skills[0].id: TravelAgent has no method or @skill 'plan-tripp'. Did you mean 'plan-trip'?
        agents/c/agent.yaml:4: skills[1].id: TravelAgent has no method or @skill '_hidden'. It has pack, plan, plan-trip
        """
    lines = textwrap.dedent(expected).strip().splitlines()
    found = told(tmp_path)
    assert [each[: len(line)] for each, line in zip(found, lines, strict=True)] == lines
    assert all(isinstance(each, DeclarationError) for each in check(tmp_path))


def test_the_folder_of_agents_is_the_one_that_the_settings_name(tmp_path: Path) -> None:
    (tmp_path / "agentmesh.yaml").write_text("agents: bots\n")
    agent(tmp_path / "bots" / "a", "class: agent:Nobody\n")
    assert told(tmp_path) == ["bots/a/agent.yaml:1: class: agent has no class 'Nobody'. It has Base, TravelAgent."]


def test_two_agents_for_one_topic_and_version_are_told_with_both_files(tmp_path: Path) -> None:
    agent(tmp_path / "a", "topic: TravelAgentTask\nclass: agent:TravelAgent\n")
    agent(tmp_path / "b", "name: x\nclass: agent:TravelAgent\ntopic: TravelAgentTask\n")
    agent(tmp_path / "c", "version: 2.0.0\nclass: agent:TravelAgent\n")
    (mistake,) = check(tmp_path)
    assert mistake.path == str(tmp_path / "b" / "agent.yaml")
    assert (mistake.line, mistake.field) == (3, "topic")
    assert f"TravelAgentTask 1.0.0 is claimed by {tmp_path / 'a' / 'agent.yaml'} too" in str(mistake)


def test_the_topic_and_version_that_the_class_names_count(tmp_path: Path) -> None:
    own = AGENT.replace(
        "class TravelAgent(Base):", "class TravelAgent(Base):\n    topic = 'OwnTask'\n    version = '3'"
    )
    agent(tmp_path / "a", "class: agent:TravelAgent\n", own)
    agent(tmp_path / "b", "topic: OwnTask\nversion: '3'\nclass: agent:TravelAgent\n")
    assert [each.line for each in check(tmp_path)] == [1]
    agent(tmp_path / "b", "topic: OtherTask\nversion: '4'\nclass: agent:TravelAgent\n", own)
    assert told(tmp_path) == [
        "b/agent.yaml:1: topic: TravelAgent.topic is 'OwnTask', and this is 'OtherTask': say it in one place.",
        "b/agent.yaml:2: version: TravelAgent.version is '3', and this is '4': say it in one place.",
    ]


@pytest.mark.parametrize(
    ("yaml", "source", "expected"),
    [
        ("class: agent:A\n", "class A: ...", "class: A is no Agent: derive it from agentmesh.Agent."),
        ("class: agent:A\n", "from agentmesh import Agent\nclass A(Agent): ...", "class: A has no skills: "),
        ("class: agnt:A\n", "class A: ...", "class: there is no agnt.py beside this file, and no installed module"),
        ("class: agent:A\n", None, "class: there is no agent.py beside this file"),
        (
            "class: agent:A\nname: 旅\nskills: [{id: f}]\n",
            "import agentmesh as m\nclass A(m.Agent):\n f = 1",
            "cannot name",
        ),
    ],
)
def test_what_the_source_shows_to_be_wrong_is_told(
    tmp_path: Path, yaml: str, source: str | None, expected: str
) -> None:
    place = agent(tmp_path / "x", yaml, source)
    (mistake,) = check(place)
    assert expected in str(mistake)


@pytest.mark.parametrize(
    "source",
    [
        "from elsewhere import A",
        "from elsewhere import *",
        "A = make()",
        "if x:\n    from elsewhere import A\nelse:\n    A = None",
        "from elsewhere import Base\nclass A(Base): ...",
        "from agentmesh import Agent\n@decorated\nclass A(Agent): ...",
        "from agentmesh import Agent\nclass A(Agent, metaclass=M): ...",
        "from agentmesh import Agent\nclass A(Agent):\n    @decorated\n    def f(self): ...",
        "from agentmesh import Agent\nclass A(Agent):\n    for n in (1,): ...",
        "from agentmesh import Agent, skill\nclass A(Agent):\n    @skill(id=NAME)\n    def f(self): ...",
        "from agentmesh import Agent\nclass A(Agent):\n    other = made",
        "class A(A): ...",
        "class A(B): ...\nclass B(A): ...",
    ],
)
def test_what_the_source_cannot_show_is_not_held_against_it(tmp_path: Path, source: str) -> None:
    assert check(agent(tmp_path / "x", "class: agent:A\nskills: [{id: other}]\n", source)) == []


def test_an_installed_module_is_taken_for_granted(tmp_path: Path) -> None:
    assert check(agent(tmp_path / "x", "class: agentmesh.supervisor:Supervisor\n", None)) == []


def test_agents_that_would_not_be_served_are_told(tmp_path: Path) -> None:
    agent(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "agent.yml").write_text("")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "agent.py").write_text("")
    (tmp_path / "shared").mkdir()
    assert told(tmp_path) == [
        "b/agent.yml: there is no agent.yaml beside it, so it is not served.",
        "c/agent.py: there is no agent.yaml beside it, so it is not served.",
    ]


def test_a_python_file_alone_is_checked_for_its_syntax(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text("a = 1\nb = (\n")
    assert told(file) == [":2: SyntaxError: '(' was never closed."]
    file.write_text("a = '\\d'\n")
    assert check(file) == []


def test_a_place_without_agents_is_told(tmp_path: Path) -> None:
    assert told(tmp_path) == [": there is no agent.yaml here, in a folder of it, or in one of agents/."]
    assert "cannot be read" in str(check(tmp_path / "nowhere")[0])
    assert "cannot be read" in str(check("\0")[0])
    assert "cannot be read" in str(check("x" * 5000)[0])


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "agent.yaml")
    assert "This is no file" in str(check(tmp_path)[0])
    place = agent(tmp_path / "x", source=None)
    os.mkfifo(place / "agent.py")
    assert check(place)


words = st.sampled_from(
    ["topic", "class", "skills", "id", "input", "output", "delivery", "retry", "on", "version", "120s", "1.0.0"]
) | st.sampled_from(["agent:A", "x.y:Z", "type", "object", "properties", "required", "$ref", "#", "pattern", "(", "\0"])
values = st.recursive(
    words | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=5),
    max_leaves=20,
)
quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@quick
@given(st.binary(max_size=300) | st.text(alphabet="{}[]:,&*!|>-#?%@ \n\"'abc1\t\\", max_size=200).map(str.encode))
def test_no_bytes_make_check_or_load_fail_otherwise_than_told(tmp_path: Path, raw: bytes) -> None:
    for name in ("agent.yaml", "agentmesh.yaml", "agent.py"):
        (tmp_path / name).write_bytes(raw)
        for each in check(tmp_path / name):
            assert isinstance(each, DeclarationError)
    check(tmp_path)
    with pytest.raises(DeclarationError):
        load(tmp_path / "agent.yaml")


@quick
@given(values)
def test_no_data_makes_check_fail(tmp_path: Path, value: object) -> None:
    (tmp_path / "agent.yaml").write_text(json.dumps(value), encoding="utf-8")
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "agentmesh.yaml").write_text(json.dumps(value), encoding="utf-8")
    check(tmp_path)
    check(tmp_path / "agentmesh.yaml")


@quick
@given(values, values, values)
def test_no_skills_make_check_fail(tmp_path: Path, skill: object, source: object, delivery: object) -> None:
    data = {"class": "agent:TravelAgent", "skills": [skill, {"id": "pack", "input": source}], "delivery": delivery}
    (tmp_path / "agent.yaml").write_text(json.dumps(data), encoding="utf-8")
    (tmp_path / "agent.py").write_text(AGENT)
    check(tmp_path)
