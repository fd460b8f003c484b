"""What `agentmesh doctor` tells of a rocketmq:// mesh, whether it can be opened or not."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from agentmesh.cli.finding import Finding
from agentmesh.clock import SystemClock
from agentmesh.config import Config
from agentmesh.errors import MeshError

if TYPE_CHECKING:
    from agentmesh.broker.rocketmq.address import Address
    from agentmesh.broker.rocketmq.health import Survey

_PATIENCE: Final = 120.0
_HEARTBEATS: Final = 12.0
"""Seconds in which every client has told its proxy of itself: one that was started just now knows nobody yet."""


def cluster(config: Config, *, mend: bool) -> Iterator[Finding]:
    """Of the cluster that the settings name; with `mend`, groups in which nobody is any more are deleted."""
    try:
        from agentmesh.broker.rocketmq.address import read_address

        address = read_address(config.broker, config.access_key or "", config.secret_key or "")
        survey = asyncio.run(_survey(address))
    except ModuleNotFoundError as error:
        fix = "pip install 'agentmesh[rocketmq]'"
        yield Finding("mesh", "fail", f"rocketmq:// needs the package {error.name}, which is not installed", fix)
        return
    except MeshError as error:
        yield Finding("mesh", "fail", str(error), "use --mesh rocketmq://HOST:PORT, or set AGENTMESH_BROKER")
        return
    except TimeoutError:
        text = f"{address.endpoint} was not looked at to the end within {_PATIENCE:g} s"
        yield Finding("mesh", "fail", text, "see whether its machines are overloaded, then look again")
        return
    for each in survey.findings:
        if each.problem is None:
            yield Finding(each.area, "ok", each.text)
        else:
            yield Finding(each.area, "fail" if each.problem.grave else "warn", each.problem.text, each.problem.fix)
    if survey.lines:
        text = "what the mesh needs could not be looked at, or cannot be made by us: an administrator types"
        yield Finding("needs", "warn", text, "\n".join(survey.lines))
    if mend and survey.abandoned:
        yield _mended(address, survey.abandoned)


async def _survey(address: "Address") -> "Survey":
    from agentmesh.broker.rocketmq.broker import RocketMQBroker
    from agentmesh.broker.rocketmq.health import examine

    clock = SystemClock()
    broker = RocketMQBroker(address, clock)  # not opened: it reads, and makes nothing
    try:
        async with asyncio.timeout(_PATIENCE):
            return await examine(address, clock, broker.stats)
    finally:
        await broker.close()


def _mended(address: "Address", groups: list[str]) -> Finding:
    from agentmesh.broker.rocketmq.health import delete_abandoned

    async def delete() -> list[str]:
        await asyncio.sleep(_HEARTBEATS)
        return await delete_abandoned(address, groups)

    try:
        gone = asyncio.run(delete())
    except MeshError as error:
        return Finding("inboxes", "fail", str(error))
    return Finding("inboxes", "ok", f"mended: {len(gone)} groups in which nobody is any more are deleted")
