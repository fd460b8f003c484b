"""What a mesh needs of a cluster, and the lines by which an administrator makes it."""

import asyncio
import shlex
from collections.abc import Mapping
from typing import Final, NamedTuple

from agentmesh.broker.rocketmq.names import KINDS, OTHER, Names
from agentmesh.broker.rocketmq.remoting import Remoting
from agentmesh.broker.rocketmq.remoting.admin import EVENTS, TopicType
from agentmesh.errors import ConfigError

DOCTOR: Final = "`agentmesh doctor` says what else is wrong, with the mqadmin lines of what the mesh needs."
RETRIES: Final = 1_000_000
"""A group's own limit on deliveries is above any of ours."""

_TYPE: Final = "message.type"
_TTL: Final = "lite.topic.expiration"
_PARENT: Final = "lite.bind.topic"
_EVENTS: Final = "lite.sub.client.max.event.cnt"
_FIRST: Final = "TBW102"
"""The topic that is asked for to tell what listens at an address."""

_READERS: Final = "CID_RMQ_SYS_*"
_RIGHTS: Final = "Pub,Sub,Create,Update,Delete,Get,List"


class Topic(NamedTuple):
    """A RocketMQ topic. Its LiteTopics end `minutes` after their last entry (-1: never; `None`: it has none)."""

    name: str
    type: TopicType = "NORMAL"
    queues: int = 1
    minutes: int | None = None


class Group(NamedTuple):
    """A RocketMQ group. A message is handed out `retries` times after the first; `parent` is the topic of the
    LiteTopics that it reads (empty: it reads none).
    """

    name: str
    retries: int = RETRIES
    parent: str = ""


def topics(names: Names) -> list[Topic]:
    """Those that every mesh has."""
    lite = [Topic(names.parent_of(kind), "LITE", minutes=minutes) for kind, minutes in KINDS.items()]
    return [*lite, Topic(names.delay, "DELAY")]


def groups(names: Names) -> list[Group]:
    """Those that every mesh has."""
    return [Group(names.delay), check_group(names)]


def check_group(names: Names) -> Group:
    """By which it is found out whether LiteTopics can be followed."""
    return Group(names.parent_of("check"), parent=names.parent_of(OTHER))


async def make(names: Names, remoting: Remoting) -> None:
    """Make them, and see that LiteTopics can be made in them. Raises `BrokerUnavailable`, `ConfigError` (LiteTopics are
    off, or a topic is of another type), `Unauthorized`.
    """
    await asyncio.gather(*(make_topic(remoting, each) for each in topics(names)))
    for group in groups(names):
        await remoting.create_group(group.name, retries=group.retries, lite_parent=group.parent)
    await remoting.check_lite(names.parent_of(OTHER))


async def make_topic(remoting: Remoting, topic: Topic) -> None:
    """Make it, or have it as it should be. Raises `ConfigError` for one of another type: RocketMQ would change it and
    say nothing, to whoever has made it, and to whom its messages belong.
    """
    found = await remoting.topic_config(topic.name)
    if found and found.get(_TYPE, "NORMAL") != topic.type:
        raise ConfigError(another_type(topic, found[_TYPE]))
    await remoting.create_topic(topic.name, queues=topic.queues, type=topic.type, expiration_minutes=topic.minutes)


def another_type(topic: Topic, found: str) -> str:
    """What is wrong with a topic of the type `found`, and what to do."""
    mqadmin = Administrator()
    return (
        f"Topic {topic.name} is of another type: {found}, and has to be {topic.type}. If it is somebody else's, use "
        f"a namespace: ?namespace=NAME. If nobody needs it, delete it: {mqadmin.delete_topic(topic.name)} Then create "
        f"it: {mqadmin.create_topic(topic)}"
    )


def wrong_topic(topic: Topic, found: Mapping[str, str]) -> str:
    """What is wrong with a topic of these attributes, or nothing."""
    kind = found.get(_TYPE, "NORMAL")
    if kind != topic.type:
        return f"is of type {kind}, and has to be {topic.type}"
    if topic.minutes is not None and found.get(_TTL) != str(topic.minutes):
        return f"lets LiteTopics end after {found.get(_TTL, '?')} minutes instead of {topic.minutes}"
    return ""


def wrong_group(group: Group, found: Mapping[str, object]) -> str:
    """What is wrong with a group of this configuration, or nothing."""
    if not found.get("consumeEnable", True):
        return "may not receive"
    retries = found.get("retryMaxTimes", 0)
    if not isinstance(retries, int) or retries < group.retries:
        return f"gives up a message after {retries} deliveries: RocketMQ takes it away before the mesh does"
    attributes = found.get("attributes")
    bound = attributes.get(_PARENT) if isinstance(attributes, Mapping) else None
    if group.parent and bound != group.parent:
        return f"is bound to {bound or 'no topic'}, and has to be bound to {group.parent}"
    return ""


class Administrator(NamedTuple):
    """Where `mqadmin` works: a name server and a cluster's name, as far as they are known."""

    name_server: str = "NAMESRV:9876"
    cluster: str = "CLUSTER"

    def create_topic(self, topic: Topic) -> str:
        """Also changes what can be changed: its type cannot."""
        attributes = f"+{_TYPE}={topic.type}"
        if topic.minutes is not None:
            attributes += f",+{_TTL}={topic.minutes}"
        return self._line("updateTopic", "-t", topic.name, "-r", topic.queues, "-w", topic.queues, "-a", attributes)

    def delete_topic(self, name: str) -> str:
        """With all that is in it."""
        return self._line("deleteTopic", "-t", name)

    def create_group(self, group: Group) -> str:
        """Also changes it."""
        line = self._line("updateSubGroup", "-g", group.name, "-r", group.retries)
        if group.parent:
            line += f" -o true --attributes +{_PARENT}={group.parent},+{_EVENTS}={EVENTS}"
        return line

    def delete_group(self, name: str) -> str:
        """With how far it had read."""
        return self._line("deleteSubGroup", "-g", name, "-r", "true")

    def grant(self, user: str, names: Names) -> str:
        """All that a mesh does: it makes topics and groups as it goes."""
        mine = names.lane("*")
        topics = [mine, f"%LMQ%${mine}", f"%RETRY%{mine}", _FIRST]
        resources = ",".join([*(f"Topic:{each}" for each in topics), f"Group:{mine}", f"Group:{_READERS}"])
        return self._line("createAcl", "-s", f"User:{user}", "-r", resources, "-a", _RIGHTS, "-d", "Allow")

    def _line(self, command: str, *arguments: object) -> str:
        told = " ".join(shlex.quote(str(each)) for each in arguments)
        return f"mqadmin {command} -n {self.name_server} -c {self.cluster} {told}"


def lines(names: Names, administrator: Administrator, user: str = "") -> list[str]:
    """What to type for a mesh that may not make anything itself; with a `user`, first what lets it do so."""
    granted = [administrator.grant(user, names)] if user else []
    made = [administrator.create_topic(each) for each in topics(names)]
    return [*granted, *made, *(administrator.create_group(each) for each in groups(names))]
