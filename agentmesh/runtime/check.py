"""Everything that can be told to be wrong with agents' files without running them."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from agentmesh.config import CONFIG_FILE, SETTINGS, config_mistakes
from agentmesh.document import Mistake, did_you_mean, read_document
from agentmesh.errors import DeclarationError
from agentmesh.ids import TOPIC
from agentmesh.runtime.agent import DEFAULT_VERSION
from agentmesh.runtime.agent_class import module_file
from agentmesh.runtime.agent_file import AGENT_FILE, Reading, read_agent_file
from agentmesh.runtime.declaration import no_method, no_skills, resolved_topic
from agentmesh.runtime.source import ClassSource, Source, read_source


class _Claim(NamedTuple):
    """The topic and version that an agent.yaml is for."""

    topic: str
    version: str
    reading: Reading


def check(path: str | Path) -> list[DeclarationError]:
    """All mistakes at `path`, by file and line; none if it is sound.

    `path` is a file, an agent's folder, a folder of such folders, or a project with an `agentmesh.yaml` or `agents/`.
    Nothing is imported or run: the classes are looked for in their source. Never raises.
    """
    place = Path(path)
    mistakes: list[DeclarationError] = []
    claims: list[_Claim] = []
    try:
        files = list(_files(place))
    except (OSError, ValueError) as error:
        return [DeclarationError(f"this cannot be read: {error}.", path=str(path))]
    if not files:
        return [_nothing(place)]
    for file in files:
        if file.name == CONFIG_FILE:
            mistakes += _config(file)
        elif file.suffix == ".py":
            mistakes += _missing_yaml(file) if file.parent != place and file != place else _source(file)
        else:
            mistakes += _agent(file, claims)
    mistakes += _double_claims(claims)
    unique = {(each.path, each.line, each.field, each.message): each for each in mistakes}
    return [unique[key] for key in sorted(unique)]
