"""Everything that can be told to be wrong with agents' files without running them."""

import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

from agentmesh.config import CONFIG_FILE, config_mistakes
from agentmesh.document import read_document
from agentmesh.errors import DeclarationError
from agentmesh.ids import TOPIC
from agentmesh.runtime.agent import DEFAULT_VERSION
from agentmesh.runtime.agent_class import module_file, no_class, no_module
from agentmesh.runtime.agent_file import AGENT_FILE, CLASS, AgentFile, Reading, read_agent_file
from agentmesh.runtime.declaration import disagreement, no_method, no_skills, no_topic, resolved_topic
from agentmesh.runtime.source import ClassSource, read_source


def check(path: str | Path) -> list[DeclarationError]:
    """All mistakes at `path`, by file and line; none if it is sound.

    `path` is a file, an agent's folder, a folder of such folders, or a project with an `agentmesh.yaml` or `agents/`.
    Nothing is imported or run: classes are looked for in their source. Never raises.
    """
    try:
        mistakes = list(_mistakes(Path(path)))
    except (OSError, ValueError) as error:
        mistakes = [DeclarationError(f"this cannot be read: {error}.", path=str(path))]
    unique = {(each.path, each.line, each.field, each.message): each for each in mistakes}
    return [unique[key] for key in sorted(unique)]


def _mistakes(place: Path) -> Iterator[DeclarationError]:
    if place.is_file() and place.suffix == ".py":
        yield from _source_mistakes([place])
    elif place.is_file() and place.name == CONFIG_FILE:
        yield from _config_mistakes(place)
    elif not place.is_dir():
        yield from _agents_mistakes([place])
    elif (place / AGENT_FILE).exists():
        yield from _agents_mistakes([place / AGENT_FILE])
    elif (place / CONFIG_FILE).exists():
        yield from _config_mistakes(place / CONFIG_FILE)
        yield from _folder_mistakes(_agents_folder(place))
    else:
        yield from _folder_mistakes(place / "agents" if (place / "agents").is_dir() else place)


def _agents_folder(project: Path) -> Path:
    """Where the project's `agentmesh.yaml` says that its agents are."""
    data = read_document(project / CONFIG_FILE).data
    name = data.get("agents") if isinstance(data, dict) else None
    return project / (name if isinstance(name, str) else "agents")


def _folder_mistakes(folder: Path) -> Iterator[DeclarationError]:
    """Those of all agents in the folders of `folder`, and of folders that look like an agent's and are none."""
    folders = [each for each in sorted(folder.iterdir()) if each.is_dir()] if folder.is_dir() else []
    files = [each / AGENT_FILE for each in folders if (each / AGENT_FILE).exists()]
    yield from _agents_mistakes(files)
    strays = [each / name for each in folders for name in ("agent.yml", "agent.py") if (each / name).exists()]
    for stray in strays:
        if stray.parent / AGENT_FILE not in files:
            yield DeclarationError(f"there is no {AGENT_FILE} beside it, so it is not served.", path=str(stray))
    if not files and not strays:
        text = f"there is no {AGENT_FILE} here, in a folder of it, or in one of agents/."
        yield DeclarationError(text, path=str(folder))


def _config_mistakes(file: Path) -> Iterator[DeclarationError]:
    for each in config_mistakes(read_document(file)):
        yield DeclarationError(each.message, path=str(file), line=each.line, field=each.field)


def _agents_mistakes(files: Iterable[Path]) -> Iterator[DeclarationError]:
    """Those of each agent.yaml and of the Python beside it; and two agents that are for the same tasks."""
    claims: dict[tuple[str, str], Path] = {}
    for file in files:
        reading = read_agent_file(file)
        found = _found_class(reading)
        yield from map(reading.error, reading.mistakes)
        yield from _class_mistakes(reading, found)
        if file.name == AGENT_FILE:
            yield from _source_mistakes(sorted(file.parent.glob("*.py")))
        if claim := _claim(reading, found):
            if not TOPIC.match(claim[0]):
                yield _error(reading, no_topic(claim[0]), ("name",))
            first = claims.setdefault(claim, file)
            if first != file:
                text = f"{' '.join(claim)} is claimed by {first} too: change the topic or the version of one."
                yield _error(reading, text, ("topic",))


def _source_mistakes(files: Iterable[Path]) -> Iterator[DeclarationError]:
    for file in files:
        if error := read_source(file).error:
            yield DeclarationError(f"{error[0]}.", path=str(file), line=error[1])


def _reference(reading: Reading) -> tuple[str, str] | None:
    """Module and name of the class, if the YAML is sound so far."""
    data = reading.document.data
    text = data.get("class") if isinstance(data, dict) else None
    if not isinstance(text, str) or not re.fullmatch(CLASS, text):
        return None
    module, _, name = text.partition(":")
    return module, name


def _found_class(reading: Reading) -> ClassSource | None:
    """The class as its source beside the YAML shows it; None where that cannot be told."""
    reference = _reference(reading)
    file = module_file(reading.path.parent, reference[0]) if reference else None
    return read_source(file).find(reference[1]) if reference and file else None


def _class_mistakes(reading: Reading, found: ClassSource | None) -> Iterator[DeclarationError]:
    if reference := _reference(reading):
        module, name = reference
        file = module_file(reading.path.parent, module)
        if file is None:
            if not _is_installed(module):
                yield _error(reading, no_module(module), ("class",))
        elif found is None:
            source = read_source(file)
            if source.error is None and not source.may_have(name):
                yield _error(reading, no_class(module, name, source.classes), ("class",))
        else:
            yield from _skill_mistakes(reading, found)


def _skill_mistakes(reading: Reading, found: ClassSource) -> Iterator[DeclarationError]:
    """Where the file shows all of the class: whether it is an agent, and has the skills that the YAML names."""
    if not found.certain:
        return
    if not found.is_agent:
        yield _error(reading, f"{found.name} is no Agent: derive it from agentmesh.Agent.", ("class",))
        return
    skills = reading.document.data.get("skills")
    known = found.skills | found.methods
    for position, part in enumerate(skills if isinstance(skills, list) else ()):
        name = part.get("id") if isinstance(part, dict) else None
        if isinstance(name, str) and name not in found.skills and name.replace("-", "_") not in found.methods:
            yield _error(reading, no_method(found.name, name, known), ("skills", position, "id"))
    if not skills and not found.skills:
        yield _error(reading, no_skills(found.name), ("class",))
    if reading.content is not None:
        yield from _disagreements(reading, reading.content, found)


def _disagreements(reading: Reading, content: AgentFile, found: ClassSource) -> Iterator[DeclarationError]:
    for field, said, own, default in (
        ("topic", content.topic, found.topic, f"{found.name}Task"),
        ("version", content.version, found.version, DEFAULT_VERSION),
    ):
        if text := disagreement(content.class_, field, said, own, default):
            yield _error(reading, text, (field,))


def _claim(reading: Reading, found: ClassSource | None) -> tuple[str, str] | None:
    """The topic and version that the agent is for, as far as the files tell."""
    content, reference = reading.content, _reference(reading)
    if content is None or reference is None:
        return None
    default = f"{reference[1]}Task"
    topic = resolved_topic(content, (found and found.topic) or default, default)
    return topic, content.version or (found and found.version) or DEFAULT_VERSION


def _is_installed(module: str) -> bool:
    """Whether Python would find the outermost package; looking further would import it."""
    try:
        return find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError, AttributeError):
        return True


def _error(reading: Reading, text: str, steps: tuple[str | int, ...]) -> DeclarationError:
    return reading.error(reading.document.mistake(text, steps))
