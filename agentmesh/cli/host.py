"""`agentmesh host`: host a folder for other processes."""

import gc
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from agentmesh.cli.opening import finish

EPILOG = """[bold]Examples[/bold]
  agentmesh host .agentmesh
  agentmesh host /var/lib/mesh --durability full --idle 0

Other commands and programs start it by themselves as soon as two of them share a folder. Started by hand, it stays
until Ctrl-C or SIGTERM with --idle 0."""

SABOTAGE: Final = "AGENTMESH_SABOTAGE"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Work")(host)


def host(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a local:// mesh.")],
    durability: Annotated[
        str, typer.Option("--durability", metavar="normal|full", help="full: a commit survives a power cut, too.")
    ] = "",
    retention: Annotated[
        str, typer.Option("--retention", metavar="SIZE", help="What the file may take, such as 10GB.")
    ] = "",
    idle: Annotated[
        float,
        typer.Option("--idle", metavar="SECONDS", min=0, help="End when nobody was there for so long; 0: never."),
    ] = 30.0,
) -> int:
    """Host a folder in a process that runs no agent's code.

    Whoever has the folder open finds it over the folder's socket. It ends 30 s after the last one left.
    """
    return finish(_host(folder, durability, retention, idle))


async def _host(folder: Path, durability: str, retention: str, idle: float) -> int:
    from agentmesh.broker.local.hosting import serve
    from agentmesh.cli.logs import start_logging
    from agentmesh.cli.output import note
    from agentmesh.clock import SystemClock
    from agentmesh.config import load_config

    config = load_config(durability=durability or None, retention=retention or None)
    start_logging(config.log_level)
    if os.environ.get(SABOTAGE):
        _sabotage()
    gc.freeze()  # what is imported is never garbage, and a look at everything would hold the loop for long
    gc.set_threshold(50_000, 50, 100)
    why = await serve(
        folder,
        SystemClock(),
        full=config.durability == "full",
        retention=config.retention or 0,
        idle=idle or float("inf"),
    )
    note(f"ended: {why}")
    return 0


def _sabotage() -> None:
    """Break this host on purpose: `agentmesh chaos --sabotage NAME` asks for it."""
    from agentmesh.cli.chaos import sabotage
    from agentmesh.cli.output import note

    note(f"WARNING: SABOTAGED: {SABOTAGE}={sabotage.commit()}. This host breaks its promises on purpose.", "bold red")
