"""Where a Nacos is: `nacos://HOST:PORT[,HOST:PORT…][?namespace=public][&tls=true][&ca=PATH]`."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from agentmesh.errors import ConfigError

PORT: Final = 8848
GRPC: Final = 1000
"""Nacos listens for gRPC at its port + 1000."""

FORM: Final = "nacos://HOST:PORT[,HOST:PORT…][?namespace=public][&tls=true][&ca=PATH]"
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]+")


class Address(msgspec.Struct, frozen=True):
    """The servers of one Nacos as (host, HTTP port), the namespace (one per environment), and how they are reached."""

    servers: tuple[tuple[str, int], ...]
    namespace: str = "public"
    tls: bool = False
    ca: str = ""

    @property
    def grpc(self) -> tuple[tuple[str, int], ...]:
        """The servers' gRPC ports."""
        return tuple((host, port + GRPC) for host, port in self.servers)

    @property
    def http(self) -> tuple[str, ...]:
        """The servers' base URLs."""
        return tuple(f"{'https' if self.tls else 'http'}://{host}:{port}/nacos" for host, port in self.servers)

    def __str__(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self.servers)
        return f"nacos://{hosts}" + (f"?namespace={self.namespace}" if self.namespace != "public" else "")


def read_address(url: str) -> Address:
    """The address in a URL. Raises `ConfigError` saying what is wrong with it."""
    scheme, separator, rest = url.partition("://")
    if scheme != "nacos" or not separator:
        raise ConfigError(f"{url!r} is no address of a Nacos: use {FORM}.")
    hosts, _, query = rest.partition("?")
    if "@" in hosts:
        raise ConfigError("A nacos:// URL holds no user and password: pass username= and password= beside it.")
    options = _options(url, query)
    ca, tls = options.get("ca", ""), _truth(url, options.get("tls", "true" if "ca" in options else "false"))
    if ca and not tls:
        raise ConfigError(f"{url!r} has both ca= and tls=false: leave one of them out.")
    if ca and not Path(ca).is_file():
        raise ConfigError(f"{url!r}: there is no file {ca!r}. ca= is the path of the authority's certificate (PEM).")
    namespace = options.get("namespace", "public")
    if not _NAMESPACE.fullmatch(namespace):
        raise ConfigError(f"{url!r}: a namespace is the id of one, of A-Z, a-z, 0-9, _ and -; not {namespace!r}.")
    return Address(tuple(_server(url, each) for each in hosts.rstrip("/").split(",")), namespace, tls, ca)


def _options(url: str, query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ConfigError(f"{url!r}: {query!r} is no list of name=value: use {FORM}.") from error
    for name, value in pairs:
        if name not in ("namespace", "tls", "ca") or not value:
            raise ConfigError(f"{url!r}: {name}={value!r} is not understood: use {FORM}.")
    return dict(pairs)


def _server(url: str, server: str) -> tuple[str, int]:
    host, separator, port = server.strip().partition(":")
    if not _HOST.fullmatch(host):
        raise ConfigError(f"{url!r}: {server!r} is no HOST:PORT. Several servers are separated by commas.")
    if not separator:
        return host, PORT
    if not port.isdecimal() or not 0 < int(port) <= 65_535 - GRPC:
        raise ConfigError(
            f"{url!r}: {port!r} is no port of a Nacos (1 to {65_535 - GRPC}). It is the HTTP port, {PORT} by default; "
            f"gRPC is at + {GRPC}."
        )
    return host, int(port)


def _truth(url: str, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ConfigError(f"{url!r}: tls is true or false, not {text!r}.")
    return text.lower() == "true"
