"""Which implementations the settings choose: the one place that knows them all, for `mesh.py`."""

import asyncio
import hashlib
import importlib
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from agentmesh.clock import Clock
from agentmesh.config import Config
from agentmesh.contracts import Blobs, Broker, Registry
from agentmesh.errors import ConfigError

if TYPE_CHECKING:
    from agentmesh.a2a.rocketmq.desk import Desk
    from agentmesh.registry.several import Member

OWN: Final = "mesh:"
DIRECT: Final = "direct:"
_WELL_KNOWN: Final = "well-known:"


class Backends(NamedTuple):
    """What a mesh stands on. `closing` lets go of all of it, the broker last. `desk` answers clients of other
    frameworks that come by the broker, if it has any.
    """

    broker: Broker
    registry: Registry
    blobs: Blobs
    closing: AsyncExitStack
    desk: "Desk | None"


class _Opened(NamedTuple):
    """A broker, the registry in its store if it has one, where its large bodies are, and the desk before it."""

    broker: Broker
    registry: Registry | None
    blobs: Blobs
    desk: "Desk | None" = None


async def open_backends(config: Config, clock: Clock, *, alone: bool) -> Backends:
    """Open what the settings name. Raises `ConfigError`, `BrokerUnavailable` and `RegistryUnavailable`; nothing stays
    open then.
    """
    addresses = config.registries or ((OWN, DIRECT) if config.cards else (OWN,))
    scheme = config.broker.partition("://")[0]
    if scheme not in _BROKERS:
        raise ConfigError(f"{config.broker!r} is no mesh: use memory://NAME, local://DIR or rocketmq://HOST:PORT.")
    if scheme == "rocketmq" and OWN in addresses:
        raise ConfigError(
            f"{_bare(config.broker)} has no registry of its own: name one with --registry nacos://HOST:PORT, "
            "AGENTMESH_REGISTRY or `registry:` in agentmesh.yaml."
        )
    if DIRECT in addresses and not config.cards:
        raise ConfigError("The registry direct: has no cards: list them under `cards:` in agentmesh.yaml.")
    async with AsyncExitStack() as stack:
        opened = await _BROKERS[scheme](config, clock, alone)
        stack.push_async_callback(opened.broker.close)
        if opened.desk:
            stack.push_async_callback(opened.desk.close)
        registry = await _open_registries(addresses, config, clock, opened.registry, stack)
        return Backends(opened.broker, registry, opened.blobs, stack.pop_all(), opened.desk)
    raise AssertionError("not reached")


async def _open_memory(config: Config, clock: Clock, _alone: bool) -> _Opened:
    from agentmesh.broker.memory import open_memory
    from agentmesh.registry.embedded import EmbeddedRegistry

    broker = await open_memory(config.broker.partition("://")[2], clock, config.blobs or "")
    return _Opened(broker, EmbeddedRegistry(broker, clock), broker.blobs)


async def _open_local(config: Config, clock: Clock, alone: bool) -> _Opened:
    from agentmesh.broker.blobs import LocalBlobs
    from agentmesh.broker.local import open_local
    from agentmesh.registry.local import LocalRegistry

    folder = config.broker.partition("://")[2]
    if not folder:
        raise ConfigError("local:// needs a folder: local:///var/lib/mesh, or local://.agentmesh.")
    broker = await open_local(folder, clock, durability=config.durability, alone=alone, retention=config.retention or 0)
    blobs = LocalBlobs(broker.folder.path, config.blobs or "")
    if config.blobs:
        try:
            await asyncio.to_thread(blobs.settle)
        except BaseException:
            await broker.close()
            raise
    return _Opened(broker, LocalRegistry(broker), blobs)


async def _open_rocketmq(config: Config, clock: Clock, _alone: bool) -> _Opened:
    opener = _extra("agentmesh.broker.rocketmq", "rocketmq").open_rocketmq
    broker = await opener(
        config.broker,
        clock,
        access_key=config.access_key or "",
        secret_key=config.secret_key or "",
        blobs=config.blobs or "",
    )
    from agentmesh.a2a.rocketmq.desk import Desk

    return _Opened(broker, None, broker.blobs, Desk(broker, clock))


_BROKERS: Final[dict[str, Callable[[Config, Clock, bool], Awaitable[_Opened]]]] = {
    "memory": _open_memory,
    "local": _open_local,
    "rocketmq": _open_rocketmq,
}


async def _open_registries(
    addresses: tuple[str, ...], config: Config, clock: Clock, own: Registry | None, stack: AsyncExitStack
) -> Registry:
    """The registry at these addresses; `own` is the broker's."""
    members: list[Member] = []
    for address in addresses:
        if address == OWN:
            assert own
            members.append((address, own))
            continue
        registry = await _open_registry(address, config, clock)
        stack.push_async_callback(registry.close)
        members.append((_bare(address), registry))
    if len(members) == 1:
        return members[0][1]
    from agentmesh.registry.several import Several

    return Several(members, clock)


async def _open_registry(address: str, config: Config, clock: Clock) -> Any:
    """A registry with a `close`."""
    if address.startswith("nacos://"):
        opener = _extra("agentmesh.registry.nacos", "nacos").open_nacos
        return await opener(
            address,
            clock,
            username=config.registry_user or "",
            password=config.registry_password or "",
            token=config.registry_token or "",
            snapshot=cache(config, address),
        )
    if address == DIRECT:
        from agentmesh.registry.direct import open_direct

        return await open_direct(config.cards or (), clock, cache(config, DIRECT))
    from agentmesh.registry.wellknown import open_well_known

    return await open_well_known(address.removeprefix(_WELL_KNOWN), clock, cache(config, address))


def cache(config: Config, address: str) -> Path:
    """Where what the registry at `address` told is kept: the same path for the same address, which may not exist."""
    kind, _, rest = address.removeprefix(_WELL_KNOWN).partition(":")
    name = hashlib.blake2b(address.encode(), digest_size=8).hexdigest() if rest else "cards"
    return cache_folder(config) / f"{'well-known' if kind.startswith('http') else kind}-{name}"


def cache_folder(config: Config) -> Path:
    """Where is kept what can be had again."""
    base = config.cache or (os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) + "/agentmesh"
    return Path(base)


def _extra(module: str, extra: str) -> Any:
    """A module whose packages are not part of the base install. Raises `ConfigError` if they are missing."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{extra}:// needs the package {error.name}, which is not installed: pip install 'agentmesh[{extra}]'"
        ) from error


def _bare(address: str) -> str:
    """An address as it may be shown: without a user, a password and what follows `?`."""
    scheme, mark, rest = address.partition("://")
    return f"{scheme}{mark}{rest.partition('?')[0].rpartition('@')[2]}"
