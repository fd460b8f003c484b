"""The JSON Schemas of agent.yaml and agentmesh.yaml, for editors: `python -m agentmesh.runtime.schemas schemas`."""

import json
import sys
from pathlib import Path
from typing import Any, Final

from agentmesh.config import LOG_LEVELS, REGISTRIES, SETTINGS, SIZES, Setting
from agentmesh.runtime.agent_file import AgentFile
from agentmesh.schema import without_titles

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def agent_schema() -> dict[str, Any]:
    """The schema of agent.yaml, from the model that reads it."""
    schema = AgentFile.model_json_schema(schema_generator=without_titles())
    return {"$schema": _DIALECT} | schema | {"title": "agent.yaml"}


def config_schema() -> dict[str, Any]:
    """The schema of agentmesh.yaml, from the table of settings."""
    properties = {each.name: _setting(each) for each in SETTINGS if each.kind != "secret"}
    return {
        "$schema": _DIALECT,
        "title": "agentmesh.yaml",
        "description": "Settings of a mesh. Environment variables and arguments come before them.",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _setting(setting: Setting) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": f"{setting.help} Environment: {setting.env}.", "type": ["string", "null"]}
    if setting.kind == "level":
        schema["enum"] = [*LOG_LEVELS, None]
    if setting.kind == "url":
        schema["pattern"] = "://"
    if setting.kind == "size":
        schema["type"] = ["integer", "string", "null"]
        schema["minimum"], schema["maximum"] = SIZES[setting.name]
        schema["pattern"] = "^[0-9]{1,12} ?([KMGkmg][Ii]?)?[Bb]?$"
    if setting.kind == "registries":
        schema["type"] = ["string", "array", "null"]
        schema["items"] = {"type": "string", "pattern": f"^({REGISTRIES.pattern})$"}
    if setting.kind == "cards":
        schema |= {"type": ["string", "array", "null"], "items": {"type": ["string", "object"]}}
    return schema | ({"default": setting.default} if setting.default is not None else {})


FILES: Final = {"agent.schema.json": agent_schema, "config.schema.json": config_schema}


def text_of(schema: dict[str, Any]) -> str:
    """A schema as its file holds it."""
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"


def main(folder: str = "schemas") -> None:
    """Write the files."""
    for name, schema in FILES.items():
        Path(folder, name).write_text(text_of(schema()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
