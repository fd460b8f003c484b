"""agents, find, new, check, doctor, help: the commands that look and check."""

import json
import sqlite3
from pathlib import Path

import pytest
from cli.commands import Project

from agentmesh.cli.new import names_of
from agentmesh.errors import ConfigError


def test_agents_and_find_show_tables_and_json(shared: Project) -> None:
    table = shared.run("agents")
    assert [line.split()[0] for line in table.out.splitlines()] == [
        "TOPIC",
        "CountAgentTask",
        "KitAgentTask",
        "PaintAgentTask",
    ]
    listed = json.loads(shared.run("agents", "--no-serve", "--all", "--json").out)
    assert [(each["topic"], each["alive"]) for each in listed] == [
        ("CountAgentTask", False),
        ("KitAgentTask", False),
        ("PaintAgentTask", False),
    ]
    assert listed[1]["skills"][0]["input"]["properties"] == {"text": {"type": "string"}}
    found = json.loads(shared.run("find", "数豆子", "-n", "1", "--json").out)
    assert [(each["topic"], each["skill"], each["alive"]) for each in found] == [("CountAgentTask", "count", True)]
    assert "nothing fits" in shared.run("find", "xyzzy").err


def test_agents_tell_what_they_cost_a_model_in_each_round(shared: Project) -> None:
    lines = shared.run("agents", "--tokens").out.splitlines()
    assert [line.split()[0] for line in lines] == ["OFFERED", "everything", "shortlist", "longest"]
    told = json.loads(shared.run("agents", "--tokens", "--json").out)
    assert (told["agents"], told["offered"], told["everything"]["functions"]) == (3, "everything", 6)
    assert told["shortlist"]["functions"] == 7
    assert 0 < told["everything"]["tokens"] < told["shortlist"]["tokens"]


def test_a_new_agent_works_at_once(empty: Project) -> None:
    made = empty.run("new", "agent", "my-news")
    assert (made.code, made.out) == (0, "made agents/my_news/agent.yaml\nmade agents/my_news/agent.py\n")
    chinese = empty.run("new", "agent", "天气", "--topic", "WeatherAgentTask")
    assert chinese.code == 0
    yaml = (empty.folder / "agents/weather/agent.yaml").read_text(encoding="utf-8")
    assert 'name: "天气"' in yaml
    schema = yaml.splitlines()[0].partition("$schema=")[2]
    assert json.loads((empty.folder / "agents/weather" / schema).read_text())["title"] == "agent.yaml"
    assert empty.run("check").out == "ok: 2 agents\n"
    commands = [line.strip() for line in made.err.splitlines()]
    assert 'agentmesh call MyNewsAgentTask \'{"request": "hello there"}\'' in commands
    called = empty.run("call", "MyNewsAgentTask", '{"request": "hello there"}')
    assert json.loads(called.out)["words"] == 2
    (empty.folder / "agents/my_news/agent.py").write_text("mine")
    again = empty.run("new", "agent", "MyNewsAgent")
    assert again.code == 2
    assert "agents/my_news/agent.yaml exists already" in again.err
    assert (empty.folder / "agents/my_news/agent.py").read_text() == "mine"


def test_a_new_agent_may_name_a_class_that_is_there(empty: Project) -> None:
    done = empty.run("new", "agent", "boss", "-d", "team", "--yaml-only", "--class", "agentmesh.supervisor:Supervisor")
    assert done.out == "made team/boss/agent.yaml\n"
    assert empty.run("check", "team").out == "ok: 1 agent\n"
    assert empty.run("new", "agent", "x", "--class", "a:B").code == 2
    assert empty.run("new", "agent", "x", "--yaml-only", "--class", "nonsense").code == 2


@pytest.mark.parametrize(
    ("name", "topic", "folder", "class_name", "made"),
    [
        ("weather", "", "weather", "WeatherAgent", "WeatherAgentTask"),
        ("WeatherAgent", "", "weather", "WeatherAgent", "WeatherAgentTask"),
        ("road_trip", "", "road_trip", "RoadTripAgent", "RoadTripAgentTask"),
        ("Road Trip", "TripTask", "road_trip", "RoadTripAgent", "TripTask"),
        ("agent", "", "agent", "AgentAgent", "AgentAgentTask"),
        ("天气", "WeatherAgentTask", "weather", "WeatherAgent", "WeatherAgentTask"),
    ],
)
def test_one_name_gives_all_others(name: str, topic: str, folder: str, class_name: str, made: str) -> None:
    assert names_of(name, topic)[:3] == (folder, class_name, made)


