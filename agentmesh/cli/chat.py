"""`agentmesh chat`: one goal after the other, in a session that remembers."""

import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from uuid import uuid4

import typer

from agentmesh.cli import options
from agentmesh.cli.exits import INTERRUPTED
from agentmesh.cli.opening import agent_folders, finish, opened

if TYPE_CHECKING:
    from agentmesh.mesh import Mesh

T = TypeVar("T")

PROMPT: Final = "You > "
EPILOG = """[bold]Examples[/bold]
  agentmesh chat
  agentmesh chat --session trip
  agentmesh chat --agents ../team/agents < questions.txt

Each line is a goal; the answers before it are known to the next one. Ctrl-C cancels the run that is under way;
at the prompt it leaves, as do Ctrl-D and /exit. The session goes on with --session NAME, in any process."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Work")(chat)


def chat(
    agents: options.AgentPaths = None,
    session: Annotated[
        str, typer.Option("--session", "-s", metavar="NAME", show_default=False, help="The session to go on with.")
    ] = "",
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    verbose: options.Verbose = 0,
) -> int:
    """Talk to a supervisor: every line is a goal, and the session remembers.

    The agents of this folder are served by this process, and so is a supervisor unless one is alive.
    """
    return finish(_chat(agents, session or f"chat-{uuid4().hex[:8]}", mesh, registry, verbose))


async def _chat(
    agents: list[Path] | None, session: str, url: str | None, registries: list[str] | None, verbose: int
) -> int:
    import asyncio

    from agentmesh.cli.lines import read_line
    from agentmesh.cli.output import note

    async with opened(url, registries, verbose=verbose) as mesh:
        await mesh.serve(*agent_folders(mesh.config, agents))
        note(f"session {session} (agentmesh chat --session {session} goes on with it; Ctrl-D leaves)")
        code = 0
        with _ctrl_c() as interruptible:
            while True:
                try:
                    line = await interruptible(read_line(PROMPT))
                except asyncio.CancelledError:
                    return INTERRUPTED
                if not line or line == "/exit":
                    return code
                try:
                    code = await interruptible(_turn(mesh, line, session))
                except asyncio.CancelledError:
                    code = INTERRUPTED  # a second Ctrl-C: the run goes on without us


@contextmanager
def _ctrl_c() -> Iterator[Callable[[Coroutine[Any, Any, T]], Awaitable[T]]]:
    """Let Ctrl-C cancel what is awaited through this, each time anew, instead of the whole program."""
    import asyncio

    loop = asyncio.get_running_loop()
    current: list[asyncio.Task[Any]] = []

    async def interruptible(awaited: Coroutine[Any, Any, T]) -> T:
        current[:] = [asyncio.create_task(awaited)]
        task: asyncio.Task[T] = current[0]
        return await task

    loop.add_signal_handler(signal.SIGINT, lambda: [task.cancel() for task in current])
    try:
        yield interruptible
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _turn(mesh: "Mesh", goal: str, session: str) -> int:
    """One goal, to its answer. What goes wrong is told, and the next goal may be asked."""
    from agentmesh.cli.exits import exit_code, report
    from agentmesh.cli.follow import watch
    from agentmesh.cli.output import one_line
    from agentmesh.errors import MeshError

    try:
        run = await mesh.run(goal, session=session)
        return await watch(mesh, run, title=one_line(goal, 400), as_json=False, owned=True)
    except MeshError as error:
        report(error, as_json=False)
        return exit_code(error)
