"""docs/cli.md: the help of every command, from the commands themselves."""

import re
from collections.abc import Iterator
from typing import Any

import typer.main

from agentmesh.cli.exits import MEANINGS
from agentmesh.cli.main import app


def markdown() -> str:
    """The page."""
    root = typer.main.get_command(app)
    lines = ["# Command line", "", str(root.help), ""]
    for path, command in _commands(root, "agentmesh"):
        lines += [f"## {path}", "", _plain(command.help or ""), "", *_usage(path, command), *_parameters(command)]
        lines += _examples(command.epilog or "")
    lines += ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(lines) + "\n"


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _usage(path: str, command: Any) -> list[str]:
    arguments = [each.metavar for each in command.params if each.param_type_name == "argument"]
    return ["```console", " ".join(["$", path, *arguments, "[OPTIONS]"]), "```", ""]


def _parameters(command: Any) -> list[str]:
    lines = []
    for each in command.params:
        if getattr(each, "hidden", False) or each.name == "help":
            continue
        is_option = each.param_type_name == "option"
        name = ", ".join(each.opts) if is_option else each.metavar
        takes = f" {each.metavar}" if is_option and each.metavar else ""
        default = f" Default: {each.default}." if _has_default(each) else ""
        lines.append(f"- `{name}{takes}`: {_plain(each.help or '')}{default}")
    return [*lines, ""] if lines else []


def _has_default(parameter: Any) -> bool:
    shown = getattr(parameter, "show_default", True)
    return bool(shown) and parameter.default not in (None, False, "", ()) and not callable(parameter.default)


def _examples(epilog: str) -> list[str]:
    """The epilog: its examples as a block, the rest as text."""
    examples, _, text = _plain(epilog).removeprefix("Examples\n").partition("\n\n")
    lines = ["```console", *(f"$ {line.strip()}" for line in examples.splitlines()), "```", ""] if examples else []
    return [*lines, text, ""] if text else lines


def _plain(text: str) -> str:
    """Without rich's markup."""
    return re.sub(r"\[/?bold\]", "", text).replace("\\[", "[")
