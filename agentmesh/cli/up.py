"""`agentmesh up`: serve agents until told to stop."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import NEW_AGENT, agent_folders, finish, opened, serve_supervisor
from agentmesh.errors import ConfigError

if TYPE_CHECKING:
    import asyncio

    from agentmesh.mesh import Mesh

EPILOG = """[bold]Examples[/bold]
  agentmesh up
  agentmesh up agents/weather agents/travel
  agentmesh up --mesh local:///var/lib/mesh --drain 60 --metrics 9464

Ctrl-C or SIGTERM: takes no more tasks, lets what runs end, and gives back the rest for the next process to do. A second
Ctrl-C does not wait. Both end it with exit code 0."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Work")(up)


def up(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            show_default=False,
            help="Agents' folders, or folders of them. Else the configured one: agents/.",
        ),
    ] = None,
    drain: Annotated[
        float, typer.Option("--drain", metavar="SECONDS", min=0, help="How long running tasks may take to end.")
    ] = 10.0,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            metavar="PORT",
            show_default=False,
            help="Serve Prometheus's /metrics, and /healthz, at this port of loopback; 0: any that is free.",
        ),
    ] = "",
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    verbose: options.Verbose = 0,
) -> int:
    """Serve agents and a supervisor until Ctrl-C.

    The supervisor is the one that comes with agentmesh, unless another is among the agents.
    """
    return finish(_up(paths, drain, metrics, mesh, registry, verbose))


async def _up(
    paths: list[Path] | None, drain: float, metrics: str, url: str | None, registries: list[str] | None, verbose: int
) -> int:
    import asyncio

    from agentmesh.cli.output import note

    try:
        await _serve(paths, drain, metrics, url, registries, verbose)
    except asyncio.CancelledError:
        note("stopped at once; what ran is done again by the next process")
    else:
        note("stopped")
    return 0


async def _serve(
    paths: list[Path] | None, drain: float, metrics: str, url: str | None, registries: list[str] | None, verbose: int
) -> None:
    from agentmesh.cli.agents import show
    from agentmesh.cli.output import note

    address = _address(metrics)
    async with opened(url, registries, verbose=verbose, drain=drain, alone=False) as mesh, _exporting(mesh, address):
        folders = agent_folders(mesh.config, paths)
        if not folders:
            raise ConfigError(f"There are no agents in {mesh.config.agents}/ to serve. {NEW_AGENT}.")
        await mesh.serve(*folders)
        await serve_supervisor(mesh)
        show(await mesh.registry.list())
        stop = _listen()
        note(f"serving at {mesh.config.broker}; Ctrl-C stops")
        await stop.wait()
        if sys.stderr.isatty():
            sys.stderr.write("\r")  # over the terminal's ^C
        note(f"stopping: what runs may take {drain:g} s to end (Ctrl-C again does not wait)")


def _address(metrics: str) -> tuple[str, int] | None:
    """Where the figures are wanted, if anywhere. Raises `ConfigError`."""
    from agentmesh.cli.metrics_server import address_of

    return address_of(metrics) if metrics else None


@asynccontextmanager
async def _exporting(mesh: "Mesh", address: tuple[str, int] | None) -> AsyncIterator[None]:
    """Serve the figures of the mesh there."""
    if address is None:
        yield
        return
    from agentmesh.cli.metrics_server import serving
    from agentmesh.cli.output import note

    async with serving(mesh.broker.figures, *address) as url:
        note(f"metrics at {url}")
        yield


def _listen() -> "asyncio.Event":
    """What the first SIGINT or SIGTERM sets. Each one after it stops the task at once."""
    import asyncio
    import signal

    loop, stop, task = asyncio.get_running_loop(), asyncio.Event(), asyncio.current_task()

    def told() -> None:
        if stop.is_set() and task:
            task.cancel()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told)
    return stop
