"""The head of a topic: one document that says which versions there are and which of them is for whom.

`{topic, rev, latest, labels, route, versions: {version: {sha, at}}}`. A head without versions is that of a topic that
was removed. Each change counts `rev` up, which the index tells everybody. These functions give the head after a change,
or None if there is nothing to change.
"""

from collections.abc import Callable, Mapping

import msgspec

from agentmesh.errors import ConfigError, Conflict, PayloadCorrupt, TopicNotFound
from agentmesh.registry.versions import version_order


class Published(msgspec.Struct, frozen=True):
    """A version: the digest of its card, and when it was first published (ms)."""

    sha: str
    at: int = 0


class Head(msgspec.Struct, frozen=True):
    """A topic: its versions, the one that is `latest`, and shares of messages by version or label."""

    topic: str
    rev: int = 0
    latest: str = ""
    labels: dict[str, str] = {}
    route: dict[str, int] = {}
    versions: dict[str, Published] = {}

    def shares(self) -> dict[str, int]:
        """The route by version: a label counts as the version that it is on."""
        found: dict[str, int] = {}
        for name, weight in self.route.items():
            version = name if name in self.versions else self.labels.get(name, "")
            if version in self.versions:
                found[version] = found.get(version, 0) + weight
        return found


Edit = Callable[[Head], Head | None]
"""The head after a change, or None if there is nothing to change."""


def read_head(text: str, where: str) -> Head:
    """The head in a document. Raises `PayloadCorrupt` naming the document if it is somebody else's."""
    try:
        return msgspec.json.decode(text, type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadCorrupt(
            f"The document {where} in Nacos is not agentmesh's: {error}. Remove it there, or use another namespace."
        ) from error


def write_head(head: Head) -> str:
    """The document of a head; equal heads are equal documents."""
    return msgspec.json.encode(head, order="deterministic").decode()


def published(head: Head, version: str, sha: str, now: int) -> Head | None:
    """With this version. One that is new and above `latest` becomes it. Raises `Conflict` if it has another card."""
    known = head.versions.get(version)
    if known:
        if known.sha != sha:
            raise Conflict(
                f"{head.topic} {version} is registered with another card. A card that changes needs a new version: "
                "give this agent one, or another topic."
            )
        return None
    newer = not head.latest or version_order(version) > version_order(head.latest)
    versions = {**head.versions, version: Published(sha, now)}
    return _changed(head, versions=versions, latest=version if newer else head.latest)


def pointed(head: Head, latest: str, labels: Mapping[str, str]) -> Head | None:
    """With `latest` elsewhere (unless empty) and labels moved, or taken away where their version is empty.

    Raises `TopicNotFound` for a version that there is not.
    """
    for version in filter(None, (latest, *labels.values())):
        _check_version(head, version)
    moved = {name: version for name, version in {**head.labels, **labels}.items() if version}
    after = _changed(head, latest=latest or head.latest, labels=moved)
    return after if (after.latest, after.labels) != (head.latest, head.labels) else None


def routed(head: Head, weights: Mapping[str, int]) -> Head | None:
    """With this route, by version or label. Raises `TopicNotFound`, and `ConfigError` for a weight below 0."""
    for name, weight in weights.items():
        if name not in head.labels:
            _check_version(head, name)
        if weight < 0:
            raise ConfigError(f"{head.topic} {name} cannot get a share of {weight}.")
    return _changed(head, route=dict(weights)) if dict(weights) != head.route else None


def removed(head: Head) -> Head | None:
    """Without anything but its `rev`, which goes on if the topic comes back."""
    return Head(head.topic, head.rev + 1) if head.versions else None


def restored(head: Head, known: Head) -> Head | None:
    """With what the server has lost of what was `known`, if it has: its storage is a new one, or the edit of another
    process, which cannot compare and set, went over ours. A topic that was removed stays so.
    """
    if head.rev >= known.rev and not (head.versions and known.versions.keys() - head.versions.keys()):
        return None
    base = head if head.rev >= known.rev else known
    versions = {**known.versions, **head.versions}
    return msgspec.structs.replace(base, rev=max(head.rev, known.rev) + 1, versions=versions)


def _check_version(head: Head, version: str) -> None:
    if version not in head.versions:
        raise TopicNotFound(f"{head.topic} {version}", (f"{head.topic} {each}" for each in head.versions))


def _changed(head: Head, **fields: object) -> Head:
    return msgspec.structs.replace(head, rev=head.rev + 1, **fields)
