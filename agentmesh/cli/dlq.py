"""`agentmesh dlq`: the dead letters, with what became of each, tried again or dropped."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import finish, opened

if TYPE_CHECKING:
    from agentmesh.contracts import Stored
    from agentmesh.mesh import Mesh
    from agentmesh.message import Entry
    from agentmesh.runtime.dead_letters import DeadLetters

LIST_EPILOG = """[bold]Examples[/bold]
  agentmesh dlq list
  agentmesh dlq list WeatherAgentTask --json | jq -r '.[].id'"""
SHOW_EPILOG = """[bold]Examples[/bold]
  agentmesh dlq show call-0192f0c17a3b7c62a1d4e5f60718293a

With its input, and the attempts that raised as long as the call's log is there."""
RETRY_EPILOG = """[bold]Examples[/bold]
  agentmesh dlq retry call-0192f0c17a3b7c62a1d4e5f60718293a
  agentmesh attach $(agentmesh dlq retry call-0192f0c17a3b…)
  agentmesh dlq retry --all WeatherAgentTask --yes

A new call is started for each, whose parent is the old one, and its id printed. The old call stays as it ended."""
DROP_EPILOG = """[bold]Examples[/bold]
  agentmesh dlq drop call-0192f0c17a3b7c62a1d4e5f60718293a
  agentmesh dlq drop --all WeatherAgentTask --yes"""

app = typer.Typer(no_args_is_help=True, help="Dead letters: tasks whose attempts were used up.")

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", show_default=False, help="call-… or run-…, one or several.")
]
All = Annotated[
    str | None, typer.Option("--all", metavar="TOPIC", show_default=False, help="All dead letters of this topic.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether all are meant.")]


@app.command("list", epilog=LIST_EPILOG)
def list_letters(
    topic: Annotated[
        str, typer.Argument(metavar="[TOPIC]", show_default=False, help="Of this topic; else of all.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 100,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """List dead letters, in the order in which they died."""

    async def look() -> int:
        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            found = []
            async for stored in _letters(opened_mesh).list(topic):
                found.append(stored)
                if len(found) > limit:
                    break
        _show_list(found[:limit], more=len(found) > limit, as_json=as_json)
        return 0

    return finish(look())


@app.command(epilog=SHOW_EPILOG)
def show(
    call_id: options.CallId,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Show a dead letter: reason, attempts, input and history."""

    async def look() -> int:
        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            letters = _letters(opened_mesh)
            stored = await letters.find(call_id)
            _show(stored, await letters.history(stored), as_json=as_json)
        return 0

    return finish(look())


@app.command(epilog=RETRY_EPILOG)
def retry(
    ids: Ids = None,
    every: All = None,
    yes: Yes = False,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Start new calls for dead letters, and print their ids."""
    _check_choice(ids, every)

    async def again() -> int:
        from agentmesh.cli.output import json_line, say

        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            letters = _letters(opened_mesh)
            for stored in await _chosen(letters, ids, every, "Retry", yes=yes):
                new = await letters.retry(stored)
                if as_json:
                    json_line({"id": new, "parent": stored.message.id})
                else:
                    say(new)
        return 0

    return finish(again())


@app.command(epilog=DROP_EPILOG)
def drop(
    ids: Ids = None,
    every: All = None,
    yes: Yes = False,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Remove dead letters for good."""
    _check_choice(ids, every)

    async def remove() -> int:
        from agentmesh.cli.output import json_line, say

        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            letters = _letters(opened_mesh)
            dropped = 0
            for some in _by_topic(await _chosen(letters, ids, every, "Drop", yes=yes)):
                dropped += await letters.drop(some)
        if as_json:
            json_line({"dropped": dropped})
        else:
            say(f"dropped {_count(dropped)}")
        return 0

    return finish(remove())


def _letters(mesh: "Mesh") -> "DeadLetters":
    from agentmesh.runtime.dead_letters import DeadLetters

    return DeadLetters(mesh.broker, mesh.registry, mesh.config.tenant or None)


def _check_choice(ids: list[str] | None, every: str | None) -> None:
    if bool(ids) == bool(every):
        raise typer.BadParameter("name the IDs, or else --all TOPIC.")


async def _chosen(
    letters: "DeadLetters", ids: list[str] | None, every: str | None, what: str, *, yes: bool
) -> "list[Stored]":
    """The dead letters that are meant; none if somebody who was asked says no."""
    if not every:
        return [await letters.find(call_id) for call_id in dict.fromkeys(ids or ())]
    found = [stored async for stored in letters.list(every)]
    if found and not yes and not await _confirmed(f"{what} {_count(len(found))} of {every}? [y/N] "):
        return []
    return found


async def _confirmed(question: str) -> bool:
    from agentmesh.cli.lines import read_line
    from agentmesh.cli.output import can_ask

    return not can_ask() or (await read_line(question)).lower() in ("y", "yes")


def _by_topic(letters: "list[Stored]") -> "list[list[Stored]]":
    """In portions that one transaction takes."""
    topics: dict[str, list[Stored]] = {}
    for stored in letters:
        topics.setdefault(stored.message.topic, []).append(stored)
    return [some[start : start + 500] for some in topics.values() for start in range(0, len(some), 500)]


def _count(number: int) -> str:
    return "1 dead letter" if number == 1 else f"{number} dead letters"


def _show_list(letters: "list[Stored]", *, more: bool, as_json: bool) -> None:
    from agentmesh.cli.output import json_document, note, one_line, table

    if as_json:
        json_document([_fields(stored) for stored in letters])
    elif not letters:
        note("no dead letters")
    else:
        rows = [
            (m.id, m.topic, m.tenant, str(stored.attempt), one_line(stored.reason, 160))
            for stored in letters
            for m in [stored.message]
        ]
        table(("ID", "TOPIC", "TENANT", "ATTEMPTS", "REASON"), rows, wrapped=("REASON",))
    if more and not as_json:
        note("and more (--limit)")


def _show(stored: "Stored", history: "Sequence[Entry]", *, as_json: bool) -> None:
    from agentmesh.cli.output import dumps, json_document, one_line, say

    fields = _fields(stored) | {
        "input": _input(stored),
        "history": [
            {"attempt": entry.attempt, "time": entry.time, **{k: entry.data.get(k) for k in ("error", "not_before")}}
            for entry in history
        ],
    }
    if as_json:
        json_document(fields)
        return
    told = {**fields, "created": _time(fields["created"]), "input": dumps(fields["input"])}
    attempts = told.pop("history")
    for key, value in told.items():
        if value != "":
            say(f"{key + ':':<10} {one_line(value, 2000)}")
    for each in attempts:
        say(f"attempt {each['attempt']} at {_time(each['time'])}: {one_line(each['error'], 2000)}")


def _fields(stored: "Stored") -> dict[str, Any]:
    message = stored.message
    return {
        "id": message.id,
        "topic": message.topic,
        "skill": message.skill,
        "tenant": message.tenant,
        "reason": stored.reason,
        "attempts": stored.attempt,
        "priority": message.priority,
        "created": message.created,
        "parent": message.parent,
    }


def _input(stored: "Stored") -> Any:
    """JSON data, or the bytes if it is none; of a large body, where it is."""
    from agentmesh.errors import PayloadCorrupt
    from agentmesh.message import from_json

    message = stored.message
    if message.blob:
        return {"blob": message.blob}
    try:
        return from_json(message.body)
    except PayloadCorrupt:
        return message.body


def _time(when: int) -> str:
    return datetime.fromtimestamp(when / 1000, UTC).isoformat(timespec="seconds") if when else ""
