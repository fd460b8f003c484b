"""Topics, groups and what brokers say of themselves: asked of a broker or of a name server, not of a proxy."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from agentmesh.broker.rocketmq.remoting.brokers import Broker, read_json
from agentmesh.broker.rocketmq.remoting.faults import NO_GROUP, NO_TOPIC
from agentmesh.broker.rocketmq.remoting.frame import Answer
from agentmesh.broker.rocketmq.remoting.reading import Reading

TopicType = Literal["NORMAL", "LITE", "PRIORITY", "DELAY", "FIFO"]

RETRIES: Final = 16
"""Deliveries after the first until a message becomes a dead letter."""

EVENTS: Final = 100_000
"""LiteTopics with something to read that a client is told of without delay; RocketMQ's default of 100 makes replies 10
to 31 s late."""

_CREATE_TOPIC: Final = 17
_TOPICS: Final = 21
_CONFIG: Final = 26
_RUNTIME: Final = 28
_CREATE_GROUP: Final = 200
_GROUPS: Final = 201
_DELETE_GROUP: Final = 207
_STATS: Final = 208
_DELETE_TOPIC: Final = 215
_DELETE_FROM_NAME_SERVER: Final = 216
_TOPIC: Final = 351
_LITE_TOPIC: Final = 200076
_CREATE_USER: Final = 3001
_CREATE_ACL: Final = 3006
_READ_AND_WRITE: Final = 6
_QUEUE: Final = re.compile(r'\{"brokerName":"([^"]*)","queueId":(\d+),"topic":"([^"]*)"\}:(\{[^}]*\})')
_UPTIME: Final = re.compile(r"(\d+) days, (\d+) hours, (\d+) minutes, (\d+) seconds")


class Lag(NamedTuple):
    """How far a group is in a queue: `read` of `written` messages, by offset."""

    broker: str
    queue: int
    topic: str
    written: int
    read: int


class Remoting(Reading):
    """The remoting protocol at `address`: a broker, a proxy (reading only), or a name server for all its brokers.

    Everything raises `BrokerUnavailable` when nobody answers in time, `Unauthorized`, and `ConfigError` for what the
    server cannot do.
    """

    async def kind(self) -> str:
        """What listens at the address: `broker`, `proxy` or `name server`."""
        return await self._brokers.kind()

    async def create_topic(
        self,
        name: str,
        *,
        queues: int = 1,
        type: TopicType = "NORMAL",  # noqa: A002
        expiration_minutes: int | None = None,
    ) -> None:
        """Create it on all brokers, or change it; its type cannot be changed. `expiration_minutes` after its last write
        a LiteTopic of it ends (15 to 35,791; -1: never)."""
        attributes = [f"+message.type={type}"]
        if expiration_minutes is not None:
            attributes.append(f"+lite.topic.expiration={expiration_minutes}")
        fields = {
            "topic": name,
            "defaultTopic": "TBW102",
            "readQueueNums": queues,
            "writeQueueNums": queues,
            "perm": _READ_AND_WRITE,
            "topicFilterType": "SINGLE_TAG",
            "topicSysFlag": 0,
            "order": False,
            "attributes": ",".join(attributes),
        }
        await self._everywhere("Creating topic", _CREATE_TOPIC, fields, name=name)

    async def delete_topic(self, name: str) -> None:
        """Delete it and what is in it; one that is not there is none. Without the name server's address its entry there
        remains."""
        await self._everywhere("Deleting topic", _DELETE_TOPIC, {"topic": name}, name=name)
        name_server = await self._brokers.name_server()
        if name_server:
            await name_server.ask("Deleting topic", _DELETE_FROM_NAME_SERVER, {"topic": name}, name=name)

    async def topic_config(self, name: str) -> Mapping[str, str] | None:
        """The topic's attributes (`message.type`, `lite.topic.expiration`, …) and `queues`; `None`: no such topic."""
        broker = (await self._brokers.all())[0]
        answer = await broker.link.ask("Looking up topic", _TOPIC, {"topic": name}, name=name, well=(0, NO_TOPIC))
        if answer.code == NO_TOPIC:
            return None
        config = read_json(answer.body)
        return {**_texts(config.get("attributes") or {}), "queues": str(config.get("readQueueNums", 0))}

    async def topics(self) -> set[str]:
        """The names of all topics, RocketMQ's own too, LiteTopics not."""
        return await self._names(_TOPICS, "topicConfigTable")

    async def create_group(
        self,
        name: str,
        *,
        orderly: bool = False,
        retries: int = RETRIES,
        lite_parent: str = "",
        events: int = EVENTS,
        exclusive: bool = False,
    ) -> None:
        """Create it on all brokers, or change it. A group of LiteTopics is orderly and bound to its parent topic;
        `exclusive`: the newest subscriber of a LiteTopic takes it over."""
        attributes = {}
        if lite_parent:
            attributes = {"+lite.bind.topic": lite_parent, "+lite.sub.client.max.event.cnt": str(events)}
        if exclusive:
            attributes["+lite.sub.model"] = "Exclusive"
        config = {
            "groupName": name,
            "consumeEnable": True,
            "consumeMessageOrderly": orderly or bool(lite_parent),
            "retryMaxTimes": retries,
            "retryQueueNums": 1,
            "attributes": attributes,
        }
        await self._everywhere("Creating group", _CREATE_GROUP, {}, json.dumps(config).encode(), name=name)

    async def delete_group(self, name: str) -> None:
        """Delete it and how far it had read; one that is not there is none."""
        await self._everywhere("Deleting group", _DELETE_GROUP, {"groupName": name, "cleanOffset": True}, name=name)

    async def groups(self) -> set[str]:
        """The names of all groups, RocketMQ's own too."""
        return await self._names(_GROUPS, "subscriptionGroupTable")

    async def create_user(self, name: str, password: str) -> None:
        """A user of ACL 2.0 on all brokers, who may do nothing yet."""
        user = {"username": name, "password": password, "userType": "Normal"}
        await self._everywhere("Creating user", _CREATE_USER, {"username": name}, json.dumps(user).encode(), name=name)

    async def grant(self, user: str, resources: Sequence[str], actions: Sequence[str]) -> None:
        """Let a user do `actions` (`Pub`, `Sub`, …) with `resources` such as `Topic:t1-*` and `Group:t1-*`."""
        subject = f"User:{user}"
        entries = [{"resource": each, "actions": list(actions), "decision": "Allow"} for each in resources]
        rights = {"subject": subject, "policies": [{"policyType": "Custom", "entries": entries}]}
        body = json.dumps(rights).encode()
        await self._everywhere("Granting rights to", _CREATE_ACL, {"subject": subject}, body, name=user)

    async def lags(self, group: str, topic: str) -> list[Lag]:
        """How far a group is in each queue of a topic; of LiteTopics see `lite_topic_info`."""
        fields = {"consumerGroup": group, "topic": topic}
        answers = await self._everywhere("Looking up group", _STATS, fields, name=group, well=(0, NO_TOPIC, NO_GROUP))
        found = (each for answer in answers for each in _QUEUE.finditer(answer.body.decode()))
        lags = []
        for broker, queue, name, numbers in (each.groups() for each in found):
            offsets = json.loads(numbers)
            lags.append(Lag(broker, int(queue), name, int(offsets["brokerOffset"]), int(offsets["consumerOffset"])))
        return lags

    async def lite_topic_info(self, parent: str, lite_topic: str) -> Mapping[str, Any] | None:
        """What the broker knows of a LiteTopic (`topicOffset`, `subscriber`, …); `None`: no such parent topic."""
        fields = {"parentTopic": parent, "liteTopic": lite_topic}
        answers = await self._everywhere("Looking up", _LITE_TOPIC, fields, name=parent, well=(0, NO_TOPIC))
        infos = [read_json(each.body) for each in answers if each.code == 0]
        infos.sort(key=lambda each: each.get("topicOffset", {}).get("maxOffset", 0))
        return infos[-1] if infos else None

    async def cluster(self) -> Mapping[str, Mapping[str, str]]:
        """Broker's name to its addresses by id (`0`: the master), as the name server says. Raises `ConfigError` if the
        address names none."""
        return {name: _texts(data.get("brokerAddrs", {})) for name, data in (await self._brokers.cluster()).items()}

    async def broker_config(self) -> Mapping[str, str]:
        """The settings of the first broker, with its defaults, as broker.conf names them."""
        answer = await self._first("Looking up the settings", _CONFIG)
        lines = (line.partition("=") for line in answer.body.decode().splitlines() if "=" in line)
        return {name: value for name, _, value in lines}

    async def broker_version(self) -> str:
        """Such as `5.5.0`."""
        table = await self._runtime()
        return str(table.get("brokerVersionDesc", "")).removeprefix("V").replace("_", ".")

    async def broker_time(self) -> int:
        """The broker's clock, ms UTC, up to a second behind: made of when it started and how long it has been up."""
        table = await self._runtime()
        found = _UPTIME.search(str(table.get("runtime", "")))
        days, hours, minutes, seconds = (int(each) for each in found.groups()) if found else (0, 0, 0, 0)
        return int(table["bootTimestamp"]) + (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000

    async def _runtime(self) -> dict[str, Any]:
        answer = await self._first("Asking the broker", _RUNTIME)
        table: dict[str, Any] = read_json(answer.body).get("table", {})
        return table

    async def _names(self, code: int, table: str) -> set[str]:
        answers = await self._everywhere("Listing", code, {})
        return set().union(*(read_json(each.body).get(table, {}) for each in answers))

    async def _first(self, what: str, code: int) -> Answer:
        broker = (await self._brokers.all())[0]
        return await broker.link.ask(what, code)

    async def _everywhere(
        self,
        what: str,
        code: int,
        fields: Mapping[str, Any],
        body: bytes = b"",
        *,
        name: str = "",
        well: tuple[int, ...] = (0,),
    ) -> list[Answer]:
        async def ask(broker: Broker) -> Answer:
            return await broker.link.ask(what, code, fields, body, name=name, well=well)

        return await asyncio.gather(*(ask(each) for each in await self._brokers.all()))


def _texts(table: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in table.items()}
