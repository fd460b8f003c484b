"""What this process knows of the registry: heads, cards, and who serves them. Everything is read from here."""

from collections.abc import Iterable, Sequence

import msgspec

from agentmesh.card import AgentCard
from agentmesh.contracts import Registration
from agentmesh.errors import TopicNotFound
from agentmesh.registry.nacos.heads import Head
from agentmesh.registry.nacos.liveness import Serving
from agentmesh.registry.versions import version_order


class Topic(msgspec.Struct):
    """A topic. `others` are the other processes on it, `ours` the digests of what this one serves, by version."""

    head: Head
    cards: dict[str, AgentCard] = {}
    others: tuple[Serving, ...] = ()
    ours: dict[str, str] = {}

    def is_alive(self, version: str) -> bool:
        """Whether somebody serves the version with the card that it was published with."""
        known = self.head.versions.get(version)
        served = [self.ours, *(each.versions for each in self.others)]
        return known is not None and any(each.get(version) == known.sha for each in served)


class View:
    """Topics by name. A removed one stays, without versions, for its `rev`."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}

    def topic(self, name: str) -> Topic:
        """The topic, made if need be."""
        return self.topics.setdefault(name, Topic(Head(name)))

    def names(self) -> list[str]:
        """Of the topics that have versions."""
        return [name for name, topic in self.topics.items() if topic.head.versions]

    def head(self, name: str) -> Head:
        """Raises `TopicNotFound`."""
        topic = self.topics.get(name)
        if topic is None or not topic.head.versions:
            raise TopicNotFound(name, self.names())
        return topic.head

    def known(self, name: str) -> Head | None:
        """The head that Nacos had of it last, that of a removed topic included."""
        topic = self.topics.get(name)
        return topic.head if topic and topic.head.rev else None

    def registrations(self, name: str, now: int) -> Sequence[Registration]:
        """One per version whose card is known, by version; none if the topic is not there."""
        topic = self.topics.get(name)
        versions = sorted(topic.head.versions) if topic else ()
        return [self._registration(name, version, now) for version in versions if topic and version in topic.cards]

    def get(self, name: str, version: str, now: int) -> Registration:
        """That version, else of the alive ones, or else of all, the one that is `latest` or else the newest.

        Raises `TopicNotFound`.
        """
        head = self.head(name)
        found = self.registrations(name, now)
        if version:
            matching = [each for each in found if each.version == version]
            if not matching:
                raise TopicNotFound(f"{name} {version}", (f"{name} {each}" for each in head.versions))
            return matching[0]
        if not found:
            raise TopicNotFound(name, self.names())
        best = max(found, key=lambda each: (each.alive, each.version == head.latest, version_order(each.version)))
        return msgspec.structs.replace(best, siblings=sum(each.alive for each in found) - best.alive)

    def all(self, now: int) -> Iterable[Registration]:
        """By topic and version."""
        return (each for name in sorted(self.names()) for each in self.registrations(name, now))

    def _registration(self, name: str, version: str, now: int) -> Registration:
        topic = self.topics[name]
        alive = topic.is_alive(version)
        return Registration(name, version, topic.cards[version], alive=alive, renewed=now if alive else 0)
