"""`agentmesh agents` and `agentmesh find`: who is there, and who fits."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import NEW_AGENT, agent_folders, announce, finish, opened

if TYPE_CHECKING:
    from agentmesh.catalog import Hit
    from agentmesh.contracts import Registration
    from agentmesh.mesh import Mesh

AGENTS_EPILOG = """[bold]Examples[/bold]
  agentmesh agents
  agentmesh agents --all --json | jq -r '.[].topic'

The agents of this folder count as alive: they are registered, but their tasks are not worked on."""
FIND_EPILOG = """[bold]Examples[/bold]
  agentmesh find 会下雨吗
  agentmesh find --limit 3 "plan a trip by car" --json"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("agents", epilog=AGENTS_EPILOG, rich_help_panel="Look and check")(list_agents)
    app.command(epilog=FIND_EPILOG, rich_help_panel="Look and check")(find)


def list_agents(
    everything: Annotated[bool, typer.Option("--all", help="Those too that are not alive.")] = False,
    agents: options.AgentPaths = None,
    no_serve: options.NoServe = False,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """List agents with their topics and skills."""

    async def show_all() -> int:
        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            await _announce(opened_mesh, agents, no_serve)
            show(await opened_mesh.registry.list(alive=not everything), as_json=as_json, with_alive=everything)
        return 0

    return finish(show_all())


def find(
    query: Annotated[list[str], typer.Argument(metavar="QUERY", show_default=False, help="What is wanted, in words.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many skills.")] = 5,
    agents: options.AgentPaths = None,
    no_serve: options.NoServe = False,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Find the skills that fit a text, best first."""

    async def search() -> int:
        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            await _announce(opened_mesh, agents, no_serve)
            _show_hits(await opened_mesh.search(" ".join(query), limit), as_json=as_json)
        return 0

    return finish(search())


async def _announce(mesh: "Mesh", agents: list[Path] | None, no_serve: bool) -> None:
    if not no_serve:
        await announce(mesh, agent_folders(mesh.config, agents))


def show(registrations: "Iterable[Registration]", *, as_json: bool = False, with_alive: bool = False) -> None:
    """The agents, as a table or as a JSON array."""
    from agentmesh.cli.output import json_document, note, one_line, table

    found = list(registrations)
    if as_json:
        json_document([_agent(each) for each in found])
        return
    if not found:
        note(f"no agents ({NEW_AGENT})")
        return
    columns = ["TOPIC", "VERSION", "SKILLS", "DESCRIPTION"]
    rows: list[list[Any]] = []
    for each in found:
        skills = ", ".join(skill.id for skill in each.card.skills)
        rows.append([each.topic, each.version, skills, one_line(each.card.description, 160)])
        if with_alive:
            rows[-1].insert(2, "yes" if each.alive else "no")
    if with_alive:
        columns.insert(2, "ALIVE")
    table(columns, rows, wrapped=("SKILLS", "DESCRIPTION"))


def _agent(registration: "Registration") -> dict[str, Any]:
    card = registration.card
    return {
        "topic": registration.topic,
        "version": registration.version,
        "name": card.name,
        "description": card.description,
        "alive": registration.alive,
        "skills": [
            {
                "id": skill.id,
                "name": skill.name,
                "description": skill.description,
                "tags": skill.tags,
                "examples": skill.examples,
                "input": card.schemas(skill.id)[0],
                "output": card.schemas(skill.id)[1],
                "confirm": card.confirms(skill.id),
            }
            for skill in card.skills
        ],
    }


def _show_hits(hits: "Sequence[Hit]", *, as_json: bool) -> None:
    from agentmesh.cli.output import json_document, note, one_line, table

    described = [
        {
            "topic": hit.topic,
            "skill": hit.skill,
            "score": round(hit.score, 3),
            "alive": hit.alive,
            "description": skill.description if (skill := hit.card.skill(hit.skill)) else "",
        }
        for hit in hits
    ]
    if as_json:
        json_document(described)
    elif not described:
        note("nothing fits (agentmesh agents lists what there is)")
    else:
        rows = [
            (f"{each['score']:.2f}", each["topic"], each["skill"], one_line(each["description"], 160))
            for each in described
        ]
        table(("SCORE", "TOPIC", "SKILL", "DESCRIPTION"), rows, wrapped=("DESCRIPTION",))
