"""`agentmesh host`: host a folder for other processes."""

from pathlib import Path
from typing import Annotated

import typer

from agentmesh.cli.opening import finish

EPILOG = """[bold]Examples[/bold]
  agentmesh host .agentmesh
  agentmesh host /var/lib/mesh --durability full --idle 0

Other commands and programs start it by themselves as soon as two of them share a folder. Started by hand, it stays
until Ctrl-C or SIGTERM with --idle 0."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Work")(host)


def host(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a local:// mesh.")],
    durability: Annotated[
        str, typer.Option("--durability", metavar="normal|full", help="full: a commit survives a power cut, too.")
    ] = "",
    idle: Annotated[
        float,
        typer.Option("--idle", metavar="SECONDS", min=0, help="End when nobody was there for so long; 0: never."),
    ] = 30.0,
) -> int:
    """Host a folder in a process that runs no agent's code.

    Whoever has the folder open finds it over the folder's socket. It ends 30 s after the last one left.
    """
    return finish(_host(folder, durability, idle))


async def _host(folder: Path, durability: str, idle: float) -> int:
    from agentmesh.broker.local.hosting import serve
    from agentmesh.cli.logs import start_logging
    from agentmesh.cli.output import note
    from agentmesh.clock import SystemClock
    from agentmesh.config import load_config

    config = load_config(durability=durability or None)
    start_logging(config.log_level)
    why = await serve(folder, SystemClock(), full=config.durability == "full", idle=idle or float("inf"))
    note(f"ended: {why}")
    return 0
