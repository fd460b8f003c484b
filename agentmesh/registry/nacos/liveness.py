"""Who is alive: one instance per process and topic, which says the versions that the process serves.

An instance lives as long as the connection of its process, so there is nothing to renew. It has no address of its own:
its agents are reached through their topic. What Nacos wants as one, an IP and a port, is the name of the process in
127.0.0.0/8, the same for all its topics and with 40 bits unlikely to be another's.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from agentmesh.contracts import Registration
from agentmesh.errors import ConfigError
from agentmesh.registry.nacos.names import decode, encode
from agentmesh.registry.nacos.naming import Instance

GROUP: Final = "agentmesh"
LONGEST: Final = 1024
"""Characters that Nacos takes of an instance's metadata, as JSON."""


class Serving(msgspec.Struct, frozen=True):
    """A process on a topic: its node, and the digests of the cards that it serves, by version."""

    node: str
    versions: dict[str, str] = {}


def instance_of(topic: str, node: str, registrations: Iterable[Registration], digests: Mapping[str, str]) -> Instance:
    """What Nacos is told of a process on a topic; `digests` are its cards', by version.

    Raises `ConfigError` if that is longer than Nacos takes.
    """
    ours = sorted(registrations, key=lambda each: each.version)
    interfaces = [each.card.supported_interfaces[0] for each in ours if each.card.supported_interfaces][:1]
    metadata = {
        "v": " ".join(map(encode, digests)),
        "sha": " ".join(digests.values()),
        "node": node,
        **({"url": interfaces[0].url, "proto": interfaces[0].protocol_binding} if interfaces else {}),
    }
    length = len(msgspec.json.encode(metadata).decode())
    if length > LONGEST:
        longest = max(metadata, key=lambda name: len(metadata[name]))
        what = {
            "url": "Shorten the URL of the first interface of its card",
            "v": "Serve fewer versions of it in one process, or give them shorter names",
            "sha": "Serve fewer versions of it in one process",
        }.get(longest, "Shorten the protocol binding of the first interface of its card")
        raise ConfigError(
            f"{topic} {', '.join(digests)}: what Nacos is told of this agent has {length:,} characters, and it takes "
            f"{LONGEST:,}. {what} ({longest} has {len(metadata[longest]):,})."
        )
    host, port = identity(node)
    return Instance(host, port, metadata)


def serving(instance: Instance) -> Serving | None:
    """What an instance says, if it is one of ours."""
    metadata = instance.metadata
    versions, digests = metadata.get("v", "").split(" "), metadata.get("sha", "").split(" ")
    if "node" not in metadata or len(versions) != len(digests):
        return None
    try:
        return Serving(metadata["node"], dict(zip(map(decode, versions), digests, strict=True)))
    except ValueError:
        return None


def identity(node: str) -> tuple[str, int]:
    """The IP and port that stand for a node."""
    a, b, c, *port = blake2b(node.encode(), digest_size=5).digest()
    return f"127.{a}.{b}.{c}", int.from_bytes(bytes(port), "big") % 65_535 + 1
