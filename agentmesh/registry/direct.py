"""`direct`: the agents whose cards `agentmesh.yaml` lists, in place, as files or as URLs."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentmesh.clock import Clock
from agentmesh.config import CardSource
from agentmesh.errors import ConfigError
from agentmesh.registry.listed import Listed
from agentmesh.registry.source import InFile, InPlace, Source
from agentmesh.registry.web import OnTheWeb, new_client

if TYPE_CHECKING:
    import httpx2

_FILE: Final = "file://"


async def open_direct(cards: Sequence[CardSource], clock: Clock, snapshot: Path) -> Listed:
    """The registry of these cards: each a card of A2A 1.0 or 0.3, a file with one, or the URL of one.

    Raises `ConfigError` for a card in place or in a file that is none, and for two of one topic and version. One on the
    web that cannot be had is waited for; meanwhile what `snapshot` holds of it counts.
    """
    async with contextlib.AsyncExitStack() as stack:
        sources: list[Source] = []
        client: httpx2.AsyncClient | None = None
        for position, card in enumerate(cards):
            if isinstance(card, Mapping):
                sources.append(InPlace(card, position))
            elif card.startswith(("http://", "https://")):
                if client is None:
                    client = new_client()
                    stack.push_async_callback(client.aclose)
                sources.append(OnTheWeb(client, card, [card]))
            elif "://" in card and not card.startswith(_FILE):
                raise ConfigError(
                    f"cards[{position}]: {card!r} is no card: use a file, or a URL that begins with https://."
                )
            else:
                sources.append(InFile(card.removeprefix(_FILE)))
        registry = Listed("direct", sources, clock, snapshot)
        await registry.open(stack.pop_all())
    try:
        registry.check()
    except ConfigError:
        await registry.close()
        raise
    return registry
