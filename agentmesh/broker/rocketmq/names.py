"""What the topics, LiteTopics and groups of a mesh are called in a RocketMQ cluster."""

from typing import Final

from agentmesh.ids import digest, kind_of

LONGEST: Final = 35_790
"""Minutes, 24 days and 20 hours: the longest life that can be given to a LiteTopic. A broker (5.5.0) takes up to
43,200, but reckons in milliseconds of 32 bits: beyond 35,791 it removes a LiteTopic a quarter of an hour after its last
entry.
"""

TTL: Final = {"call": 4_320, "run": LONGEST, "session": LONGEST, "task": LONGEST, "log": LONGEST, "memory": LONGEST}
"""Minutes for which a LiteTopic of a kind lives after its last entry."""

OTHER: Final = "other"
"""The kind of LiteTopics whose name begins with none of ours."""

KEPT: Final = "mesh"
"""The kind of the mesh's own books, which never end."""

BLOBS: Final = "blob"
"""The kind of large bodies."""

ASIDE: Final = "aside"
"""The kind of the books of tasks that are neither in a queue nor done."""

KINDS: Final = {**TTL, OTHER: LONGEST, BLOBS: LONGEST, ASIDE: LONGEST, KEPT: -1}

_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-")


class Names:
    """Names in one cluster; those of meshes with different namespaces do not meet.

    A topic's name cannot hold `|`, so what we add to it cannot be the name of another.
    """

    def __init__(self, namespace: str = "") -> None:
        self._prefix = f"{namespace}-" if namespace else ""

    def lane(self, topic: str, version: str = "", tenant: str = "", *, priority: bool = False) -> str:
        """The RocketMQ topic, and the group of its workers, for tasks that only workers of `version` may have, or that
        wait apart from those of other tenants, or by priority. Without any it is the agent's own topic.
        """
        name = self._prefix + topic
        if version:
            name += f"|v|{_encoded(version)}"
        if tenant:
            name += f"|t|{_encoded(tenant)}"
        return f"{name}|p" if priority else name

    def parent(self, lite_topic: str) -> str:
        """The RocketMQ topic that a LiteTopic belongs to."""
        kind = kind_of(lite_topic)
        return self.parent_of(kind if kind in TTL else OTHER)

    def parent_of(self, kind: str) -> str:
        """The RocketMQ topic of the LiteTopics of a kind."""
        return f"{self._prefix}agentmesh-{kind}"

    @property
    def delay(self) -> str:
        """The topic, and the group, of tasks that wait for their time."""
        return f"{self._prefix}agentmesh-delay"

    def waking(self, client: str, kind: str) -> str:
        """The group of one inbox for LiteTopics of a kind."""
        return f"{self._prefix}agentmesh-inbox-{kind}-{digest(client)}"


def _encoded(text: str) -> str:
    """Any text in letters, digits, '-' and '_'; what is long is a digest. Different texts give different ones."""
    plain = "".join(each if each in _PLAIN else f"_{ord(each):x}_" for each in text)
    return plain if len(plain) <= 40 else f"_{digest(text)}"
