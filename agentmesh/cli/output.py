"""What is written where: results to stdout, everything else to stderr, colours only on a terminal."""

import base64
import json
import re
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

WIDTH_OF_PIPES: Final = 160
_CONTROLS: Final = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_ESCAPED: Final = re.compile("[\x7f-\x9f\u2028\u2029]")


@cache
def out() -> "Console":
    """The console of results."""
    return _console(stderr=False)


@cache
def err() -> "Console":
    """The console of everything else."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal and console.width == 80:  # rich's guess
        console.width = WIDTH_OF_PIPES
    return console


def is_rich() -> bool:
    """Whether stdout is a terminal that can be redrawn."""
    console = out()
    return console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")


def can_ask() -> bool:
    """Whether somebody is there to answer a question."""
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def clean(text: str) -> str:
    """`text` without what would steer the terminal: it may be an agent's."""
    return text.translate(_CONTROLS)


def one_line(text: object, limit: int = 200) -> str:
    """The text as one line of at most `limit` characters."""
    line = " ".join(clean(str(text)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def note(text: str, style: str = "dim") -> None:
    """A line to stderr."""
    from rich.text import Text

    err().print(Text(clean(text), style=style), soft_wrap=True)


def say(text: str) -> None:
    """Text to stdout, as it is; on a terminal, without what would steer it."""
    sys.stdout.write((clean(text) if sys.stdout.isatty() else text) + "\n")
    sys.stdout.flush()


def dumps(value: Any, indent: int | None = None) -> str:
    """`value` as JSON, bytes as base64."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=_plain)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def json_line(value: Any) -> None:
    """One line of JSON to stdout."""
    sys.stdout.write(dumps(value) + "\n")
    sys.stdout.flush()


def json_document(value: Any) -> None:
    """A JSON value to stdout: indented and coloured on a terminal, else in one line."""
    if not out().is_terminal:
        json_line(value)
        return
    from rich.syntax import Syntax

    text = dumps(value, indent=2)
    if out().no_color:
        out().print(text, soft_wrap=True)
    else:
        out().print(Syntax(text, "json", theme="ansi_dark", background_color="default", word_wrap=True))


def table(columns: "Sequence[str]", rows: "Iterable[Sequence[object]]", *, wrapped: "Sequence[str]" = ()) -> None:
    """A table to stdout; only the columns in `wrapped` are broken where the terminal is narrow."""
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        grid.add_column(column, no_wrap=column not in wrapped, overflow="fold" if column in wrapped else "ellipsis")
    for row in rows:
        grid.add_row(*(cell if isinstance(cell, Text) else Text(clean(str(cell))) for cell in row))
    out().print(grid)


def markdown(text: str) -> None:
    """An answer to stdout: rendered on a terminal, each line kept a line."""
    if not out().is_terminal:
        say(text)
        return
    from rich.markdown import Heading, Markdown

    class LeftHeading(Heading):
        LEVEL_ALIGN = dict.fromkeys(Heading.LEVEL_ALIGN, "left")

    class Answer(Markdown):
        elements = {**Markdown.elements, "heading_open": LeftHeading}  # noqa: RUF012 - as in the base

    out().print(Answer(_hard_breaks(clean(text)), code_theme="ansi_dark"))


def _hard_breaks(text: str) -> str:
    """Single line ends as Markdown keeps them; without it, the lines of plain text would run into one."""
    return re.sub(r"(?<=\S)\n(?=\S)", "  \n", text)


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is not JSON data")
