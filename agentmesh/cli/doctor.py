"""`agentmesh doctor`: is everything in order here, and if not, what to do."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agentmesh.cli import options

if TYPE_CHECKING:
    from agentmesh.cli.finding import Finding

EPILOG = """[bold]Examples[/bold]
  agentmesh doctor
  agentmesh doctor --model
  agentmesh doctor --mesh rocketmq://10.0.0.1:8081?remoting=10.0.0.1:9876 --registry nacos://10.0.0.1:8848
  agentmesh doctor --mesh local:///var/lib/mesh --json | jq -r '.[] | select(.status != "ok").fix'

Changes nothing unless --mend is given, but that a Nacos gets a document and an instance, which are removed again. Asks
nothing of the network but mesh and registries unless --model is given. Exits with 1 if something fails."""
_STYLES: Final = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=EPILOG, rich_help_panel="Look and check")(doctor)


def doctor(
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    model: Annotated[bool, typer.Option("--model", help="Ask the language model for a word, too.")] = False,
    mend: Annotated[bool, typer.Option("--mend", help="Remove what killed processes left in a cluster.")] = False,
    as_json: options.AsJson = False,
) -> int:
    """Check versions, settings, agents, mesh, registries and model.

    Each thing that is wrong comes with the line that mends it.
    """
    from agentmesh.cli.diagnosis import diagnose
    from agentmesh.cli.exits import FAILED, OK
    from agentmesh.cli.output import json_document

    findings = diagnose(mesh, registry, ask_model=model, mend=mend)
    if as_json:
        json_document([each._asdict() for each in findings])
    else:
        for each in findings:
            _show(each)
    return FAILED if any(each.status == "fail" for each in findings) else OK


def _show(finding: "Finding") -> None:
    from rich.text import Text

    from agentmesh.cli.output import clean, out

    first, *rest = clean(finding.text).splitlines()
    line: list[Any] = [(f"{finding.status:<6}", _STYLES[finding.status]), (f"{finding.area:<10}", "bold"), first]
    out().print(Text.assemble(*line), soft_wrap=True)
    for each in rest:
        out().print(Text(f"{'':16}{each}"), soft_wrap=True)
    if finding.fix:
        fix, *more = clean(finding.fix).splitlines()
        out().print(Text.assemble(f"{'':16}", ("fix: ", "bold"), fix), soft_wrap=True)
        for each in more:
            out().print(Text(f"{'':21}{each}"), soft_wrap=True)
