"""`agentmesh tenant`: the weight and the limits of tenants."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agentmesh.cli import options
from agentmesh.cli.opening import finish, opened

if TYPE_CHECKING:
    from agentmesh.contracts import Rate, Tenant
    from agentmesh.mesh import Mesh

SET_EPILOG = """[bold]Examples[/bold]
  agentmesh tenant set acme --weight 3
  agentmesh tenant set acme --ceiling 7 --running 20 --rate 50/s
  agentmesh tenant set acme --ceiling none --running 0 --rate none

What is not named stays as it is. It holds at once, for tasks that wait too."""
LIST_EPILOG = """[bold]Examples[/bold]
  agentmesh tenant list
  agentmesh tenant list --json | jq -r '.[].name'"""
SHOW_EPILOG = """[bold]Examples[/bold]
  agentmesh tenant show acme

A tenant that was not set has the defaults."""

app = typer.Typer(no_args_is_help=True, help="Weight, ceiling and limits of tenants.")

_NONE: Final = "none"
_UNITS: Final = {1.0: "s", 60.0: "m", 3600.0: "h"}


def _ceiling(text: str) -> str | int:
    if text == _NONE:
        return _NONE
    if text.isdecimal() and len(text) == 1:
        return int(text)
    raise typer.BadParameter(f"'{text}' is no priority: use 0 to 9, or none.")


def _rate(text: str) -> "str | Rate":
    from agentmesh.runtime.agent_file import rate

    try:
        return _NONE if text == _NONE else rate(text)
    except ValueError as error:
        raise typer.BadParameter(f"{error}, or none.") from error


Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False, help="The tenant.")]


@app.command("set", epilog=SET_EPILOG)
def set_tenant(
    name: Name,
    weight: Annotated[
        int | None, typer.Option(min=1, max=1000, show_default=False, help="Its share among tenants of equal priority.")
    ] = None,
    ceiling: Annotated[
        Any,
        typer.Option(
            metavar="PRIORITY",
            parser=_ceiling,
            show_default=False,
            help="The highest priority it may use; none: 9 for the default tenant, 5 for others.",
        ),
    ] = None,
    running: Annotated[
        int | None, typer.Option(min=0, show_default=False, help="Tasks that run at once; 0: no limit.")
    ] = None,
    waiting: Annotated[
        int | None, typer.Option(min=0, show_default=False, help="Unfinished tasks, beyond which more are refused.")
    ] = None,
    rate: Annotated[
        Any,
        typer.Option(
            metavar="RATE", parser=_rate, show_default=False, help="Tasks that begin in a time: 50/s, 100/m, 1000/h."
        ),
    ] = None,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Set what holds for a tenant from now on."""
    given = {"weight": weight, "ceiling": ceiling, "running": running, "waiting": waiting, "rate": rate}
    changes = {key: None if value == _NONE else value for key, value in given.items() if value is not None}
    if not changes:
        raise typer.BadParameter("say what to set: --weight, --ceiling, --running, --waiting or --rate.")

    async def change() -> int:
        import msgspec

        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            _check_operator(opened_mesh)
            tenant = msgspec.structs.replace(await _find(opened_mesh, name), **changes)
            await opened_mesh.broker.set_tenant(tenant)
        _show([tenant], as_json=as_json, one=True)
        return 0

    return finish(change())


@app.command("list", epilog=LIST_EPILOG)
def list_tenants(
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """List the tenants that were set."""

    async def look() -> int:
        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            own = opened_mesh.config.tenant
            tenants = [each for each in await opened_mesh.broker.tenants() if own in (None, "", each.name)]
        _show(tenants, as_json=as_json)
        return 0

    return finish(look())


@app.command(epilog=SHOW_EPILOG)
def show(
    name: Name,
    mesh: options.MeshUrl = None,
    registry: options.Registries = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = 0,
) -> int:
    """Show what holds for a tenant."""

    async def look() -> int:
        async with opened(mesh, registry, verbose=verbose) as opened_mesh:
            if opened_mesh.config.tenant != name:
                _check_operator(opened_mesh)
            tenant = await _find(opened_mesh, name)
        _show([tenant], as_json=as_json, one=True)
        return 0

    return finish(look())


def _check_operator(mesh: "Mesh") -> None:
    from agentmesh.errors import Unauthorized

    if mesh.config.tenant:
        raise Unauthorized(
            f"This mesh is opened for tenant {mesh.config.tenant!r}: other tenants, and limits, are the operator's."
        )


async def _find(mesh: "Mesh", name: str) -> "Tenant":
    from agentmesh.contracts import Tenant

    return next((each for each in await mesh.broker.tenants() if each.name == name), Tenant(name))


def _show(tenants: "list[Tenant]", *, as_json: bool, one: bool = False) -> None:
    from agentmesh.cli.output import json_document, note, table

    rows = [_fields(tenant) for tenant in tenants]
    if as_json:
        json_document(rows[0] if one else rows)
    elif not rows:
        note("no tenant was set (agentmesh tenant set NAME --weight 3)")
    else:
        columns = ("NAME", "WEIGHT", "CEILING", "RUNNING", "WAITING", "RATE")
        table(
            columns,
            [
                ["-" if value in (None, 0) and key in _LIMITS else str(value) for key, value in row.items()]
                for row in rows
            ],
        )


_LIMITS: Final = ("running", "waiting", "rate")


def _fields(tenant: "Tenant") -> dict[str, Any]:
    rate = tenant.rate
    return {
        "name": tenant.name,
        "weight": tenant.weight,
        "ceiling": tenant.highest,
        "running": tenant.running,
        "waiting": tenant.waiting,
        "rate": f"{rate.count}/{_UNITS.get(rate.seconds, f'{rate.seconds:g}s')}" if rate else None,
    }
