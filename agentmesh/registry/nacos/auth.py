"""Who we are to Nacos: nobody, the bearer of a token, or a user with a password, who fetches tokens."""

import asyncio
import ssl
import time
from typing import Final

from agentmesh.errors import ConfigError, RegistryUnavailable, Unauthorized
from agentmesh.registry.nacos.address import Address

_PATHS: Final = ("/v1/auth/users/login", "/v3/auth/user/login")
_MARGIN: Final = 60.0
_LIFETIME: Final = 18_000.0
_REFUSED: Final = frozenset([400, 401, 403, 500])
"""r-nacos answers 500 to a wrong password."""


class Auth:
    """The access token to send along. Tokens are fetched by POST, so that no password is in anybody's access log."""

    def __init__(self, address: Address, username: str, password: str, token: str) -> None:
        if bool(username) != bool(password):
            raise ConfigError("username and password of a Nacos go together: pass both, or neither.")
        if token and username:
            raise ConfigError("Nacos takes a token, or a username and a password: pass one or the other.")
        self._address = address
        self._username = username
        self._password = password
        self._token = token
        self._until = float("inf") if token else 0.0
        self._lock = asyncio.Lock()

    async def headers(self, fresh: bool = False) -> dict[str, str]:
        """For a request; `fresh` if the token that was given last was refused.

        Raises `Unauthorized` for a wrong password, `RegistryUnavailable` if nobody answers.
        """
        if self._username:
            async with self._lock:
                if fresh or time.monotonic() > self._until:
                    await self._log_in()
        return {"accessToken": self._token} if self._token else {}

    async def _log_in(self) -> None:
        import httpx2

        errors: list[str] = []
        async with httpx2.AsyncClient(verify=self._context(), timeout=3, trust_env=False) as client:
            for url in (base + path for base in self._address.http for path in _PATHS):
                try:
                    answer = await client.post(url, data={"username": self._username, "password": self._password})
                except httpx2.HTTPError as error:
                    errors.append(f"{url}: {error or type(error).__name__}")
                    continue
                if answer.status_code in _REFUSED:
                    raise Unauthorized(
                        f"{self._address} does not know the user {self._username!r} with this password "
                        f"({answer.status_code}). Correct username= and password=."
                    )
                if self._took(answer):
                    return
                errors.append(f"{url}: {answer.status_code}")
        raise RegistryUnavailable(
            f"Nobody at {self._address} gives the user {self._username!r} a token: {'; '.join(errors)}. Check the "
            "address: it is Nacos' HTTP port."
        )

    def _took(self, answer: "object") -> bool:
        """Whether the answer holds a token."""
        import httpx2

        assert isinstance(answer, httpx2.Response)
        try:
            told = answer.json()
            self._token = str(told["accessToken"])
            self._until = time.monotonic() + float(told.get("tokenTtl", _LIFETIME)) - _MARGIN
        except (ValueError, KeyError, TypeError):
            return False
        return True

    def _context(self) -> ssl.SSLContext | bool:
        return ssl.create_default_context(cafile=self._address.ca) if self._address.ca else True
