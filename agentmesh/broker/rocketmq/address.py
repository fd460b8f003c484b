"""Where a RocketMQ cluster is, and as whom we come."""

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from agentmesh.document import did_you_mean
from agentmesh.errors import ConfigError

GRPC_PORT: Final = 8081
"""Where a proxy listens for gRPC, unless it was told otherwise."""

REMOTING_PORT: Final = 8080
"""Where a proxy listens for the remoting protocol, unless it was told otherwise."""

_SCHEME: Final = "rocketmq"
_PARAMETERS: Final = ("remoting", "namespace", "tls", "ca", "remoting_tls")
_FORM: Final = "rocketmq://HOST:PORT[?remoting=HOST:PORT][&namespace=NAME][&tls=true][&ca=PATH][&remoting_tls=false]"
_HOST: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)"
_ENDPOINT: Final = re.compile(rf"({_HOST}):([0-9]{{1,5}})\Z")
_NAMESPACE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}\Z")
_BOOLEANS: Final = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Credentials(msgspec.Struct, frozen=True):
    """A user of RocketMQ's ACL 2.0: its name and its password."""

    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"Credentials(access_key={self.access_key!r}, secret_key=…)"


class Address(msgspec.Struct, frozen=True):
    """`endpoint` is a proxy's gRPC port, `remoting` the remoting port of a proxy, a broker or a name server (empty: the
    endpoint's host, port 8080), each HOST:PORT. `ca` is the path of a PEM file; empty: the system's authorities.
    `remoting_tls` is for a broker that differs from its proxy; `None`: as `tls`."""

    endpoint: str
    remoting: str = ""
    namespace: str = ""
    credentials: Credentials | None = None
    tls: bool = False
    ca: str = ""
    remoting_tls: bool | None = None

    @property
    def remoting_endpoint(self) -> str:
        """HOST:PORT for the remoting protocol."""
        return self.remoting or f"{split_endpoint(self.endpoint)[0]}:{REMOTING_PORT}"


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Host (with its brackets, if it is an IPv6 address) and port of HOST:PORT. Raises `ConfigError`."""
    found = _ENDPOINT.match(endpoint)
    if not found or not 0 < int(found[2]) < 65536:
        raise ConfigError(
            f"{endpoint!r} is no HOST:PORT. Write a host and a port of 1 to 65535, such as 127.0.0.1:8081."
        )
    return found[1], int(found[2])


def read_address(url: str, access_key: str = "", secret_key: str = "") -> Address:
    """The address that `url` writes down. Raises `ConfigError` for whatever is wrong with it; without the port it is
    8081."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ConfigError(f"{_shown(url)!r} is no URL ({error}). Write {_FORM}.") from error
    if parts.scheme != _SCHEME:
        raise ConfigError(f"{_shown(url)!r} does not begin with rocketmq://. Write {_FORM}.")
    if "@" in parts.netloc:
        raise ConfigError(
            f"{_shown(url)!r} holds credentials, and URLs end up in logs. Give access key and secret key apart from it."
        )
    if parts.path not in ("", "/") or parts.fragment:
        raise ConfigError(
            f"{url!r} goes on after HOST:PORT with {parts.path or '#' + parts.fragment!r}. Write {_FORM}."
        )
    given = _parameters(url, query)
    if bool(access_key) != bool(secret_key):
        missing = "secret key" if access_key else "access key"
        raise ConfigError(f"There is no {missing} for {parts.netloc}, but the other one. Give both, or neither.")
    return Address(
        endpoint=_endpoint(url, parts.netloc),
        remoting=_endpoint(url, given["remoting"]) if "remoting" in given else "",
        namespace=_namespace(given.get("namespace", "")),
        credentials=Credentials(access_key, secret_key) if access_key else None,
        tls=_tls(given),
        ca=given.get("ca", ""),
        remoting_tls=_boolean(given, "remoting_tls"),
    )


def _parameters(url: str, query: list[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in query:
        if name not in _PARAMETERS:
            raise ConfigError(
                f"{url!r}: there is no parameter {name!r}.{did_you_mean(name, _PARAMETERS)} "
                f"There are {', '.join(_PARAMETERS)}."
            )
        if name in given:
            raise ConfigError(f"{url!r} gives {name!r} twice. Leave one out.")
        if not value:
            raise ConfigError(f"{url!r}: {name!r} is empty. Give it a value, or leave it out.")
        given[name] = value
    return given


def _endpoint(url: str, text: str) -> str:
    if not text:
        raise ConfigError(f"{url!r} names no host. Write {_FORM}.")
    if re.fullmatch(_HOST, text):
        text = f"{text}:{GRPC_PORT}"
    try:
        split_endpoint(text)
    except ConfigError as error:
        raise ConfigError(f"{url!r}: {error}") from error
    return text


def _namespace(name: str) -> str:
    if name and not _NAMESPACE.match(name):
        raise ConfigError(f"{name!r} cannot be a namespace: use a letter, then up to 31 letters, digits or '_'.")
    return name


def _tls(given: dict[str, str]) -> bool:
    tls = _boolean(given, "tls")
    if "ca" in given and tls is False:
        raise ConfigError("ca= is there, but tls=false. Leave one out.")
    return "ca" in given if tls is None else tls


def _boolean(given: dict[str, str], name: str) -> bool | None:
    if name not in given:
        return None
    value = _BOOLEANS.get(given[name].lower())
    if value is None:
        raise ConfigError(f"{name}={given[name]!r} is neither true nor false.")
    return value


def _shown(url: str) -> str:
    """The URL without what stands before an @."""
    return re.sub(r"//[^/]*@", "//…@", url)
