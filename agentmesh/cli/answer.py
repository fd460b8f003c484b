"""`agentmesh answer` and `agentmesh cancel`: what one can say to a call or run."""

import sys
from typing import Annotated

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import finish, opened

ANSWER_EPILOG = """[bold]Examples[/bold]
  agentmesh answer call-0192f0c17a3b7c62a1d4e5f60718293a 西湖区
  agentmesh answer run-0192f0c17a3b… yes --question 5kq2m7x4

The answer is recorded; the work goes on where the agents are served: agentmesh attach ID, or agentmesh up."""
CANCEL_EPILOG = """[bold]Examples[/bold]
  agentmesh cancel run-0192f0c17a3b7c62a1d4e5f60718293a

The calls that it made are cancelled with it. What has ended stays as it is."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=ANSWER_EPILOG, rich_help_panel="Work")(answer)
    app.command(epilog=CANCEL_EPILOG, rich_help_panel="Work")(cancel)


def answer(
    call_id: options.CallId,
    text: Annotated[list[str], typer.Argument(metavar="TEXT", show_default=False, help="The answer; - is stdin.")],
    question: Annotated[
        str | None,
        typer.Option("--question", "-q", metavar="ID", show_default=False, help="Needed where several are open."),
    ] = None,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Answer what a call or run asks."""
    words = (sys.stdin.read() if text == ["-"] else " ".join(text)).strip()

    async def send() -> int:
        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            await (await opened_mesh.attach(call_id)).answer(words, question)
        _tell({"id": call_id, "answered": True}, f"answered; agentmesh attach {call_id} goes on with it", as_json)
        return 0

    return finish(send())


def cancel(
    call_id: options.CallId,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Cancel a call or run, and the calls it made."""

    async def send() -> int:
        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            call = await opened_mesh.attach(call_id)
            await call.cancel()
            end = (await call.state()).terminal
        how = end.type if end else ""
        _tell({"id": call_id, "end": how}, how if how == "cancelled" else f"it had ended: {how}", as_json)
        return 0

    return finish(send())


def _tell(value: dict[str, object], text: str, as_json: bool) -> None:
    from agentmesh.cli.output import json_line, say

    if as_json:
        json_line(value)
    else:
        say(text)
