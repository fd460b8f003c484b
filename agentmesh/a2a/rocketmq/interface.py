"""Where a card says that an agent is: `http://<endpoint>/<namespace>/<topic>`, of the transport RocketMQ."""

import re
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from agentmesh.broker.rocketmq.address import read_address
from agentmesh.broker.rocketmq.names import Names
from agentmesh.card import BINDING, AgentCard, write_card
from agentmesh.errors import ConfigError

TRANSPORT: Final = "RocketMQ"
_PROTOCOL: Final = "0.3.0"
_PART: Final = re.compile(r"[A-Za-z0-9_-]{1,127}\Z")


class Interface(NamedTuple):
    """`endpoint` is a proxy's HOST:PORT, `topic` the agent's, in RocketMQ's `namespace` (empty: none)."""

    endpoint: str
    namespace: str
    topic: str

    def within(self, name: str) -> str:
        """What RocketMQ calls the topic `name` of that namespace."""
        return f"{self.namespace}%{name}" if self.namespace else name


def interface_of(card: AgentCard) -> Interface:
    """The card's RocketMQ interface, of A2A 0.3 or 1.0. Raises `ConfigError`."""
    urls = [each.url for each in card.supported_interfaces if each.protocol_binding.lower() == TRANSPORT.lower()]
    if not urls:
        raise ConfigError(
            f"The card of {card.name!r} has no interface of the transport RocketMQ: "
            '{"transport": "RocketMQ", "url": "http://<endpoint>/<namespace>/<topic>"}.'
        )
    try:
        parts = urlsplit(urls[0])
        path = parts.path.split("/")
    except ValueError:
        path = []
    named = len(path) == 3 and not path[0] and (not path[1] or _PART.match(path[1])) and _PART.match(path[2])
    if not named or not parts.netloc or "@" in parts.netloc:
        raise ConfigError(
            f"{urls[0]!r}, of the card of {card.name!r}, is no address of an agent. It looks like "
            "http://<endpoint>/<namespace>/<topic>, or http://<endpoint>//<topic> without a namespace."
        )
    return Interface(parts.netloc, path[1], path[2])


def card_for_rocketmq(card: AgentCard, broker_url: str) -> dict[str, Any]:
    """The card of an agent of ours in the style of A2A 0.3, for rocketmq-a2a clients that reach the mesh's RocketMQ at
    `broker_url` (rocketmq://HOST:PORT[?namespace=…]). Raises `ConfigError`.
    """
    address = read_address(broker_url)
    found = next((each.url for each in card.supported_interfaces if each.protocol_binding == BINDING), "")
    topic = found.removeprefix("agentmesh:")
    if not topic:
        raise ConfigError(f"The card of {card.name!r} is of no agent of an agentmesh: it names no topic.")
    url = f"http://{address.endpoint}//{Names(address.namespace).lane(topic)}"
    data: dict[str, Any] = msgspec.json.decode(write_card(card))
    del data["supportedInterfaces"]
    data["capabilities"].pop("extendedAgentCard", None)
    return {
        **data,
        "protocolVersion": _PROTOCOL,
        "url": url,
        "preferredTransport": TRANSPORT,
        "additionalInterfaces": [{"transport": TRANSPORT, "url": url}],
    }
