"""`agentmesh call`: one call of one agent."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import agent_folders, announce, finish, opened

if TYPE_CHECKING:
    from agentmesh.mesh import Mesh

EPILOG = """[bold]Examples[/bold]
  agentmesh call WeatherAgentTask '{"city": "杭州", "days": 3}'
  agentmesh call WeatherAgentTask @input.json --skill forecast --deadline 30s
  echo '{"city": "杭州"}' | agentmesh call WeatherAgentTask -
  agentmesh call TravelAgentTask @trip.json --start --key trip-42

Progress goes to stderr, the result to stdout as JSON. Ctrl-C cancels the call. What the agent asks is asked at the
terminal; where there is none, the exit code is 5, and agentmesh answer ID TEXT answers."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Work")(call)


def call(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", show_default=False, help="The agent's topic.")],
    value: Annotated[
        str, typer.Argument(metavar="JSON", show_default=False, help="The input; - is stdin, @FILE a file. Else {}.")
    ] = "{}",
    skill: Annotated[
        str, typer.Option("--skill", "-s", metavar="ID", show_default=False, help="Needed where the agent has several.")
    ] = "",
    key: Annotated[
        str, typer.Option("--key", "-k", metavar="TEXT", show_default=False, help="The same key gives the same call.")
    ] = "",
    priority: Annotated[int, typer.Option("--priority", "-p", min=0, max=9, help="9 goes first.")] = 4,
    tenant: Annotated[str, typer.Option("--tenant", metavar="NAME", show_default=False, help="Whose call it is.")] = "",
    deadline: options.Deadline = None,
    delay: Annotated[
        float | None,
        typer.Option("--delay", metavar="TIME", parser=options.seconds, help="Hold it back: 90, 90s, 10m, 2h."),
    ] = None,
    start: Annotated[
        bool, typer.Option("--start", help="Do not wait: print the id, leave the work to others.")
    ] = False,
    agents: options.AgentPaths = None,
    no_serve: options.NoServe = False,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Call an agent and print its result.

    The agents of this folder are served by this process meanwhile.
    """
    wanted = {
        "skill": skill,
        "key": key,
        "priority": priority,
        "tenant": tenant,
        "deadline": deadline,
        "delay": delay or 0,
    }
    body = _read_input(value)

    async def make() -> int:
        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            folders = [] if no_serve else agent_folders(opened_mesh.config, agents)
            if start:
                await announce(opened_mesh, folders)
                return await _start(opened_mesh, topic, body, wanted, as_json=as_json)
            await opened_mesh.serve(*folders)
            return await _call(opened_mesh, topic, body, wanted, as_json=as_json)

    return finish(make())


async def _start(mesh: "Mesh", topic: str, body: Any, wanted: dict[str, Any], *, as_json: bool) -> int:
    from agentmesh.cli.output import json_line, say

    started = await mesh.start(topic, body, **wanted)
    if as_json:
        json_line({"id": started.id})
    else:
        say(started.id)
    return 0


async def _call(mesh: "Mesh", topic: str, body: Any, wanted: dict[str, Any], *, as_json: bool) -> int:
    from agentmesh.cli.follow import watch
    from agentmesh.cli.output import json_line, note

    started = await mesh.start(topic, body, **wanted)
    if as_json:
        json_line({"id": started.id})
    else:
        note(started.id)
    return await watch(mesh, started, as_json=as_json, owned=True)


def _read_input(value: str) -> Any:
    """The JSON in the argument, in stdin (`-`) or in a file (`@FILE`)."""
    place = "the argument"
    try:
        if value == "-":
            place = "stdin"
            value = sys.stdin.read()
        elif value.startswith("@"):
            place = value[1:]
            value = Path(place).read_text(encoding="utf-8-sig")
        return json.loads(value)
    except OSError as error:
        raise typer.BadParameter(f"{place} cannot be read: {error.strerror}.", param_hint="JSON") from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{place} is not text in UTF-8.", param_hint="JSON") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        text = f'{place} is not JSON: {error.msg} ({where}). In a shell, quote it: \'{{"city": "杭州"}}\'.'
        raise typer.BadParameter(text, param_hint="JSON") from error
    except RecursionError as error:
        raise typer.BadParameter(f"{place} is nested too deep.", param_hint="JSON") from error
