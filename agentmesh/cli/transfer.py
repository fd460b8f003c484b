"""`agentmesh export` and `agentmesh import`: a whole mesh into a file or a pipe, and into another mesh."""

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import finish, opened

if TYPE_CHECKING:
    from agentmesh.mesh import Mesh
    from agentmesh.runtime.transfer import Imported, Place, Sink, Sofar

EXPORT_EPILOG = """[bold]Examples[/bold]
  agentmesh export mesh.export
  agentmesh export --mesh local:///var/lib/mesh mesh.export --json | jq .tasks
  agentmesh export - | agentmesh import - --mesh rocketmq://HOST:PORT --registry nacos://HOST:PORT

Begun again after it was cut short, it goes on where it was. Its file holds inputs and results: it is readable by its
owner alone. Exits with 1 if something could not be read; the rest is in the file."""
IMPORT_EPILOG = """[bold]Examples[/bold]
  agentmesh import mesh.export --mesh local:///var/lib/other
  agentmesh import mesh.export --mesh rocketmq://HOST:PORT --registry nacos://HOST:PORT

Begun again after it was cut short, it goes on where it was; what is there already is left as it is."""
_PIPE: Final = "-"
_KINDS: Final = ("agents", "topics", "tenants", "tasks", "dead_letters", "logs", "entries", "blobs")
_EVERY: Final = 0.2

File = Annotated[str, typer.Argument(metavar="FILE", show_default=False, help="The file, or - for a pipe.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export", epilog=EXPORT_EPILOG, rich_help_panel="Operate")(export)
    app.command("import", epilog=IMPORT_EPILOG, rich_help_panel="Operate")(import_)


def export(
    file: File,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")] = False,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Write everything that a mesh holds into a file: agents, tasks, logs, dead letters, tenants, large bodies."""
    if file == _PIPE and sys.stdout.isatty():
        raise typer.BadParameter("an export is no text for a terminal: name a file.", param_hint="FILE")
    return finish(_export(file, mesh, registry, overwrite=overwrite, as_json=as_json, verbose=verbose))


def import_(
    file: File,
    begin_anew: Annotated[
        bool,
        typer.Option("--begin-anew", help="Where agents are at work already, let tasks that had begun begin again."),
    ] = False,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Take an export into a mesh, beside what is there."""
    return finish(_import(file, mesh, registry, begin_anew=begin_anew, as_json=as_json, verbose=verbose))


async def _export(
    file: str, url: str | None, registries: list[str] | None, *, overwrite: bool, as_json: bool, verbose: int
) -> int:
    import asyncio

    from agentmesh.cli.exits import FAILED, OK
    from agentmesh.runtime.transfer import Part, export_mesh, open_part, write_to

    async with opened(url, registries, verbose=verbose) as mesh:
        place = _place(mesh, "exports")
        if file == _PIPE:
            sink: Sink = write_to(sys.stdout.buffer)
        else:
            sink = await asyncio.to_thread(open_part, Path(file), source=place.name, overwrite=overwrite)
        resumed = isinstance(sink, Part) and sink.resumed
        try:
            async with _shown(lambda: (_line(sink.sofar), 0), total=0):
                sofar = await export_mesh(place, sink)
        finally:
            sink.close()
    summary = _summary(file, sofar) | {"bytes": _size(file, sink.written), "resumed": resumed}
    _tell(summary, sofar.problems, as_json=as_json, to_pipe=file == _PIPE)
    return FAILED if sofar.problems else OK


async def _import(
    file: str, url: str | None, registries: list[str] | None, *, begin_anew: bool, as_json: bool, verbose: int
) -> int:
    import asyncio

    from agentmesh.errors import ConfigError
    from agentmesh.runtime.transfer import Imported, check_whole, import_mesh

    seen = Imported()

    def watch(done: "Imported") -> None:
        nonlocal seen
        seen = done

    try:
        source = sys.stdin.buffer if file == _PIPE else open(file, "rb")  # noqa: ASYNC230, SIM115 - closed below
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    with source:
        if file != _PIPE:
            await asyncio.to_thread(check_whole, source, file)
            source.seek(0)
        async with opened(url, registries, verbose=verbose) as mesh:
            place = _place(mesh, "imports")
            total = 0 if file == _PIPE else os.fstat(source.fileno()).st_size
            async with _shown(lambda: (_line(seen.sofar), seen.position), total=total):
                done = await import_mesh(place, source, file, begin_anew=begin_anew, watch=watch)
    summary = _summary(file, done.sofar) | {"known": done.known, "anew": done.anew, "resumed": done.resumed}
    _tell(summary, [*done.sofar.problems, *done.notes], as_json=as_json, to_pipe=False)
    return 0


def _place(mesh: "Mesh", what: str) -> "Place":
    from agentmesh.clock import SystemClock
    from agentmesh.errors import Unauthorized
    from agentmesh.runtime.transfer import Place

    if mesh.config.tenant:
        raise Unauthorized(
            f"This mesh is opened for tenant {mesh.config.tenant!r}: {what} are of all tenants, and the operator's."
        )
    name = mesh.config.broker.partition("?")[0]
    scheme, mark, rest = name.partition("://")
    return Place(mesh.broker, mesh.registry, mesh.blobs, SystemClock(), f"{scheme}{mark}{rest.rpartition('@')[2]}")


def _summary(file: str, sofar: "Sofar") -> dict[str, Any]:
    export = sofar.header.export if sofar.header else ""
    return {"file": file, "export": export} | {kind: sofar.counts[kind] for kind in _KINDS}


def _size(file: str, written: int) -> int:
    return written if file == _PIPE else Path(file).stat().st_size


def _line(sofar: "Sofar") -> str:
    """`12 agents, 3,000 logs, …`, of what there is."""
    return ", ".join(f"{sofar.counts[kind]:,} {kind.replace('_', ' ')}" for kind in _KINDS if sofar.counts[kind])


def _tell(summary: dict[str, Any], problems: list[str], *, as_json: bool, to_pipe: bool) -> None:
    """How it ended; on stderr if the pipe has something else."""
    from agentmesh.cli.output import dumps, json_line, note, say

    if as_json:
        told = summary | {"problems": problems}
        if to_pipe:
            sys.stderr.write(dumps(told) + "\n")
        else:
            json_line(told)
        return
    for problem in problems:
        note(problem, "yellow")
    counts = ", ".join(f"{summary[kind]:,} {kind.replace('_', ' ')}" for kind in _KINDS if summary[kind])
    line = counts or "nothing: the mesh is empty"
    if summary.get("known"):
        line += f"; {summary['known']:,} were here before"
    if summary.get("anew"):
        line += f"; {summary['anew']:,} tasks that had begun begin again"
    if to_pipe:
        note(line)
    else:
        say(line)


@asynccontextmanager
async def _shown(look: Callable[[], tuple[str, int]], *, total: int) -> AsyncIterator[None]:
    """What goes on, on a terminal: a line that is renewed, with a bar where the `total` (bytes) is known."""
    from agentmesh.cli.output import err

    if not err().is_terminal:
        yield
        return
    import asyncio

    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = [BarColumn(bar_width=20)] if total else []
    columns = [SpinnerColumn(), *bar, TextColumn("{task.description}", markup=False), TimeElapsedColumn()]
    with Progress(*columns, console=err(), transient=True) as progress:
        task = progress.add_task("", total=total or None)

        async def renew() -> None:
            while True:
                text, position = look()
                progress.update(task, description=text, completed=position)
                await asyncio.sleep(_EVERY)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()
