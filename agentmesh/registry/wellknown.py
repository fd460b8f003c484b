"""`https://BASE`: the agent of a server that publishes its card at the well-known path (RFC 8615)."""

import contextlib
from pathlib import Path
from urllib.parse import urlsplit

from agentmesh.clock import Clock
from agentmesh.registry.listed import Listed
from agentmesh.registry.web import PATHS, OnTheWeb, check_address, new_client


async def open_well_known(base: str, clock: Clock, snapshot: Path) -> Listed:
    """The registry of the one agent at `base`; a URL of a `.json` is taken as it is. Raises `ConfigError` for what is
    no such URL. While the card cannot be had it is waited for; meanwhile what `snapshot` holds counts.
    """
    check_address(base)
    parts = urlsplit(base)
    root = parts._replace(query="", fragment="").geturl().rstrip("/")
    urls = [base] if parts.path.endswith(".json") else [f"{root}/{path}" for path in PATHS]
    async with contextlib.AsyncExitStack() as stack:
        client = new_client()
        stack.push_async_callback(client.aclose)
        registry = Listed(base, [OnTheWeb(client, base, urls)], clock, snapshot)
        await registry.open(stack.pop_all())
    return registry
