"""The file that a process starts from while Nacos is away: what was known last, who was alive included."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from agentmesh.card import AgentCard, read_card, write_card
from agentmesh.errors import MeshError, RegistryUnavailable
from agentmesh.registry.nacos.heads import Head
from agentmesh.registry.nacos.liveness import Serving
from agentmesh.registry.nacos.view import Topic

_FORMAT: Final = 1


class _Kept(msgspec.Struct):
    head: Head
    cards: dict[str, msgspec.Raw]
    serving: tuple[Serving, ...] = ()


class _File(msgspec.Struct):
    format: int
    address: str
    topics: list[_Kept]


def save(path: Path, address: str, topics: Iterable[Topic]) -> None:
    """Write the file, all or nothing. What this process served itself is not kept as alive, for it is to end.

    Raises `RegistryUnavailable`.
    """
    kept = [
        _Kept(each.head, {version: msgspec.Raw(write_card(card)) for version, card in each.cards.items()}, each.others)
        for each in topics
    ]
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(_File(_FORMAT, address, kept)))
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise RegistryUnavailable(f"The snapshot of the registry, {path}, cannot be written: {error}.") from error


def load(path: Path, address: str) -> list[Topic]:
    """The topics in the file. Raises `RegistryUnavailable` if there is none that can be used, saying why."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
        if found.format != _FORMAT or found.address != address:
            raise RegistryUnavailable(f"The snapshot {path} is of {found.address} in format {found.format}.")
        return [Topic(each.head, _cards(each), each.serving) for each in found.topics]
    except FileNotFoundError as error:
        raise RegistryUnavailable(f"There is no snapshot of it yet ({path}).") from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RegistryUnavailable(f"The snapshot {path} cannot be read: {error}.") from error
    except MeshError as error:
        if isinstance(error, RegistryUnavailable):
            raise
        raise RegistryUnavailable(f"The snapshot {path} cannot be read: {error}") from error


def _cards(kept: _Kept) -> dict[str, AgentCard]:
    return {version: read_card(bytes(card)) for version, card in kept.cards.items()}
