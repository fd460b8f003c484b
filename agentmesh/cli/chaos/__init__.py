"""`agentmesh chaos`: kill, stop and cut everything, and count what is lost."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentmesh.cli import options

if TYPE_CHECKING:
    from agentmesh.cli.chaos.drill import Options, Place
    from agentmesh.cli.chaos.oracle import Verdict

EPILOG = """[bold]Examples[/bold]
  agentmesh chaos
  agentmesh chaos --seconds 600 --workers 4 --callers 4
  agentmesh chaos --seed 17 --json | jq '.lost, .doubled'
  agentmesh chaos --sabotage no-fence
  agentmesh chaos --mesh rocketmq://10.0.0.1:8081?remoting=10.0.0.1:9876 --registry nacos://10.0.0.1:8848 --seconds 120
  agentmesh chaos --mesh $AGENTMESH_BROKER --registry $AGENTMESH_REGISTRY --servers .cluster/servers.json --seconds 180

On a rocketmq:// mesh the drill has a namespace of its own, unless the URL names one (which no drill was in before).
Exits with 0 if all is well, with 1 if something was lost or happened twice, and with 3 if there were fewer than 20
kills or 1,000 calls: a drill that tests nothing proves nothing."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Look and check")(chaos)


def chaos(
    seconds: Annotated[float, typer.Option(min=1, help="For how long processes are hurt.")] = 60,
    seed: Annotated[
        int | None,
        typer.Option(show_default=False, help="Of the plan, to repeat a drill. Else a new one; it is told."),
    ] = None,
    mesh: Annotated[
        str | None,
        typer.Option(
            "--mesh",
            "-m",
            metavar="URL",
            show_default=False,
            help="local://DIR, or rocketmq://HOST:PORT. Else a fresh folder.",
        ),
    ] = None,
    registry: Annotated[
        list[str] | None,
        typer.Option(
            "--registry", metavar="URL", show_default=False, help="nacos://HOST:PORT, for rocketmq://; repeatable."
        ),
    ] = None,
    servers: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default=False,
            help="Servers of a cluster to be killed and frozen, too; `make cluster-up` writes .cluster/servers.json.",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that work.")] = 2,
    callers: Annotated[int, typer.Option(min=1, help="Processes that call.")] = 2,
    supervisors: Annotated[int, typer.Option(min=0, help="Processes that supervise runs.")] = 1,
    sabotage: Annotated[
        str,
        typer.Option(metavar="NAME", help="Break the mesh on purpose; the drill has to notice.", show_default=False),
    ] = "",
    like: Annotated[str, typer.Option(metavar="NAME", hidden=True)] = "",
    as_json: options.AsJson = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the folder with what the processes wrote.")] = False,
) -> int:
    """Kill, stop and cut off workers, callers, supervisors and hosts, and count what is lost or happens twice.

    The servers of a cluster are left alone unless --servers tells how they are started again. All processes of the
    drill write down what they do in plain files. In the end those files alone are judged.
    """
    import random

    from agentmesh.cli.chaos.cluster import places
    from agentmesh.cli.chaos.drill import Options, Place
    from agentmesh.cli.chaos.faults import faults_of
    from agentmesh.cli.chaos.sabotage import SABOTAGES

    for name in filter(None, (sabotage, like)):
        if name not in SABOTAGES:
            raise typer.BadParameter(f"{name!r} is no sabotage. There are: {', '.join(SABOTAGES)}.")
    registries: tuple[str, ...] = tuple(registry or ())
    if mesh and mesh.startswith("rocketmq://"):
        mesh, registries = places(mesh, registries)
        if sabotage or like:
            raise typer.BadParameter("A sabotage breaks local:// meshes; this one is a cluster.")
    if mesh:
        faults_of(mesh, servers)  # raises if nothing can be done to it
    elif servers:
        raise typer.BadParameter("--servers is for a rocketmq:// mesh, which --mesh names.")
    place = Place(mesh or "")
    seed = random.randrange(1_000_000) if seed is None else seed  # noqa: S311 - told, so that it can be repeated
    wanted = Options(seconds, seed, place.mesh, workers, callers, supervisors, sabotage, like, registries, servers)
    found = False
    try:
        verdict = _drilled(wanted, place)
        found = bool(verdict.findings or verdict.died)
        return _tell(verdict, wanted, as_json=as_json)
    finally:
        _leave(place, keep=keep or found)


def _drilled(wanted: "Options", place: "Place") -> "Verdict":
    """Run the drill, with a line that tells how far it is on terminals."""
    import asyncio

    from rich.status import Status

    from agentmesh.cli.chaos.drill import Drill
    from agentmesh.cli.output import err, note

    note(
        f"seed {wanted.seed}, {wanted.seconds:g} s, {wanted.mesh}" + (f", {wanted.sabotage}" if wanted.sabotage else "")
    )
    with Status("starting", console=err()) as status:
        drill = Drill(wanted, place, status.update)
        return asyncio.run(drill.run())


def _tell(verdict: "Verdict", wanted: "Options", *, as_json: bool) -> int:
    from agentmesh.cli.chaos.report import PROVES_NOTHING, exit_code, figures, lines, seconds_wanted
    from agentmesh.cli.output import json_document, note, say

    code = exit_code(verdict)
    if as_json:
        findings = [finding._asdict() for finding in verdict.findings]
        json_document({"seed": wanted.seed, "sabotage": wanted.sabotage} | figures(verdict) | {"findings": findings})
    else:
        for name, value in lines(verdict):
            say(f"{name:<20} {value}")
    if code == PROVES_NOTHING:
        enough = seconds_wanted(verdict, wanted.seconds)
        note(
            "This proves nothing: there were fewer than 20 kills or 1,000 calls. Let it run for longer: --seconds "
            f"{enough:.0f}",
            "yellow",
        )
    return code


def _leave(place: "Place", *, keep: bool) -> None:
    """Remove the folder, unless somebody will want to look at it."""
    from agentmesh.cli.output import note

    if keep:
        note(f"kept: {place.folder}")
    else:
        place.remove()
