"""`agentmesh bench`: figures, each beside the floor of the same minute.

The machine is noisy, so what counts is the ratio: the median of several pairs, measured in turn.
"""

import gc
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Measure this machine: each figure beside its floor.")

_ROWS = (
    ("contract", 64, "broker contract, 64 in flight"),
    ("contract", 1, "broker contract, one in flight"),
    ("mesh", 64, "mesh.start to a typed skill and back, 64 in flight"),
    ("mesh", 1, "the same, one in flight"),
    ("contract", 256, "broker contract, 256 in flight"),
    ("across", 64, "the mesh across two processes and their host, 64 in flight"),
    ("full", 64, "broker contract with durability=full, 64 in flight"),
)


@app.callback()
def _bench() -> None:
    """Measure this machine: each figure beside its floor."""


@app.command()
def call(
    only: Annotated[
        list[str] | None, typer.Option("--only", help="Only these rows, such as contract.64; again for more.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of floor and figure; the median counts.")] = 5,
    calls: Annotated[int, typer.Option(min=100, help="Calls in each measurement.")] = 5000,
    mesh: Annotated[
        str | None,
        typer.Option("--mesh", "-m", metavar="URL", show_default=False, help="rocketmq://HOST:PORT: that one instead."),
    ] = None,
    in_flight: Annotated[int, typer.Option("--in-flight", min=1, help="With --mesh: calls at once.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
) -> None:
    """Calls per second: the broker contract alone, and the whole way through a mesh.

    The floor writes the same rows straight through sqlite3, with two transactions a call; that of durability=full does
    so for 64 calls at a time, with fdatasync after each transaction. With --mesh the contract alone is measured over
    RocketMQ, with the workers in another process; late are answers after more than 5 s.
    """
    if mesh:
        _over_cluster(mesh, in_flight, calls, as_json=as_json)
        return
    for name, at_once, title in _rows(only):
        row = _compare(name, at_once, pairs, calls)
        if as_json:
            typer.echo(json.dumps(row))
        else:
            figures = row["figures"]
            typer.echo(
                f"{title}: {figures['per_s']:,.0f}/s, p50 {figures['p50_ms']} ms, p99 {figures['p99_ms']} ms; "
                f"floor {row['floor']['per_s']:,.0f}/s; ratio {row['ratio']['per_s']}"
            )


def _over_cluster(mesh: str, in_flight: int, calls: int, *, as_json: bool) -> None:
    import asyncio

    from agentmesh.cli.bench.cluster import contract

    figures = asyncio.run(contract(mesh, in_flight, calls))
    if as_json:
        typer.echo(json.dumps({"name": f"cluster.{in_flight}", "figures": figures, "floor": {}, "ratio": {}}))
        return
    typer.echo(
        f"contract over RocketMQ, {in_flight} in flight: {figures['per_s']:,.0f}/s, p50 {figures['p50_ms']} ms, "
        f"p99 {figures['p99_ms']} ms; late {figures['late']:.0f}, lost {figures['lost']:.0f}"
    )


@app.command()
def start(
    rounds: Annotated[int, typer.Option(min=1, help="How often each is started; the median counts.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Seconds to begin: `import agentmesh`, the public names, and the help, beside `python -c pass`."""
    from agentmesh.cli.bench.start import measure

    figures = measure(rounds)
    floor = figures.pop("floor")
    ratio = {name: round(taken / floor, 1) for name, taken in figures.items()}
    if as_json:
        typer.echo(json.dumps({"name": "start", "figures": figures, "floor": {"pass": floor}, "ratio": ratio}))
        return
    for name, taken in figures.items():
        typer.echo(f"{name}: {taken:.3f} s; floor {floor:.3f} s; ratio {ratio[name]}")


@app.command()
def lite(
    logs: Annotated[list[int] | None, typer.Option(min=1000, help="How many; again for more rows.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
) -> None:
    """What LiteTopics cost when there are many: append, poll, sync, open, memory.

    Up to 100,000 of them are subscribed, by 100 clients. The floor is their cost at 1,000 in the same run, and an
    append straight through sqlite3. A million take some minutes to make.
    """
    from agentmesh.cli.bench.lite import rows

    for row in rows(logs or (1000, 10_000, 100_000, 1_000_000)):
        typer.echo(json.dumps(row) if as_json else _line(row))


@app.command()
def soak(
    seconds: Annotated[float, typer.Option(min=30, help="For how long.")] = 300,
    rate: Annotated[int, typer.Option(min=1, help="Calls a second.")] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Sixty hours of calls: memory and file at half the time and at the end, and for how long the loop is held.

    The clock leaps on by an hour sixty times, so that from the middle on as much is removed as is added. The floor is
    the loop of a process that does nothing.
    """
    import asyncio

    from agentmesh.cli.bench.soak import measure

    row = _in_folder(lambda folder: asyncio.run(measure(folder, seconds, rate)))
    typer.echo(json.dumps(row) if as_json else _line(row))


@app.command()
def fairness(
    flood: Annotated[int, typer.Option(min=1, help="How many tasks of one tenant wait.")] = 100_000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """How long a tenant's first task waits while another tenant floods the topic; the floor is the same without."""
    import asyncio

    from agentmesh.cli.bench.fairness import measure

    row = _in_folder(lambda folder: asyncio.run(measure(folder, flood)))
    typer.echo(json.dumps(row) if as_json else _line(row))


@app.command()
def recovery(
    kills: Annotated[int, typer.Option(min=1, help="How often the host is killed.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """How long calls stand still when the host is killed −9 under load; the floor is the calm between."""
    import asyncio

    from agentmesh.cli.bench.recovery import measure

    row = _in_folder(lambda folder: asyncio.run(measure(folder, kills)))
    typer.echo(json.dumps(row) if as_json else _line(row))


@app.command()
def blob(
    sizes: Annotated[list[int] | None, typer.Option("--size", min=1, max=100, help="MB; again for more rows.")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of floor and figure; the median counts.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
) -> None:
    """MB per second of large bodies: to send, to fetch, and through a call and back.

    The floor writes and syncs a file of the same size, and reads it.
    """
    from agentmesh.cli.bench.blob import SIZES, rows

    for row in rows(tuple(sizes or SIZES), pairs):
        typer.echo(json.dumps(row) if as_json else _line(row))


@app.command()
def discovery(
    cards: Annotated[list[int] | None, typer.Option(min=10, help="How many; again for more rows.")] = None,
    embedder: Annotated[str, typer.Option(help="As the setting of that name; `none` measures words alone.")] = "use",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a row.")] = False,
) -> None:
    """What a search costs: time, memory, and how long an index takes to be ready, cold and warm.

    Half of the cards and queries are Chinese. The floor embeds the query and multiplies it with every vector, once.
    A cold start embeds every card, about 200 a second: 100,000 take some minutes.
    """
    from agentmesh.cli.bench.discovery import SIZES, rows

    for row in rows(tuple(cards or SIZES), embedder, lambda line: typer.echo(line, err=True)):
        typer.echo(json.dumps(row) if as_json else _line(row))


def _rows(only: list[str] | None) -> list[tuple[str, int, str]]:
    rows = {f"{name}.{in_flight}": (name, in_flight, title) for name, in_flight, title in _ROWS}
    unknown = [name for name in only or () if name not in rows]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is no row. Rows are: {', '.join(rows)}.")
    return [rows[name] for name in only or rows]


def _line(row: dict[str, Any]) -> str:
    """A row for people."""
    parts = {
        part: ", ".join(f"{name} {value:,}" for name, value in row[part].items())
        for part in ("figures", "floor", "ratio")
    }
    told = [parts["figures"], *(f"{part} {parts[part]}" for part in ("floor", "ratio") if parts[part])]
    return f"{row['name']}: {'; '.join(told)}"


def _compare(name: str, in_flight: int, pairs: int, calls: int) -> dict[str, Any]:
    """The median of `pairs` interleaved measurements of floor and figure."""
    import asyncio

    from agentmesh.cli.bench import floor
    from agentmesh.cli.bench.call import across, contract, full, mesh

    measure = {"contract": contract, "mesh": mesh, "across": across, "full": full}[name]
    beneath = partial(floor.run_synced, together=in_flight) if name == "full" else floor.run
    floors: list[float] = []
    figures: list[dict[str, float]] = []
    for _ in range(pairs):
        floors.append(_in_folder(lambda folder: beneath(folder, calls=calls)))
        figures.append(_in_folder(lambda folder: asyncio.run(measure(folder, in_flight, calls))))
    ratios = [figure["per_s"] / beside for figure, beside in zip(figures, floors, strict=True)]
    return {
        "name": f"call.{name}.{in_flight}",
        "figures": {key: median(figure[key] for figure in figures) for key in figures[0]},
        "floor": {"per_s": round(median(floors))},
        "ratio": {"per_s": round(median(ratios), 3)},
    }


def _in_folder(measure: Callable[[Path], Any]) -> Any:
    gc.collect()  # what the measurement before has left is not this one's to pay
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder))
