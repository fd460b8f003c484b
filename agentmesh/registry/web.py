"""Cards on the web: asked for politely (RFC 9110, conditional requests; RFC 9111, `Cache-Control`) and with suspicion.

A card is public: no credentials, cookies or proxies' are sent. Who answers may be anybody: size, time and redirects are
bounded, and a redirect to a private address is followed only from one (a server elsewhere must not make this machine
ask its own network).
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from agentmesh.errors import ConfigError, PayloadCorrupt, RegistryUnavailable
from agentmesh.registry.source import LARGEST, Kept

if TYPE_CHECKING:
    import httpx2

PATHS: Final = (".well-known/agent-card.json", ".well-known/agent.json")
"""Where A2A has a card, and where it was before."""

TOTAL: Final = 15.0
"""How long (s) a card may take, redirects and all."""

_STEP: Final = 5.0
_REDIRECTS: Final = 5
_GONE: Final = (404, 410)
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age=\"?([0-9]{1,9})")


def new_client() -> "httpx2.AsyncClient":
    """A client for cards: it has nothing of the environment's, and follows no redirect by itself."""
    import httpx2

    return httpx2.AsyncClient(timeout=_STEP, trust_env=False, follow_redirects=False)


class OnTheWeb:
    """A card at a URL, or at the first of several `urls` that is there."""

    def __init__(self, client: "httpx2.AsyncClient", name: str, urls: Sequence[str]) -> None:
        self.name = name
        self.place = place_of(name)
        self._client = client
        self._urls = urls
        for url in urls:
            check_address(url)

    async def look(self, kept: Kept | None, now: int) -> Kept:
        import httpx2

        try:
            async with asyncio.timeout(TOTAL):
                for url in self._urls:
                    found = await self._fetch(url, kept if kept and kept.url == url else None, now)
                    if found:
                        return found
        except TimeoutError as error:
            raise RegistryUnavailable(f"{self.name} did not answer within {TOTAL:.0f} s.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise RegistryUnavailable(f"{self.name} cannot be reached: {error or type(error).__name__}.") from error
        finally:
            self._client.cookies.clear()
        raise RegistryUnavailable(f"{self.name} has no card: {' and '.join(self._urls)} are not there (404).")

    async def _fetch(self, url: str, kept: Kept | None, now: int) -> Kept | None:
        """The card at this URL; None if there is none."""
        headers = {"accept": "application/json", "user-agent": "agentmesh"}
        if kept and kept.etag:
            headers["if-none-match"] = kept.etag
        if kept and kept.modified:
            headers["if-modified-since"] = kept.modified
        here, from_private = url, False
        for hop in range(_REDIRECTS + 1):
            async with self._client.stream("GET", here, headers=headers) as response:
                is_private = _is_private(_peer(response))
                if hop == 0:
                    from_private = is_private
                elif is_private and not from_private:
                    raise _led_inside(url, here)
                if not response.has_redirect_location:
                    return await self._answer(response, url, kept, now)
                here = _next(here, response)
            if not from_private:
                await _check_public(url, here)
        raise RegistryUnavailable(f"{url} redirects more than {_REDIRECTS} times.")

    async def _answer(self, response: "httpx2.Response", url: str, kept: Kept | None, now: int) -> Kept | None:
        if response.status_code in _GONE:
            return None
        control = response.headers.get("cache-control", "").lower()
        found = _MAX_AGE.search(control)
        age = 0 if "no-cache" in control or "no-store" in control else int(found[1]) if found else 0
        if response.status_code == 304 and kept:
            raw = kept.raw
        elif response.status_code != 200:
            raise RegistryUnavailable(f"{url} answered {response.status_code} {response.reason_phrase}.")
        else:
            raw = await _body(response, url)
        etag, modified = response.headers.get("etag", ""), response.headers.get("last-modified", "")
        if kept and response.status_code == 304:
            etag, modified = etag or kept.etag, modified or kept.modified
        return Kept(raw, now, url, etag, modified, age, "no-store" in control)


def place_of(url: str) -> str:
    """What a card's URL and the base that it is the well-known card of have in common."""
    for path in PATHS:
        url = url.removesuffix(f"/{path}")
    return url.rstrip("/")


def check_address(url: str) -> None:
    """Raise `ConfigError` for what is no plain http or https URL."""
    try:
        parts = urlsplit(url)
        has_host, has_user = bool(parts.hostname), parts.username is not None
        _ = parts.port
    except ValueError as error:
        raise ConfigError(f"{url!r} is no URL of a card: {error}.") from error
    if parts.scheme not in ("http", "https") or not has_host:
        raise ConfigError(f"{url!r} is no URL of a card: use https://HOST/PATH.")
    if has_user:
        shown = f"{parts.scheme}://…@{parts.netloc.rpartition('@')[2]}"
        raise ConfigError(f"{shown}: a card is public, and no user and password are sent for one: leave them out.")


async def _body(response: "httpx2.Response", url: str) -> bytes:
    told = response.headers.get("content-length", "")
    raw = bytearray()
    if not told.isdecimal() or int(told) <= LARGEST:
        async for piece in response.aiter_bytes(65_536):
            raw += piece
            if len(raw) > LARGEST:
                break
        else:
            return bytes(raw)
    raise PayloadCorrupt(f"{url} answered with more than {LARGEST // 1_000_000} MB: that is no AgentCard.")


def _next(here: str, response: "httpx2.Response") -> str:
    """Where a redirect leads."""
    target = str(response.url.join(response.headers["location"]))
    try:
        check_address(target)
    except ConfigError as error:
        raise RegistryUnavailable(f"{here} redirects to what cannot be followed: {error}") from error
    if here.startswith("https:") and not target.startswith("https:"):
        raise RegistryUnavailable(f"{here} redirects to {target}, which is not encrypted: not followed.")
    return target


def _peer(response: "httpx2.Response") -> str:
    """The address that was connected to."""
    stream: Any = response.extensions.get("network_stream")
    address = stream.get_extra_info("server_addr") if stream else None
    return str(address[0]) if address else ""


async def _check_public(url: str, target: str) -> None:
    """Refuse a redirect that leads to a private address before anything is sent there."""
    parts = urlsplit(target)
    infos = await asyncio.get_running_loop().getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    if any(_is_private(str(info[4][0])) for info in infos):
        raise _led_inside(url, target)


def _is_private(address: str) -> bool:
    """Whether this is no address of the open network; what cannot be told counts as private."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    mapped = getattr(found, "ipv4_mapped", None)
    return not (mapped or found).is_global


def _led_inside(url: str, target: str) -> RegistryUnavailable:
    return RegistryUnavailable(f"{url} redirects to {target}, an address inside of this network: not followed.")
