"""`agentmesh trace`: everything that happened in a call or run, over all logs that it touched."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import finish, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agentmesh.trace.timeline import Part, Row, Timeline

EPILOG = """[bold]Examples[/bold]
  agentmesh trace run-0192f0c17a3b7c62a1d4e5f60718293a
  agentmesh trace call-0192f0c17a3b… --json | jq -r 'select(.error != "") | [.call, .event, .error] | @tsv'

First the calls as a tree, then every entry of their LiteTopics in order of time: when, how long what began there took,
by whom. With --json one entry a line, its data too. It is read from the logs, so it works from any process, while the
call goes on, and until the logs end."""
_LONG_ID: Final = 24
_STYLES: Final = {"completed": "green", "": "cyan"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Look and check")(trace)


def trace(
    call_id: options.CallId,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many entries.")] = 10_000,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Show every message of a call or run, and of all calls below it, as a timeline."""

    async def show() -> int:
        from agentmesh.clock import SystemClock
        from agentmesh.trace.timeline import read_timeline

        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            now, tenant = SystemClock().now(), opened_mesh.config.tenant or ""
            found = await read_timeline(opened_mesh.broker, call_id, now, limit=limit, tenant=tenant)
        _show(found, limit, as_json=as_json)
        return 0

    return finish(show())


def _show(found: "Timeline", limit: int, *, as_json: bool) -> None:
    from msgspec import to_builtins

    from agentmesh.cli.output import json_line, note, out, table

    if as_json:
        for row in found.rows:
            json_line(to_builtins(row))
    else:
        if found.above:
            note(f"made by {found.above}; agentmesh trace {found.above} shows all of it")
        for line in _tree(found.parts):
            out().print(line, soft_wrap=True)
        out().print()
        columns = ("AT", "TOOK", "TOPIC", "LITETOPIC", "TRY", "WORKER", "EVENT", "WHAT")
        table(columns, map(_cells, _folded(found.rows)), wrapped=("WHAT",))
    if not found.is_whole:
        note(f"there is more than {limit} entries: --limit N shows more", "yellow")


def _tree(parts: "Sequence[Part]") -> "Iterator[Any]":
    """A line for each call: how it is nested, its id, what it is, how it ended."""
    from rich.text import Text

    from agentmesh.cli.output import one_line

    last: set[int] = set()
    seen: set[int] = set()
    lines = []
    for part in reversed(parts):  # from below it is known which is the last of its siblings
        seen = {depth for depth in seen if depth <= part.depth}
        last = seen - {part.depth}
        bars = "".join("│  " if depth in last else "   " for depth in range(1, part.depth))
        branch = "" if not part.depth else "├─ " if part.depth in seen else "└─ "
        seen.add(part.depth)
        took = "" if part.duration is None else f"  {_seconds(part.duration)}"
        tries = f"  {part.attempts} attempts" if part.attempts > 1 else ""
        name = f"  {part.topic}.{part.skill}" if part.topic else ""
        outcome = (part.outcome or "not ended", _STYLES.get(part.outcome, "red"))
        error = f"  {one_line(part.error, 120)}" if part.error else ""
        lines.append(Text.assemble(bars, branch, part.call, name, "  ", outcome, took, tries, (error, "red")))
    return reversed(lines)


def _folded(rows: "Sequence[Row]") -> "Iterator[tuple[Row, int]]":
    """The rows, each with how many it stands for: pieces of one stream that follow each other are one."""
    streams: dict[str, list[Row]] = {}
    firsts: list[tuple[Row, list[Row]]] = []
    for row in rows:
        stream = streams.get(row.lite_topic)
        if row.event == "delta" and stream and (stream[0].attempt, stream[0].counts) == (row.attempt, row.counts):
            stream.append(row)
            continue
        firsts.append((row, [row]))
        if row.event == "delta":
            streams[row.lite_topic] = firsts[-1][1]
        else:
            streams.pop(row.lite_topic, None)
    return ((row, len(stream)) for row, stream in firsts)


def _cells(folded: "tuple[Row, int]") -> "Sequence[object]":
    from rich.text import Text

    row, count = folded
    what = _what(row)
    style = "dim" if not row.counts else "red" if row.error else ""
    return (
        f"+{row.at / 1000:.3f}",
        "" if row.duration is None else _seconds(row.duration),
        row.topic,
        _short(row.lite_topic),
        row.attempt or "",
        row.worker,
        Text("· " * row.depth + row.event + (f" × {count}" if count > 1 else ""), style),
        Text(("(does not count) " if not row.counts else "") + what, style),
    )


def _what(row: "Row") -> str:
    """An entry in a few words."""
    from agentmesh.cli.output import dumps, one_line

    data: Any = row.data if isinstance(row.data, dict) else {"": row.data}
    if row.error:
        return one_line(row.error)
    match row.event:
        case "submitted":
            return one_line(f"{data.get('topic')}.{data.get('skill')} for {data.get('tenant')}")
        case "accepted":
            return ""
        case "step":
            of = data.get("call") or ""
            return one_line(f"{data.get('kind')} {data.get('key')} {of} {data.get('end') or ''}")
        case "delta":
            return one_line(data.get("text", ""), 60)
        case "call_started" | "call_finished":
            return one_line(f"{data.get('topic') or ''} {data.get('skill') or ''} {data.get('call')}")
        case "planned":
            return f"round {data.get('round')}: {len(data.get('calls') or ())} calls"
        case _:
            return one_line(" ".join(each if isinstance(each, str) else dumps(each) for each in data.values()), 160)


def _short(name: str) -> str:
    """The kind of an id and its end, which tells it from the others: those of one minute begin alike."""
    kind, _, rest = name.partition("-")
    return name if len(name) <= _LONG_ID else f"{kind}-…{rest[-8:]}"


def _seconds(ms: int) -> str:
    return f"{ms} ms" if ms < 1000 else f"{ms / 1000:.2f} s" if ms < 120_000 else f"{ms / 60_000:.1f} min"
