"""Skills in the order that their schemas ask for: what one needs, another one gives."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from agentmesh.contracts import Registration
from agentmesh.supervisor.arguments import Filled, fill, text_parameters, typed, types
from agentmesh.supervisor.functions import parameters_of
from agentmesh.supervisor.references import resolved
from agentmesh.supervisor.retrieval import Key

MOST_GIVERS = 4
DEEPEST = 6
_WORDED = ("text", "answer", "summary", "markdown", "content", "result")


class Skill(msgspec.Struct, frozen=True):
    """What is known of a skill. `said` is what its card says."""

    topic: str
    skill: str
    title: str
    parameters: dict[str, Any]
    wrapped: bool
    output: dict[str, Any]
    said: str

    def gives(self) -> Mapping[str, Any]:
        """The properties of its result."""
        properties = resolved(self.output, self.output).get("properties")
        return properties if isinstance(properties, Mapping) else {}

    def gives_words(self) -> str:
        """The property of its result that says it in words; "" if none does."""
        texts = [
            name
            for name, each in self.gives().items()
            if types(each, self.output) == {"string"} and "format" not in resolved(each, self.output)
        ]
        named = [name for name in _WORDED if name in texts]
        return named[0] if named else texts[0] if len(texts) == 1 else ""


class Link(msgspec.Struct, frozen=True):
    """Where an argument comes from: a property of the result of a skill."""

    giver: Key
    property: str


class Draft(msgspec.Struct, frozen=True):
    """A call that is being planned: its arguments, those that others give, and those that are to be asked for."""

    skill: Skill
    text: str
    values: dict[str, Any]
    links: dict[str, Link]
    asks: list[str]


class Chain:
    """The skills of these agents. `rank` says which of several fits the goal best; `unfit` collects the skills that
    could not be used, with the parameters that nothing gives."""

    def __init__(self, alive: Iterable[Registration], goal: str, now: datetime) -> None:
        self.rank: dict[Key, float] = {}
        self.unfit: dict[Key, list[str]] = {}
        self._goal = goal
        self._now = now
        self._cards = {one.topic: one.card for one in alive}
        self._skills: dict[Key, Skill] = {}
        self._filled: dict[tuple[Key, str], Filled] = {}

    def skill(self, key: Key) -> Skill:
        """What is known of this skill."""
        if key not in self._skills:
            topic, skill_id = key
            card = self._cards[topic]
            takes, gives = card.schemas(skill_id)
            parameters, wrapped = parameters_of(takes)
            skill = card.skill(skill_id)
            texts = (card.name, card.description, *((skill.description, *skill.examples[:5]) if skill else ()))
            said = " ".join(text[:2000] for text in texts)
            self._skills[key] = Skill(topic, skill_id, card.name or topic, parameters, wrapped, gives or {}, said)
        return self._skills[key]

    def filled(self, key: Key, text: str) -> Filled:
        """The arguments that a text gives."""
        if (key, text) not in self._filled:
            self._filled[key, text] = fill(self.skill(key).parameters, text, self._now, self._goal)
        return self._filled[key, text]

    def drafts(self, key: Key, text: str, *, ask: bool, path: tuple[Key, ...] = ()) -> dict[Key, Draft] | None:
        """The call of this skill after those it needs; `None` if a required parameter stays empty.

        With `ask`, those that a person can tell count as told.
        """
        skill = self.skill(key)
        filled = self.filled(key, text)
        made: dict[Key, Draft] = {}
        links: dict[str, Link] = {}
        asks: list[str] = []
        for name in filled.missing:
            for link in self._givers(skill, name) if len(path) < DEEPEST else ():
                loops = link.giver == key or link.giver in path
                before = None if loops else self.drafts(link.giver, text, ask=ask, path=(*path, key))
                if before is not None:
                    made |= before
                    links[name] = link
                    break
            else:
                if ask and self._can_be_told(skill, name):
                    asks.append(name)
        empty = [name for name in filled.missing if name not in links and name not in asks]
        if empty:
            if not path:
                self.unfit[key] = empty
            return None
        made[key] = Draft(skill, text, filled.values, links, asks)
        return made

    def optional_links(self, draft: Draft, earlier: Iterable[Key]) -> dict[str, Link]:
        """Objects and lists that it may take, and that one of the earlier skills gives."""
        links: dict[str, Link] = {}
        open_names = [name for name in draft.skill.parameters["properties"] if name not in draft.values | draft.links]
        for name in open_names:
            taken = types(draft.skill.parameters["properties"][name], draft.skill.parameters)
            for key in earlier:
                gives = self.skill(key).gives()
                if name in gives and taken & {"object", "array"} & types(gives[name], self.skill(key).output):
                    links[name] = Link(key, name)
        return links

    def _can_be_told(self, skill: Skill, name: str) -> bool:
        """Whether a person could answer for this parameter; a text that the schema refused, they have told already."""
        properties = skill.parameters["properties"]
        if name not in properties or name in text_parameters(skill.parameters):
            return False
        return typed(name, skill.parameters) or types(properties[name], skill.parameters) == {"string"}

    def _with_output(self) -> list[Key]:
        """The skills whose card tells what they give."""
        every = ((topic, skill.id) for topic, card in self._cards.items() for skill in card.skills)
        return [key for key in every if self._cards[key[0]].schemas(key[1])[1]]

    def _givers(self, skill: Skill, name: str) -> list[Link]:
        """The skills whose output has what a parameter takes, those that fit the goal best first.

        It has it under the same name, or it has an object of the same definition.
        """
        if name in text_parameters(skill.parameters) or skill.wrapped:
            return []
        wanted = skill.parameters["properties"].get(name, {})
        taken = types(wanted, skill.parameters)
        links = []
        for key in self._with_output():
            other = self.skill(key)
            for given, each in other.gives().items():
                kinds = types(each, other.output)
                if given == name and (not taken or not kinds or taken & kinds):
                    links.append(Link(key, given))
                    break
                if _definition(wanted) and _definition(wanted) == _definition(each):
                    links.append(Link(key, given))
                    break
        return sorted(links, key=lambda link: (-self.rank.get(link.giver, 0.0), link.giver))[:MOST_GIVERS]


def _definition(schema: Any) -> str:
    """The name of the definition that a schema refers to."""
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    return reference.rpartition("/")[2] if isinstance(reference, str) else ""