@pytest.mark.parametrize(
    ("name", "topic", "problem"),
    [
        ("天气", "", "--topic WeatherAgentTask"),
        ("../up", "", "cannot name an agent"),
        ("3d", "", "cannot name an agent"),
        ("", "", "cannot name an agent"),
        ("weather", "天气", "cannot name a topic"),
        ("天/气", "WeatherTask", "--topic"),
        ("x" * 70, "", "too long"),
    ],
)
def test_a_name_that_cannot_be_used_is_told(name: str, topic: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        names_of(name, topic)


def test_check_tells_every_mistake_in_one_go(project: Project) -> None:
    (project.folder / "agents/kit/agent.yaml").write_text("class: agent:KitAgent\ntopik: X\nversion: 1\n")
    (project.folder / "agents/count/agent.yaml").write_text("class: agent:CuntAgent\n")
    done = project.run("check")
    assert done.code == 1
    assert len(done.out.splitlines()) == 3
    assert "agents/kit/agent.yaml:2: topik: there is no key 'topik' here. Did you mean 'topic'?" in done.out
    told = json.loads(project.run("check", "agents/kit", "--json").out)
    assert [(each["path"], each["line"], each["field"]) for each in told] == [
        ("agents/kit/agent.yaml", 2, "topik"),
        ("agents/kit/agent.yaml", 3, "version"),
    ]
    assert project.run("agents").code == 2
    doctor = project.run("doctor")
    assert doctor.code == 1
    assert "fix: agentmesh check agents" in doctor.out


def test_doctor_says_where_each_setting_comes_from_and_never_shows_a_key(project: Project) -> None:
    (project.folder / "agentmesh.yaml").write_text("log_level: error\n")
    project.run("agents")
    done = project.run(
        "doctor", "--mesh", "local://.agentmesh", OPENAI_API_KEY="sk-secret", OPENAI_BASE_URL="http://me:pw@host/v1"
    )
    assert done.code == 0
    assert "broker     local://.agentmesh  (argument broker)" in done.out
    assert "log_level  error  (agentmesh.yaml)" in done.out
    assert "agents     agents  (default)" in done.out
    assert "(OPENAI_API_KEY)" in done.out
    assert "sk-secret" not in done.out
    assert ":pw@" not in done.out
    assert "3 topics; 0 tasks waiting, 0 running, 0 dead" in done.out
    assert "fix: export AGENTMESH_MODEL=NAME" in done.out
    misspelt = project.run("doctor", AGENTMESH_BROKR="x")
    assert misspelt.code == 1
    assert "Did you mean 'AGENTMESH_BROKER'?" in misspelt.out


def test_doctor_finds_a_damaged_a_newer_and_a_foreign_file(project: Project) -> None:
    project.run("agents")
    database = project.folder / ".agentmesh/mesh.db"
    sound = database.read_bytes()

    def fails(text: str) -> None:
        found = json.loads(project.run("doctor", "--json").out)
        failed = [each for each in found if each["status"] == "fail"]
        assert failed, found
        assert text in failed[0]["text"]
        assert failed[0]["fix"]

    database.write_bytes(sound[:4096] + b"\xff" * (len(sound) - 4096))
    fails("")
    database.write_bytes(b"this is no database" * 1000)
    fails("cannot be read")
    database.write_bytes(sound)
    with sqlite3.connect(database) as db:
        db.execute("pragma user_version = 99")
    db.close()
    fails("schema 99 is of a newer agentmesh")


def test_doctor_leaves_nothing_behind_where_there_is_no_mesh_yet(empty: Project) -> None:
    done = empty.run("doctor")
    assert done.code == 0
    assert "is not there yet; the first use makes it" in done.out
    assert list(empty.folder.iterdir()) == []
    (empty.folder / "file").write_text("")
    failed = empty.run("doctor", "--mesh", "local://file/mesh")
    assert failed.code == 1
    assert "is not a writable folder" in failed.out


def test_help_has_the_codes_and_an_example_of_each_command(empty: Project) -> None:
    done = empty.run()
    assert done.code == 0
    assert done.out.strip() == empty.run("--help").out.strip()
    assert "124  the deadline passed" in done.out
    assert "--install-completion" in done.out
    assert empty.run("--version").out.startswith("agentmesh 0.")
    assert empty.run("run", "-h").code == 0


def test_the_wheel_has_the_templates_of_new_agents() -> None:
    import agentmesh.cli.new as new

    place = Path(new.__file__).parent / "templates"
    assert sorted(each.name for each in place.iterdir()) == ["agent.py.txt", "agent.yaml.txt"]
