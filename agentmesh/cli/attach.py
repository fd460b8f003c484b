"""`agentmesh attach`: a call or run again, from its beginning or an offset, until its end."""

from typing import TYPE_CHECKING, Annotated

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import agent_folders, finish, opened, serve_supervisor

if TYPE_CHECKING:
    from agentmesh.cli.view import View
    from agentmesh.mesh import Mesh
    from agentmesh.runtime.call import Call

EPILOG = """[bold]Examples[/bold]
  agentmesh attach run-0192f0c17a3b7c62a1d4e5f60718293a
  agentmesh attach call-0192f0c17a3b… --json --after 12
  agentmesh attach call-0192f0c17a3b… --no-follow

Replays what happened, then goes on live. The exit code is that of the call. Ctrl-C only stops watching. As long as this
process has a local mesh open no other can work on it, so it serves the agents of this folder itself."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Work")(attach)


def attach(
    call_id: options.CallId,
    after: Annotated[
        int, typer.Option("--after", metavar="OFFSET", min=-1, help="Only what came later than this offset.")
    ] = -1,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Show what is there, and wait for nothing.")] = False,
    agents: options.AgentPaths = None,
    no_serve: options.NoServe = False,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Show a call or run again, from its beginning to its result."""

    async def watch_again() -> int:
        from agentmesh.cli.follow import watch

        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            call = await opened_mesh.attach(call_id)
            if no_follow:
                return await _look(call, after, as_json=as_json)
            if not no_serve and (await call.state()).terminal is None:
                await opened_mesh.serve(*agent_folders(opened_mesh.config, agents))
                await _serve_its_supervisor(opened_mesh, call)
            return await watch(opened_mesh, call, title=call.topic, as_json=as_json, after=after, owned=False)

    return finish(watch_again())


async def _look(call: "Call", after: int, *, as_json: bool) -> int:
    """Show the events that there are; the result too if it has ended."""
    from agentmesh.cli.follow import conclude
    from agentmesh.cli.output import note
    from agentmesh.cli.view import JsonView, Lines

    view: View = JsonView() if as_json else Lines()
    state = await call.state()
    for event in state.events:
        if event.offset > after:
            view.event(event)
    view.close()
    if state.terminal:
        return await conclude(call, as_json=as_json)
    if not as_json:
        note(f"{call.id} has not ended")
    return 0


async def _serve_its_supervisor(mesh: "Mesh", call: "Call") -> None:
    from agentmesh.mesh import SUPERVISOR

    if call.topic == SUPERVISOR:
        await serve_supervisor(mesh)
