"""Which brokers there are, whatever the address names: a broker, a name server or a proxy."""

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from agentmesh.broker.rocketmq.address import Address
from agentmesh.broker.rocketmq.remoting.faults import NO_TOPIC, NOT_SUPPORTED
from agentmesh.broker.rocketmq.remoting.link import Link
from agentmesh.errors import BrokerUnavailable, ConfigError, PayloadCorrupt

Kind = Literal["broker", "proxy", "name server"]

ROUTE: Final = 105
CLUSTER: Final = 106
_KNOWN_FOR: Final = 30.0
"""Seconds for which what a name server or a proxy said counts."""

_ANY: Final = "TBW102"
"""A topic that every broker makes by itself."""

_BARE_KEY: Final = re.compile(r"([{,])(-?\d+):")


class Broker(NamedTuple):
    """A broker and how it is asked: `fields` go into every request."""

    name: str
    link: Link
    fields: Mapping[str, str]


class Brokers:
    """The brokers behind `address`. Masters only: they have all data."""

    def __init__(self, address: Address) -> None:
        self.endpoint = address.remoting_endpoint
        self._address = address
        self._first = Link(self.endpoint, address)
        self._links: dict[str, Link] = {}
        self._kind: Kind | None = None
        self._known: dict[str, tuple[float, list[Broker]]] = {}
        self._finding = asyncio.Lock()

    async def kind(self) -> Kind:
        """What listens there."""
        if self._kind is None:
            answer = await self._first.ask("Asking for the brokers", CLUSTER, well=(0, NOT_SUPPORTED))
            if answer.code == 0:
                self._kind = "name server"
            else:
                fields = {"topic": _ANY, "acceptStandardJsonOnly": True}
                answer = await self._first.ask("Asking", ROUTE, fields, well=(0, NOT_SUPPORTED, NO_TOPIC))
                self._kind = "broker" if answer.code == NOT_SUPPORTED else "proxy"
        return self._kind

    async def all(self, topic: str = "") -> list[Broker]:
        """All brokers; through a proxy those of `topic`. Raises `BrokerUnavailable`, `ConfigError`."""
        async with self._finding:
            kind = await self.kind()
            if kind == "broker":
                return [Broker("", self._first, {})]
            key = topic if kind == "proxy" else ""
            now = asyncio.get_running_loop().time()
            until, brokers = self._known.get(key, (0.0, []))
            if now >= until:
                brokers = await (self._of_proxy(topic or _ANY) if kind == "proxy" else self._of_name_server())
                self._known[key] = now + _KNOWN_FOR, brokers
            return brokers

    async def name_server(self) -> Link | None:
        """The name server, if the address names one."""
        return self._first if await self.kind() == "name server" else None

    async def cluster(self) -> dict[str, Any]:
        """What a name server says of its cluster: broker's name to its addresses by id."""
        answer = await self._first.ask("Asking for the brokers", CLUSTER)
        table: dict[str, Any] = read_json(answer.body).get("brokerAddrTable", {})
        return table

    async def close(self) -> None:
        await asyncio.gather(self._first.close(), *(each.close() for each in self._links.values()))

    async def _of_proxy(self, topic: str) -> list[Broker]:
        fields = {"topic": topic, "acceptStandardJsonOnly": True}
        answer = await self._first.ask("Looking up topic", ROUTE, fields, name=topic)
        names = [each["brokerName"] for each in read_json(answer.body).get("brokerDatas", ())]
        if not names:
            raise BrokerUnavailable(f"The proxy {self.endpoint} knows no broker of topic {topic!r}.")
        return [Broker(name, self._first, {"bname": name}) for name in names]

    async def _of_name_server(self) -> list[Broker]:
        masters = {}
        for name, data in (await self.cluster()).items():
            master = data.get("brokerAddrs", {}).get("0")
            if master:
                masters[name] = master
        if not masters:
            raise BrokerUnavailable(f"The name server {self.endpoint} knows no broker. Start one, or wait 10 s for it.")
        for master in masters.values():
            if master not in self._links:
                self._links[master] = Link(master, self._address)
        return [Broker(name, self._links[master], {}) for name, master in masters.items()]


def read_json(raw: bytes) -> dict[str, Any]:
    """A JSON object, also in the form of Java's fastjson, which writes numbers as keys. Raises `PayloadCorrupt`."""
    text = raw.decode()
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = json.loads(_BARE_KEY.sub(r'\1"\2":', text))
        except ValueError as error:
            raise PayloadCorrupt(f"RocketMQ's answer is no JSON: {text[:80]!r}.") from error
    if not isinstance(value, dict):
        raise ConfigError(f"RocketMQ's answer is no object: {text[:80]!r}.")
    return value
