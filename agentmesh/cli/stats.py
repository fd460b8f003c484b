"""`agentmesh stats`: what waits, runs and is dead, and how fast it goes."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import finish, opened

if TYPE_CHECKING:
    from rich.console import RenderableType

    from agentmesh.contracts import TopicStats
    from agentmesh.mesh import Mesh

EPILOG = """[bold]Examples[/bold]
  agentmesh stats
  agentmesh stats WeatherAgentTask --json | jq '.topics[0].waiting'
  agentmesh stats --watch
  agentmesh stats --watch 10s --json >> stats.jsonl

--watch looks again every two seconds, or as often as the time after it says, until Ctrl-C, and tells the rates since
the look before. A terminal is redrawn; elsewhere each look is a block, or with --json an object, of its own. OLDEST is
for how long the one waits that has waited longest, of those that a worker may have now."""
_EVERY: Final = 2.0
_LEAST: Final = 0.1
_RATES: Final = ("published", "leased", "acknowledged", "retried", "lost", "dead_lettered")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Look and check")(stats)


def stats(
    topics: Annotated[
        list[str] | None, typer.Argument(metavar="[TOPIC]...", show_default=False, help="These alone; else all.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again; a time after it says how often: --watch 5.")
    ] = False,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Show how many tasks wait, run and are dead, by topic, and by tenant where there are several."""
    names = topics or []
    every = 0.0
    if watch:
        times = [each for each in names if each[:1].isdecimal()]  # no topic begins with a digit
        names = [each for each in names if each not in times]
        every = max(_LEAST, options.seconds(times[-1])) if times else _EVERY
    return finish(_stats(names, every, mesh, registry, as_json=as_json, verbose=verbose))


async def _stats(
    names: Sequence[str], every: float, url: str | None, registries: list[str] | None, *, as_json: bool, verbose: int
) -> int:
    import asyncio

    async with opened(url, registries, verbose=verbose) as mesh:
        screen = _Screen(as_json=as_json, live=bool(every))
        try:
            look = await _look(mesh, names, None)
            screen.show(look)
            while every:
                await asyncio.sleep(every)
                look = await _look(mesh, names, look)
                screen.show(look)
        except asyncio.CancelledError:  # Ctrl-C is how a watch ends
            if not every:
                raise
        finally:
            screen.close()
    return 0


async def _look(mesh: "Mesh", names: Sequence[str], before: dict[str, Any] | None) -> dict[str, Any]:
    """What there is now, as the object of `--json`."""
    found = await mesh.broker.stats(names)
    figures = await mesh.broker.figures()
    tenants = _tenants(figures)
    now = time.time()
    totals = {name: round(figures.get(f"tasks_{name}_total", 0)) for name in _RATES}
    look = {
        "time": round(now * 1000),
        "topics": [_topic(each, tenants.get(each.topic, {}), now) for each in found],
        "totals": totals,
        "host_since": round(figures.get("host_start_time_seconds", 0) * 1000),
        "rates": None,
    }
    if before and before["host_since"] == look["host_since"]:
        seconds = max(0.001, now - before["time"] / 1000)
        look["rates"] = {name: round((totals[name] - before["totals"][name]) / seconds, 1) for name in _RATES}
    return look


def _tenants(figures: Mapping[str, float]) -> dict[str, dict[str, dict[str, int]]]:
    """Topic → tenant → what waits and runs, of tenants that have anything."""
    from agentmesh.contracts.admin import parts_of

    found: dict[str, dict[str, dict[str, int]]] = {}
    for figure, value in figures.items():
        name, labels = parts_of(figure)
        if value and name in ("tasks_waiting", "tasks_running") and "tenant" in labels:
            counts = found.setdefault(labels["topic"], {}).setdefault(labels["tenant"], {"waiting": 0, "running": 0})
            counts[name.removeprefix("tasks_")] = round(value)
    return found


def _topic(each: "TopicStats", tenants: dict[str, dict[str, int]], now: float) -> dict[str, Any]:
    return {
        "topic": each.topic,
        "waiting": each.waiting,
        "running": each.running,
        "dead": each.dead,
        "oldest": None if each.oldest is None else round(max(0.0, now - each.oldest / 1000), 1),
        "tenants": tenants,
    }


class _Screen:
    """Where looks are shown: redrawn in place on a terminal, if there are several, else one after the other."""

    def __init__(self, *, as_json: bool, live: bool) -> None:
        from agentmesh.cli.output import is_rich

        self._as_json = as_json
        self._redraws = live and not as_json and is_rich()
        self._several = live
        self._live: Any = None

    def show(self, look: dict[str, Any]) -> None:
        from agentmesh.cli.output import json_document, json_line, out

        if self._as_json:
            (json_line if self._several else json_document)(look)
        elif not self._redraws:
            out().print(_drawn(look))
            if self._several:
                out().print()
        elif self._live is None:
            from rich.live import Live

            self._live = Live(_drawn(look), console=out(), auto_refresh=False)
            self._live.start(refresh=True)
        else:
            self._live.update(_drawn(look), refresh=True)

    def close(self) -> None:
        """Leave the terminal, with what was shown last."""
        if self._live is not None:
            self._live.stop()


def _drawn(look: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("TOPIC", "WAITING", "RUNNING", "DEAD", "OLDEST"):
        grid.add_column(column, no_wrap=True, justify="left" if column == "TOPIC" else "right")
    for cells, style in _rows(look["topics"]):
        grid.add_row(*cells, style=style)
    if not look["topics"]:
        return Text("no topics: agentmesh up serves the agents of a folder", "dim")
    if look["rates"] is None:
        return grid
    rates = ", ".join(f"{name.replace('_', '-')} {rate:g}/s" for name, rate in look["rates"].items())
    return Group(grid, Text(rates, "dim"))


def _rows(topics: Sequence[dict[str, Any]]) -> Iterator[tuple[Sequence[str], str]]:
    from agentmesh.cli.output import one_line

    for each in topics:
        oldest = "" if each["oldest"] is None else _age(each["oldest"])
        counts = [str(each[name]) for name in ("waiting", "running", "dead")]
        yield [each["topic"], *counts, oldest], ""
        if len(each["tenants"]) > 1:
            for tenant, of_tenant in sorted(each["tenants"].items()):
                yield [f"  {one_line(tenant, 40)}", str(of_tenant["waiting"]), str(of_tenant["running"]), "", ""], "dim"


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
