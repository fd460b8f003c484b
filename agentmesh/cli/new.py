"""`agentmesh new agent`: an agent that works at once, to be changed into one's own."""

import json
import os
import re
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated, Final, NamedTuple

import typer

from agentmesh.errors import ConfigError
from agentmesh.ids import TOPIC

EPILOG = """[bold]Examples[/bold]
  agentmesh new agent weather
  agentmesh new agent 天气 --topic WeatherAgentTask
  agentmesh new agent weather --yaml-only --class mypackage.weather:WeatherAgent

Nothing is overwritten."""

SCHEMA: Final = "agent.schema.json"
_CLASS: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_SIMPLE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*")

new_app = typer.Typer(no_args_is_help=True, help="Make an agent to begin with: new agent NAME.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(new_app, name="new", rich_help_panel="Write")


@new_app.callback()
def _new() -> None:
    """Make an agent to begin with: new agent NAME."""


class Names(NamedTuple):
    """What an agent is called, and where."""

    folder: str
    class_name: str
    topic: str
    display: str


@new_app.command(epilog=EPILOG)
def agent(
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="Such as weather; its folder is DIR/NAME.")
    ],
    folder: Annotated[Path, typer.Option("--dir", "-d", metavar="DIR", help="The folder of agents.")] = Path("agents"),
    topic: Annotated[
        str, typer.Option("--topic", "-t", show_default=False, help="Its topic, where the name does not give one.")
    ] = "",
    yaml_only: Annotated[bool, typer.Option("--yaml-only", help="No agent.py: the class is there already.")] = False,
    reference: Annotated[
        str, typer.Option("--class", metavar="MODULE:NAME", show_default=False, help="The class, for --yaml-only.")
    ] = "",
) -> None:
    """Make an agent.yaml and an agent.py that work at once."""
    from agentmesh.cli.output import note, say

    if reference and not yaml_only:
        raise typer.BadParameter("it goes with --yaml-only.", param_hint="--class")
    if reference and not _CLASS.fullmatch(reference):
        raise typer.BadParameter(f"{reference!r} is not MODULE:NAME, such as agent:WeatherAgent.", param_hint="--class")
    names = names_of(name, topic)
    place = folder / names.folder
    made = [place / "agent.yaml"] if yaml_only else [place / "agent.yaml", place / "agent.py"]
    try:
        _write(made, names, reference or f"agent:{names.class_name}", _schema(folder))
    except FileExistsError as error:
        raise ConfigError(f"{error.filename} exists already, and is not overwritten. Choose another name.") from error
    except OSError as error:
        raise ConfigError(f"{error.filename or place} cannot be written: {error.strerror}.") from error
    for file in made:
        say(f"made {file}")
    for line in _next_commands(folder, place, names, yaml_only=yaml_only):
        note(line)


def names_of(name: str, topic: str = "") -> Names:
    """All names that follow from one. Raises `ConfigError` where none does.

    `weather`, `WeatherAgent` and `my-weather` are names of agents in ASCII; a name in another script is the display
    name alone, and the others follow from the topic.
    """
    if topic and not TOPIC.match(topic):
        raise ConfigError(f"{topic!r} cannot name a topic: use a letter, then up to 63 letters, digits, '_' or '-'.")
    words = _words(name)
    if not words and topic and name.isprintable() and name.strip() and "/" not in name:
        words = _words(re.sub("Task$", "", topic))
    if not words:
        if name.isascii():
            raise ConfigError(f"{name!r} cannot name an agent: use a letter, then letters, digits, '_' or '-'.")
        text = (
            f"{name!r} can be shown, but a topic is in ASCII: add one with --topic, such as --topic WeatherAgentTask."
        )
        raise ConfigError(text)
    class_name = "".join(word[0].upper() + word[1:] for word in words) + "Agent"
    own_topic = topic or f"{class_name}Task"
    if not TOPIC.match(own_topic):
        raise ConfigError(f"{name!r} is too long: a topic has at most 64 characters, and {own_topic} has more.")
    display = class_name if name.isascii() else name.strip()
    return Names("_".join(word.lower() for word in words), class_name, own_topic, display)


def _words(name: str) -> list[str]:
    """`my-weather`, `MyWeather` and `MyWeatherAgent` are my, weather; nothing if it is no such name."""
    if not re.fullmatch("[A-Za-z][A-Za-z0-9_ -]*", name, re.ASCII):
        return []
    words = [each for each in re.split(r"[_ -]+|(?<=[a-z0-9])(?=[A-Z])", name) if each]
    return words[:-1] if len(words) > 1 and words[-1].lower() == "agent" else words


def _write(made: list[Path], names: Names, reference: str, schema: str) -> None:
    for file in made:
        if file.exists():
            raise FileExistsError(None, "exists", str(file))
    made[0].parent.mkdir(parents=True, exist_ok=True)
    display = names.display if _SIMPLE.fullmatch(names.display) else json.dumps(names.display, ensure_ascii=False)
    for file in made:
        text = files(__package__).joinpath("templates", f"{file.name}.txt").read_text(encoding="utf-8")
        filled = Template(text).substitute(
            schema=schema, topic=names.topic, name=display, reference=reference, class_name=names.class_name
        )
        with file.open("x", encoding="utf-8") as opened:
            opened.write(filled)


def _schema(folder: Path) -> str:
    """The JSON Schema for editors, as seen from an agent's folder: the project's, else one that is put in `folder`."""
    from agentmesh.runtime.schemas import agent_schema, text_of

    if (folder.parent / "schemas" / SCHEMA).is_file():
        return f"../../schemas/{SCHEMA}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCHEMA).write_text(text_of(agent_schema()), encoding="utf-8")
    return f"../{SCHEMA}"


def _next_commands(folder: Path, place: Path, names: Names, *, yaml_only: bool) -> list[str]:
    where = "" if folder == Path("agents") else f" --agents {folder}"
    example = "" if yaml_only else ' \'{"request": "hello there"}\''
    return [
        "next:",
        f"  {os.environ.get('EDITOR') or 'edit'} {place / ('agent.yaml' if yaml_only else 'agent.py')}",
        f"  agentmesh check {place}",
        f"  agentmesh call {names.topic}{example}{where}",
    ] + ([] if yaml_only else [f"  agentmesh run 'say hello to everybody'{where}"])
