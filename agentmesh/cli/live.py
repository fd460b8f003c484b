"""The live view of a run on a terminal: the goal, the calls with their progress, and partial output."""

import time
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agentmesh.cli.output import clean, note, one_line
from agentmesh.cli.view import fraction_of, is_of_a_run, skill_name, words
from agentmesh.message import QUESTIONS, TERMINAL, Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_MARKS: Final = {"completed": ("✓", "green"), "cancelled": ("–", "yellow")}
_FAILED: Final = ("✗", "red")
_PARTIAL: Final = 8
_KEPT: Final = 4000
_MARGIN: Final = 3
"""Columns left free, so that the terminal's own ^C does not begin a new line."""


class _CallRow:
    """A call that the run made."""

    def __init__(self, name: str, began: int) -> None:
        self.name = name
        self.began = began
        self.ended = 0
        self.end = ""
        self.message = ""
        self.fraction: float | None = None

    def cells(self, now: float) -> "tuple[RenderableType, ...]":
        mark, style = _MARKS.get(self.end, _FAILED) if self.end else (_spinner(now), "cyan")
        said = self.message if self.end in ("", "completed") else f"{self.end}  {self.message}".rstrip()
        bar: RenderableType = ""
        if self.fraction is not None and not self.end:
            bar = ProgressBar(total=1.0, completed=self.fraction, width=12)
        seconds = (self.ended or now * 1000) - self.began
        return (
            Text(mark, style),
            Text(self.name),
            Text(said, "dim"),
            bar,
            Text(f"{max(0.0, seconds) / 1000:.1f} s", "dim"),
        )


class LiveView:
    """A `View` that redraws its lines in place. What it showed last, without the partial output, stays."""

    def __init__(self, console: Console, title: str, run_id: str) -> None:
        self._console = console
        self._title = title
        self._id = run_id
        self._calls: dict[str, _CallRow] = {}
        self._said = ""
        self._partial = ""
        self._end = ""
        self._live: Live | None = None

    def event(self, event: Event) -> None:
        data: Any = event.data or {}
        match event.type:
            case "accepted":
                self._partial = ""
                self._said = words(event)
            case "call_started" if is_of_a_run(event):
                self._calls.setdefault(data["call"], _CallRow(skill_name(data), event.time))
            case "call_finished" if is_of_a_run(event):
                if row := self._calls.get(data["call"]):
                    row.end, row.ended = data["type"], event.time
            case "delta":
                self._partial = (self._partial + clean(data["text"]))[-_KEPT:]
            case "planned":
                self._partial = ""
            case kind if kind in TERMINAL:
                self._end = kind
            case kind if kind in QUESTIONS:
                self._said = ""
            case _:
                self._said = words(event)
        self._open()

    def child(self, call_id: str, event: Event) -> None:
        row = self._calls.get(call_id)
        if row is None:
            return
        if event.type == "accepted":
            row.message, row.fraction = "", None
        elif event.type == "progress":
            row.message, row.fraction = one_line(event.data["message"], 300), fraction_of(event)
        elif event.type == "failed":
            row.message = one_line(event.data["message"], 300)
        elif event.type == "retrying":
            row.message, row.fraction = words(event), None

    def note(self, text: str) -> None:
        if self._live:
            self._console.print(Text(clean(text), "dim"), soft_wrap=True)
        else:
            note(text)

    def pause(self) -> None:
        if self._live:
            self._live.transient = True
            self._stop(self._live)

    def close(self) -> None:
        if self._live:
            self._partial = ""
            self._stop(self._live)
            self._console.print()

    def _stop(self, live: Live) -> None:
        self._live = None
        live.stop()

    def _open(self) -> None:
        if self._live is None:
            self._live = Live(self, console=self._console, refresh_per_second=10)
            self._live.start()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(20, options.max_width - _MARGIN)
        yield from console.render(Group(*self._parts(console, width)), options.update_width(width))

    def _parts(self, console: Console, width: int) -> "Iterator[RenderableType]":
        now = time.time()
        height = max(6, console.height)
        style = "bold" if not self._end or self._end == "completed" else "bold red"
        title = Text(one_line(self._title, 400), style, no_wrap=True, overflow="ellipsis")
        yield title
        yield Text(f"{self._id}  {self._end}".rstrip(), "dim", no_wrap=True)
        yield self._table(now, height - 4)
        if self._said and not self._end:
            yield Text(self._said, "dim", no_wrap=True, overflow="ellipsis")
        if not self._end and not any(not row.end for row in self._calls.values()) and not self._partial:
            yield Text(f"{_spinner(now)} thinking", "dim")
        room = min(_PARTIAL, height - 6 - min(len(self._calls), height - 4))
        if self._partial and room > 0:
            lines = Text(self._partial.strip("\n"), "dim").wrap(console, width)
            yield from lines[-room:]

    def _table(self, now: float, room: int) -> Table:
        """The calls, those in flight before all others where there is no room for all."""
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(width=1)
        grid.add_column(no_wrap=True, overflow="ellipsis", max_width=48)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, justify="right")
        rows = list(self._calls.values())
        if self._live is not None and len(rows) > room:
            rows = sorted(rows, key=lambda row: bool(row.end))[: room - 1]
        for row in rows:
            grid.add_row(*row.cells(now))
        if len(rows) < len(self._calls):
            grid.add_row("", Text(f"… and {len(self._calls) - len(rows)} more", "dim"))
        return grid


def _spinner(now: float) -> str:
    return _SPINNER[int(now * 10) % len(_SPINNER)]
