"""The JSON Schemas in schemas/ are those that the code makes, and say what the reader says."""

import json
from pathlib import Path

import pytest

from agentmesh.document import parse_document
from agentmesh.runtime.agent_file import read_agent_file
from agentmesh.runtime.schemas import FILES, main, text_of
from agentmesh.schema import Checked, schema_mistakes

FOLDER = Path(__file__).parent.parent / "schemas"


@pytest.mark.parametrize("name", FILES)
def test_the_file_is_current(name: str) -> None:
    wanted = text_of(FILES[name]())
    assert (FOLDER / name).read_text(encoding="utf-8") == wanted, "run: python -m agentmesh.runtime.schemas"


def test_the_generator_writes_the_files(tmp_path: Path) -> None:
    main(str(tmp_path))
    assert {each.name for each in tmp_path.iterdir()} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_key_is_described(name: str) -> None:
    schema = FILES[name]()
    parts = [schema, *schema.get("$defs", {}).values()]
    for part in parts:
        assert part["description"]
        for key, value in part["properties"].items():
            assert value.get("description") or key in ("retry", "delivery", "quota"), key


SOUND = """
topic: TravelAgentTask
name: TravelAgent
version: 1.0.0
class: agent:TravelAgent
skills:
  - {id: plan, tags: [travel], confirm: false, input: {type: object}}
delivery: {concurrency: 8, timeout: 120s, lease: 30, retry: {lost: 3, on: [TimeoutError], attempts: 3, backoff: 1s},
  rate: 50/s, quota: {total: 9, over: refuse}, aging: 60s}
"""


@pytest.mark.parametrize(
    ("change", "sound"),
    [
        (("", ""), True),
        (("TravelAgentTask", "旅行"), False),
        (("version: 1.0.0", "version: 1.0"), False),
        (("class: agent:TravelAgent", ""), False),
        (("topic:", "topik:"), False),
        (("agent:TravelAgent", "agent.py"), False),
        (("120s", "2 minutes"), False),
        (("120s", "0.5h"), True),
        (("confirm: false", "confirm: no"), False),
        (("lost: 3", "lost: -1"), False),
        (("[TimeoutError]", "[A, {error: B, attempts: 5, max: 1m}]"), True),
        (("[TimeoutError]", "[A, {attempts: 5}]"), False),
        (("[TimeoutError]", "TimeoutError"), False),
        (("50/s", "1000/h"), True),
        (("50/s", "50"), False),
        (("total: 9", "total: -9"), False),
        (("over: refuse", "over: wait"), False),
        (("60s", "0"), True),
        (("id: plan", "id: a b"), False),
        (("id: plan, ", ""), False),
        (("name: TravelAgent", "name:"), True),
    ],
)
def test_the_schema_and_the_reader_agree(tmp_path: Path, change: tuple[str, str], sound: bool) -> None:
    text = SOUND.replace(*change, 1) if change[0] else SOUND
    schema = json.loads((FOLDER / "agent.schema.json").read_text(encoding="utf-8"))
    for part in schema["$defs"]["SkillPart"]["properties"].values():  # the metaschema is not fetched
        part["anyOf"] = [{key: each[key] for key in each if key != "$ref"} for each in part.get("anyOf", [{}])]
    assert schema_mistakes(schema) == []
    file = tmp_path / "agent.yaml"
    file.write_text(text, encoding="utf-8")
    assert (not Checked(schema).misfits(parse_document(text.encode()).data)) is sound
    assert (not read_agent_file(file).mistakes) is sound


def test_the_settings_schema_knows_no_secret() -> None:
    schema = FILES["config.schema.json"]()
    assert "api_key" not in schema["properties"]
    assert schema["properties"]["broker"]["default"] == "local://.agentmesh"
    assert not Checked(schema).misfits({"broker": "memory://x", "log_level": "debug"})
    assert Checked(schema).misfits({"brokr": "memory://x"})
