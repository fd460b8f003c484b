"""What `agentmesh doctor` tells of the registries. A Nacos is given something, which is taken away again."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agentmesh.backends import DIRECT, OWN
from agentmesh.cli.finding import Finding
from agentmesh.clock import SystemClock
from agentmesh.config import Config
from agentmesh.errors import ConfigError, MeshError

AREA: Final = "registry"
_PATIENCE: Final = 60.0
_WELL_KNOWN: Final = "well-known:"
_CARDS: Final = "start the server that has the card, or correct its address"
_NAME_ONE: Final = "--registry nacos://HOST:PORT, AGENTMESH_REGISTRY, or `registry:` in agentmesh.yaml"


def registries(config: Config) -> Iterator[Finding]:
    """Of those that the settings name; the mesh's own has no findings of its own."""
    own = not config.broker.startswith("rocketmq://")
    addresses = config.registries or ((OWN, DIRECT) if config.cards else (OWN,))
    for address in addresses:
        if address == OWN:
            if not own:
                yield Finding(AREA, "fail", "a rocketmq:// mesh has no registry of its own", f"name one: {_NAME_ONE}")
            continue
        try:
            yield from asyncio.run(_looked_at(address, config))
        except ModuleNotFoundError as error:
            fix = "pip install 'agentmesh[nacos]'"
            yield Finding(AREA, "fail", f"{_shown(address)} needs the package {error.name}", fix)
        except (MeshError, TimeoutError) as error:
            text = str(error) or f"it was not looked at to the end within {_PATIENCE:g} s"
            yield Finding(AREA, "fail", text if address in text else f"{_shown(address)}: {text}")


async def _looked_at(address: str, config: Config) -> list[Finding]:
    async with asyncio.timeout(_PATIENCE):
        if address.startswith("nacos://"):
            return await _nacos(address, config)
        return await _listed(address, config)


async def _nacos(address: str, config: Config) -> list[Finding]:
    from agentmesh.registry.nacos.health import examine

    report = await examine(
        address,
        username=config.registry_user or "",
        password=config.registry_password or "",
        token=config.registry_token or "",
    )
    found = [Finding(AREA, "ok", "\n".join([f"{_shown(address)} answers", *report.facts]))]
    for each in report.problems:
        found.append(Finding(AREA, "fail" if each.grave else "warn", each.text, each.fix))
    return found


async def _listed(address: str, config: Config) -> list[Finding]:
    """Cards that are somewhere: each is looked at once."""
    from agentmesh.registry.direct import open_direct
    from agentmesh.registry.wellknown import open_well_known

    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "cards")  # of a doctor nothing is kept
        if address == DIRECT:
            if not config.cards:
                raise ConfigError("it has no cards: list them under `cards:` in agentmesh.yaml.")
            registry = await open_direct(config.cards, SystemClock(), kept)
        else:
            registry = await open_well_known(address.removeprefix(_WELL_KNOWN), SystemClock(), kept)
        try:
            agents = [f"{each.topic} {each.version}" for each in await registry.list()]
            failing = registry.failing()
        finally:
            await registry.close()
    found = [Finding(AREA, "fail", each, _CARDS) for each in failing]
    if agents:
        found.insert(0, Finding(AREA, "ok", f"{_shown(address)} knows {', '.join(agents)}"))
    return found


def _shown(address: str) -> str:
    """Without what follows `?` and stands before `@`."""
    scheme, mark, rest = address.rstrip(":").partition("://")
    return f"{scheme}{mark}{rest.partition('?')[0].rpartition('@')[2]}"
