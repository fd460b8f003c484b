"""`agentmesh run`: a goal in, an answer out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import NEW_AGENT, agent_folders, finish, opened

EPILOG = """[bold]Examples[/bold]
  agentmesh run 帮我做一个下周三到下周日杭州周边自驾游方案
  agentmesh run --agents ../team/agents --deadline 10m "Plan a weekend"
  agentmesh run --json "Will it rain on Friday?" | jq -r .data.result?
  agentmesh run - < goal.txt > answer.txt

On a terminal the run is shown live; otherwise progress goes to stderr and the answer alone to stdout.
Ctrl-C cancels the run. If this process dies instead, agentmesh attach ID goes on with it."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Work")(run)


def run(
    goal: Annotated[
        list[str], typer.Argument(metavar="GOAL", show_default=False, help="What to reach, in plain words; - is stdin.")
    ],
    agents: options.AgentPaths = None,
    session: Annotated[
        str, typer.Option("--session", "-s", metavar="NAME", show_default=False, help="The session that it belongs to.")
    ] = "",
    deadline: options.Deadline = None,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Reach a goal: a supervisor calls the agents of this folder.

    They are served by this process, and so is a supervisor unless one is alive.
    """
    text = (sys.stdin.read() if goal == ["-"] else " ".join(goal)).strip()
    if not text:
        raise typer.BadParameter("the goal is empty.", param_hint="GOAL")
    return finish(_run(text, agents, session, deadline, mesh, registry, as_json, verbose))


async def _run(
    goal: str,
    agents: list[Path] | None,
    session: str,
    deadline: float | None,
    url: str | None,
    registries: list[str] | None,
    as_json: bool,
    verbose: int,
) -> int:
    from agentmesh.cli.follow import watch
    from agentmesh.cli.output import is_rich, json_line, note, one_line

    async with opened(url, registries, verbose=verbose) as mesh:
        folders = agent_folders(mesh.config, agents)
        await mesh.serve(*folders)
        if not folders and not await mesh.registry.list():
            note(f"no agents in {mesh.config.agents}/ to call ({NEW_AGENT})", "yellow")
        call = await mesh.run(goal, session=session, deadline=deadline)
        if as_json:
            json_line({"id": call.id})
        elif not is_rich():
            note(call.id)
        return await watch(mesh, call, title=one_line(goal, 400), as_json=as_json, owned=True)
