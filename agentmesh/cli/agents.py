"""`agentmesh agents` and `agentmesh find`: who is there, and who fits."""

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
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
  agentmesh agents --tokens

The agents of this folder count as alive: they are registered, but their tasks are not worked on."""
FIND_EPILOG = """[bold]Examples[/bold]
  agentmesh find 会下雨吗
  agentmesh find --limit 3 "plan a trip by car" --json
  agentmesh find --tag maps --can streaming --why "draw a route"
  agentmesh find "provider:acme version:>=2 会画图且支持流式"

A filter may stand in the query: tag:, provider:, can:, input:, output:, version:, cost:, region:, tenant:, alive:."""


def _filter(metavar: str, text: str, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, show_default=False, help=text, rich_help_panel="Filters")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("agents", epilog=AGENTS_EPILOG, rich_help_panel="Look and check")(list_agents)
    app.command(epilog=FIND_EPILOG, rich_help_panel="Look and check")(find)


def list_agents(
    everything: Annotated[bool, typer.Option("--all", help="Those too that are not alive.")] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="What they cost a language model in each round.")] = False,
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
            found = await opened_mesh.registry.list(alive=not everything)
            if tokens:
                _show_costs(found, as_json=as_json)
            else:
                show(found, as_json=as_json, with_alive=everything)
        return 0

    return finish(show_all())


def find(
    query: Annotated[list[str], typer.Argument(metavar="QUERY", show_default=False, help="What is wanted, in words.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many skills.")] = 5,
    why: Annotated[bool, typer.Option("--why", help="Show the parts of each score.")] = False,
    tag: Annotated[list[str] | None, _filter("TAG", "Skills with this tag; repeatable.")] = None,
    provider: Annotated[list[str] | None, _filter("NAME", "Agents of this provider; repeatable.")] = None,
    can: Annotated[list[str] | None, _filter("streaming|push", "Agents that can do this; repeatable.")] = None,
    takes: Annotated[list[str] | None, _filter("TYPE", "Skills that take this media type.", "--input")] = None,
    gives: Annotated[list[str] | None, _filter("TYPE", "Skills that return this media type.", "--output")] = None,
    version: Annotated[str | None, _filter("RANGE", "Versions such as >=1.2,<2.")] = None,
    cost: Annotated[float | None, _filter("COST", "Agents of which a call costs no more.")] = None,
    region: Annotated[list[str] | None, _filter("REGION", "Agents that run there; repeatable.")] = None,
    tenant: Annotated[str | None, _filter("TENANT", "Agents that this tenant may see.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Those too that are not alive.")] = False,
    agents: options.AgentPaths = None,
    no_serve: options.NoServe = False,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Find the skills that fit a text, best first."""
    filters = {
        "tag": tag,
        "provider": provider,
        "can": can,
        "input": takes,
        "output": gives,
        "version": version,
        "cost": cost,
        "region": region,
        "tenant": tenant,
        "alive": "any" if everything else None,
    }

    async def search() -> int:
        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            await _announce(opened_mesh, agents, no_serve)
            async with _staying(opened_mesh):
                hits = await opened_mesh.search(" ".join(query), limit, filters=filters)
            _show_hits(hits, as_json=as_json, why=why)
        return 0

    return finish(search())


@asynccontextmanager
async def _staying(mesh: "Mesh") -> AsyncIterator[None]:
    """What was announced stays alive, however long the first search takes to read the cards."""
    import asyncio

    async def renew() -> None:
        while True:
            await mesh.registry.renew(f"cli-{os.getpid()}")
            await asyncio.sleep(5)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.gather(renewing, return_exceptions=True)


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


def _show_costs(registrations: "Sequence[Registration]", *, as_json: bool) -> None:
    """What a model pays for the functions of each round, as a table or as a JSON object."""
    from agentmesh.card import PLANS
    from agentmesh.cli.output import json_document, note, table
    from agentmesh.supervisor.exposure import Exposure

    agents = [one for one in registrations if not any(PLANS in skill.tags for skill in one.card.skills)]
    costs = Exposure().costs(agents)
    rows = {"everything": costs.everything, "shortlist": costs.first, "longest": costs.most}
    if as_json:
        counted = {name: {"functions": cost.functions, "tokens": cost.tokens} for name, cost in rows.items()}
        offered = "shortlist" if costs.short else "everything"
        json_document({"agents": len(agents), "offered": offered} | counted)
        return
    table(("OFFERED", "FUNCTIONS", "TOKENS A ROUND"), [(n, c.functions, f"{c.tokens:,}") for n, c in rows.items()])
    note("a shortlist is offered" if costs.short else "everything is offered: it is few enough")


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


def _show_hits(hits: "Sequence[Hit]", *, as_json: bool, why: bool) -> None:
    import msgspec

    from agentmesh.cli.output import json_document, note, one_line, table

    described = [(hit, skill.description if (skill := hit.card.skill(hit.skill)) else "") for hit in hits]
    if as_json:
        json_document(
            [
                {
                    "topic": hit.topic,
                    "skill": hit.skill,
                    "score": round(hit.score, 3),
                    "fits": hit.fits,
                    "alive": hit.alive,
                    "version": hit.version,
                    "load": hit.load,
                    "description": description,
                    "why": msgspec.to_builtins(hit.why),
                }
                for hit, description in described
            ]
        )
        return
    if not any(hit.fits for hit in hits):
        note("nothing fits; these are the nearest:" if hits else "nothing fits (agentmesh agents lists what there is)")
    if not hits:
        return
    columns = ["SCORE", "TOPIC", "SKILL", "DESCRIPTION"]
    rows = [[f"{hit.score:.2f}", hit.topic, hit.skill, one_line(text, 160)] for hit, text in described]
    if why:
        columns.insert(3, "WHY")
        for row, hit in zip(rows, hits, strict=True):
            row.insert(3, _reasons(hit))
    table(columns, rows, wrapped=("WHY", "DESCRIPTION"))


def _reasons(hit: "Hit") -> str:
    """The parts of a score, in words."""
    why = hit.why
    parts = [
        "" if why.meaning is None else f"meaning {why.meaning:.2f}",
        "" if why.words is None else f"words {why.words:.2f}" + (f" ({' '.join(why.matched)})" if why.matched else ""),
        f"margin {why.margin:.2f}",
        f"fits {why.probability:.0%}",
        "" if hit.alive else "not alive",
        "" if why.waiting is None else f"waiting {why.waiting}, running {why.running}",
        "" if why.succeeded is None else f"succeeded {why.succeeded:.0%}",
        "" if why.seconds is None else f"took {why.seconds:.1f} s",
        "" if why.silent is None else f"heard of {why.silent / 1000:.1f} s ago",
    ]
    return "; ".join(part for part in parts if part)
