"""`agentmesh check`: every mistake in agents' files, without running them."""

from pathlib import Path
from typing import Annotated

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import folders_at

EPILOG = """[bold]Examples[/bold]
  agentmesh check
  agentmesh check agents/weather
  agentmesh check --json | jq -r '.[] | "\\(.path):\\(.line)"'

Prints file:line: field: message for each mistake, and exits with 1 if there is one."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Look and check")(check)


def check(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="[PATH]", show_default=False, help="A project, a folder of agents, an agent, or a file. Else here."
        ),
    ] = Path(),
    as_json: options.AsJson = False,
) -> int:
    """Tell every mistake in agents' files, with file, line and field.

    None of their code is run.
    """
    from agentmesh.cli.exits import FAILED, OK
    from agentmesh.cli.output import json_document, note, say
    from agentmesh.runtime.check import check as mistakes_at

    mistakes = mistakes_at(path)
    if as_json:
        json_document(
            [{"path": each.path, "line": each.line, "field": each.field, "message": each.message} for each in mistakes]
        )
    else:
        for each in mistakes:
            say(str(each))
        if mistakes:
            note(_count(len(mistakes), "mistake"))
        else:
            say(f"ok: {_count(len(_agents_at(path)), 'agent')}")
    return FAILED if mistakes else OK


def _agents_at(path: Path) -> list[Path]:
    """The agents that were looked at."""
    from agentmesh.config import CONFIG_FILE
    from agentmesh.document import read_document

    if path.is_dir() and not (path / "agent.yaml").exists():
        settings = read_document(path / CONFIG_FILE).data if (path / CONFIG_FILE).exists() else None
        name = settings.get("agents") if isinstance(settings, dict) else None
        folder = path / (name if isinstance(name, str) else "agents")
        return folders_at(folder if folder.is_dir() else path)
    return folders_at(path)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
