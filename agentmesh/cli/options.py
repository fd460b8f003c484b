"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer


def seconds(text: str) -> float:
    """Seconds of `90`, `90s`, `500ms`, `10m`, `2h` or `1d`."""
    from agentmesh.runtime.agent_file import duration

    try:
        return duration(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}.") from error


MeshUrl = Annotated[
    str | None,
    typer.Option(
        "--mesh",
        "-m",
        metavar="URL",
        show_default=False,
        help="local://DIR, memory://NAME or rocketmq://HOST:PORT. Else AGENTMESH_BROKER, else agentmesh.yaml, else "
        "local://.agentmesh.",
    ),
]
Registries = Annotated[
    list[str] | None,
    typer.Option(
        "--registry",
        metavar="URL",
        show_default=False,
        help="nacos://HOST:PORT, https://BASE, direct or mesh, the mesh's own; repeatable. Else AGENTMESH_REGISTRY, "
        "else agentmesh.yaml, else mesh.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout, errors as JSON on stderr.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Log more: -v, -vv.")]
AgentPaths = Annotated[
    list[Path] | None,
    typer.Option(
        "--agents",
        "-a",
        metavar="PATH",
        show_default=False,
        help="An agent's folder, or a folder of them, to serve; repeatable. Else the configured one: agents/.",
    ),
]
NoServe = Annotated[bool, typer.Option("--no-serve", help="Serve no agents in this process.")]
Deadline = Annotated[
    float | None,
    typer.Option("--deadline", metavar="TIME", parser=seconds, help="The longest it may take: 90, 90s, 10m, 2h."),
]
CallId = Annotated[str, typer.Argument(metavar="ID", help="call-… or run-…", show_default=False)]
