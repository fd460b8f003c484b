"""`agentmesh`: the command line. Modules of commands are light; what is heavy is imported inside of them."""

import os
import sys
from typing import Annotated, Final

import typer

from agentmesh.cli import (
    agents,
    answer,
    attach,
    bench,
    call,
    chaos,
    chat,
    check,
    dlq,
    doctor,
    evaluate,
    host,
    new,
    run,
    stats,
    tenant,
    trace,
    transfer,
    up,
)
from agentmesh.cli.exits import FAILED, MEANINGS, USAGE
from agentmesh.errors import MeshError

DEBUG: Final = "AGENTMESH_DEBUG"
_UsageError: Final[type[Exception]] = typer.BadParameter.__bases__[0]
"""typer does not export it."""

_EPILOG = "\n".join(
    [
        "[bold]Exit codes[/bold]",
        *(f"{code:>4}  {meaning}" for code, meaning in MEANINGS.items()),
        "",
        "",
        "A folder with [bold]agents/[/bold] needs nothing else: no server, no key. Begin with:",
        "",
        "  agentmesh new agent hello",
        "  agentmesh run 'say hello'",
    ]
)

app = typer.Typer(
    name="agentmesh",
    help="Agents that call each other through durable topics: run a goal, serve agents, call them, watch.",
    epilog=_EPILOG,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"agentmesh {version('agentmesh')}")
        raise typer.Exit


def _debug(wanted: bool) -> None:
    if wanted:
        os.environ[DEBUG] = "1"


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", callback=_debug, hidden=True)] = False,
) -> None:
    if context.invoked_subcommand is None and not version and not debug:
        context.get_help()


for module in (run, chat, up, call, attach, answer, new, agents, stats, trace, check, doctor, chaos, host, transfer):
    module.register(app)
app.add_typer(dlq.app, name="dlq", rich_help_panel="Operate")
app.add_typer(tenant.app, name="tenant", rich_help_panel="Operate")
app.add_typer(evaluate.app, name="eval", rich_help_panel="Look and check")
app.add_typer(bench.app, name="bench", rich_help_panel="Look and check")


def main() -> None:
    """The entry point. Leaves by `SystemExit` with one of the codes in `exits`, without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        return int(app(arguments, prog_name="agentmesh", standalone_mode=False) or 0)
    except _UsageError as error:
        return _wrong_usage(error, as_json=as_json)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered has nowhere to go
        return FAILED
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        from agentmesh.cli.exits import exit_code, report

        report(error, as_json=as_json)
        return exit_code(error) if isinstance(error, MeshError) else FAILED


def _wrong_usage(error: Exception, *, as_json: bool) -> int:
    from agentmesh.cli.exits import tell

    if type(error).__name__ == "NoArgsIsHelpError":  # the help has been shown
        return USAGE
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    tell("UsageError", text, f"{context.command_path if context else 'agentmesh'} --help", as_json=as_json)
    return USAGE
