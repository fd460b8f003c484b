"""The skills that can be searched: a row each, of every version of every agent."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from agentmesh.catalog.postings import Postings
from agentmesh.catalog.texts import word_texts
from agentmesh.catalog.versions import preferred
from agentmesh.catalog.words import Script, scripts
from agentmesh.contracts import Registration

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    from agentmesh.card import AgentSkill

Key = tuple[str, str]
Place = tuple[int, Registration, "AgentSkill"]
Accepts = Callable[[Registration, "AgentSkill"], bool]
_FIRST_LOOK: Final = 64
_LEAST: Final = 5e-7
"""A score that is not 0 once it is rounded."""


class Table:
    """Rows of skills, with their words. Numbers of rows grow; `gone` counts those of cards that changed or went,
    which are not used again.

    `skills` has the registration and the skill of each row, or None; `scripts` the scripts of its card, 1 for Latin and
    2 for CJK, or 0 if it is gone.
    """

    def __init__(self) -> None:
        self.postings = Postings()
        self.skills: list[tuple[Registration, AgentSkill] | None] = []
        self.scripts = bytearray()
        self.gone = 0
        self._rows: dict[Key, list[int]] = {}
        self._versions: dict[str, dict[str, Registration]] = {}

    def put(self, registration: Registration) -> list[int]:
        """The rows that are new: none if the card is the one that was there."""
        key = registration.topic, registration.version
        before = self._versions.get(key[0], {}).get(key[1])
        if before is not None and before.card == registration.card:
            self._versions[key[0]][key[1]] = registration
            for row in self._rows[key]:
                if known := self.skills[row]:
                    self.skills[row] = registration, known[1]
            return []
        self.remove(*key)
        self._versions.setdefault(key[0], {})[key[1]] = registration
        self._rows[key] = [self._add(registration, skill) for skill in _distinct(registration)]
        return self._rows[key]

    def remove(self, topic: str, version: str = "") -> None:
        """Take out a version, or without one the topic; nothing if it is not there."""
        versions = self._versions.get(topic, {})
        for each in [version] if version else list(versions):
            registration = versions.pop(each, None)
            for row in self._rows.pop((topic, each), ()):
                known = self.skills[row]
                if registration and known:
                    self.postings.remove(word_texts(registration.card, known[1]))
                self.skills[row] = None
                self.scripts[row] = 0
                self.gone += 1
        if not versions:
            self._versions.pop(topic, None)

    def places(self) -> Iterator[Place]:
        """All rows that are in use."""
        for row, known in enumerate(self.skills):
            if known:
                yield row, *known

    def registrations(self) -> Iterator[Registration]:
        """All of them."""
        for versions in self._versions.values():
            yield from versions.values()

    def best(self, scores: "NDArray[float32]", limit: int, accepts: Accepts | None = None) -> list[Place]:
        """The rows with the best scores above 0, equals by topic and skill: of each topic those of the version to call,
        which is chosen among those that `accepts` does not refuse.
        """
        found: list[Place] = []
        to_call: dict[str, str] = {}
        seen = 0
        for size in (_FIRST_LOOK + 4 * limit, len(scores)):
            ranked = self._ranked(scores, size)
            for row in ranked[seen:]:
                registration, skill = self.skills[row] or (None, None)
                assert registration
                assert skill
                if registration.topic not in to_call:
                    to_call[registration.topic] = self._to_call(registration.topic, accepts)
                if registration.version == to_call[registration.topic] and (
                    accepts is None or accepts(registration, skill)
                ):
                    found.append((row, registration, skill))
                if len(found) >= limit:
                    return found
            seen = len(ranked)
        return found

    def _ranked(self, scores: "NDArray[float32]", size: int) -> list[int]:
        """At least `size` of the rows that have a score, as far as there are so many, in their order."""
        import numpy as np

        rows = np.flatnonzero(scores > _LEAST)
        rounded = np.round(scores[rows], 6)
        if size < len(rows):
            floor = np.partition(rounded, len(rows) - size)[len(rows) - size]
            kept = rounded >= floor
            rows, rounded = rows[kept], rounded[kept]

        def place(ranked: tuple[int, float]) -> tuple[float, str, str]:
            known = self.skills[ranked[0]]
            return (-ranked[1], known[0].topic, known[1].id) if known else (0.0, "", "")

        ranked = [each for each in zip(rows.tolist(), rounded.tolist(), strict=True) if self.skills[each[0]]]
        return [row for row, _ in sorted(ranked, key=place)]

    def _to_call(self, topic: str, accepts: Accepts | None) -> str:
        versions = self._versions[topic].values()
        fitting = [
            each for each in versions if accepts is None or any(accepts(each, skill) for skill in each.card.skills)
        ]
        chosen: Sequence[Registration] = preferred(fitting) if len(fitting) > 1 else fitting
        return chosen[0].version if chosen else ""

    def _add(self, registration: Registration, skill: "AgentSkill") -> int:
        found = scripts(self.postings.add(word_texts(registration.card, skill)))
        self.skills.append((registration, skill))
        self.scripts.append(mask(found))
        return len(self.skills) - 1


def _distinct(registration: Registration) -> list["AgentSkill"]:
    """A skill that is told twice is one."""
    return list({skill.id: skill for skill in reversed(registration.card.skills)}.values())[::-1]


def mask(found: Collection[Script]) -> int:
    """Scripts as in `Table.scripts`."""
    return ("latin" in found) + 2 * ("cjk" in found)
