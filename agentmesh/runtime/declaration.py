"""What an agent declares: its class, its agent.yaml, and both brought together."""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentmesh.card import BINDING, AgentCapabilities, AgentCard, AgentInterface, AgentSkill, skills_extension
from agentmesh.contracts import Delivery
from agentmesh.document import did_you_mean, shown
from agentmesh.errors import ConfigError, DeclarationError
from agentmesh.ids import TOPIC
from agentmesh.runtime.agent import DEFAULT_VERSION, Agent, SkillMark, default_topic, marked_skills
from agentmesh.runtime.skills import Contradictions, Skill, make_skill, place_of
from agentmesh.scheduling.limits import check_delivery
from agentmesh.schema import steps_of

if TYPE_CHECKING:
    from agentmesh.runtime.agent_file import AgentFile, Reading, SkillPart

__all__ = ["Declaration", "Skill", "declare", "load"]

BINDING_VERSION: Final = "1.0"
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}\Z")


@dataclass(slots=True, kw_only=True)
class Declaration:
    """An agent as it is served. `source` says where it was declared: a file, or module:Class."""

    topic: str
    name: str
    version: str
    description: str
    skills: dict[str, Skill]
    delivery: Delivery
    agent: Agent
    source: str

    def card(self) -> AgentCard:
        """The agent's A2A card. A skill without tags, which A2A requires, is tagged with its id."""
        skills = self.skills.values()
        told = {each.id: (each.input_schema, each.output_schema, each.confirm) for each in skills}
        url = f"agentmesh:{self.topic}"
        return AgentCard(
            name=self.name,
            description=self.description,
            version=self.version,
            supported_interfaces=(AgentInterface(url=url, protocol_binding=BINDING, protocol_version=BINDING_VERSION),),
            capabilities=AgentCapabilities(streaming=True, extensions=(skills_extension(told),)),
            skills=tuple(
                AgentSkill(
                    id=each.id,
                    name=each.name,
                    description=each.description,
                    tags=each.tags or (each.id,),
                    examples=each.examples,
                )
                for each in skills
            ),
        )


def declare(agent: Agent) -> Declaration:
    """What an agent declares by its class alone. Raises `DeclarationError`, which tells every mistake."""
    if not isinstance(agent, Agent):
        wanted = f"{agent.__name__}()" if isinstance(agent, type) else "an instance of a class derived from Agent"
        raise DeclarationError(f"{agent!r} cannot be served: pass {wanted}.")
    mistakes = list(_class_mistakes(agent))
    if isinstance(agent.topic, str) and not TOPIC.match(agent.topic):
        text = f"{agent.topic!r} cannot name a topic: use a letter, then up to 63 letters, digits, '_' or '-'."
        mistakes.append(_class_error(agent, "topic", text))
    skills: dict[str, Skill] = {}
    for skill_id, (attribute, mark) in _marked(type(agent), mistakes).items():
        try:
            skills[skill_id] = make_skill(getattr(agent, attribute), skill_id, mark)
        except DeclarationError as error:
            mistakes.append(error)
    if not skills and not mistakes:
        mistakes.append(_class_error(agent, "", "it has no skills: mark a method with @skill."))
    if mistakes:
        raise together(mistakes)
    kind = type(agent)
    return Declaration(
        topic=agent.topic,
        name=agent.name or kind.__name__,
        version=agent.version,
        description=_description(agent),
        skills=skills,
        delivery=agent.delivery,
        agent=agent,
        source=f"{kind.__module__}:{kind.__qualname__}",
    )


def load(path: str | Path) -> Declaration:
    """The agent that an agent.yaml declares: `path` is the file, or the folder that holds it.

    Imports the class it names and makes one, without arguments. Raises `DeclarationError`, which tells every mistake.
    """
    from agentmesh.runtime.agent_file import AGENT_FILE, read_agent_file

    place = Path(path)
    reading = read_agent_file(place / AGENT_FILE if place.is_dir() else place)
    if reading.content is None:
        raise together(map(reading.error, reading.mistakes))
    return _Loading(reading, reading.content).declaration()


class _Loading:
    """The way from a sound agent.yaml to a declaration; `_mistakes` collects what stands in it."""

    def __init__(self, reading: "Reading", content: "AgentFile") -> None:
        self._reading = reading
        self._content = content
        self._mistakes: list[DeclarationError] = []

    def declaration(self) -> Declaration:
        from agentmesh.runtime.agent_file import delivery_of

        content, agent = self._content, self._agent()
        self._mistakes += _class_mistakes(agent)
        topic = self._topic(agent)
        self._agree("version", content.version, agent.version, DEFAULT_VERSION)
        skills = self._skills(agent)
        if self._mistakes:
            raise together(self._mistakes)
        return Declaration(
            topic=topic,
            name=content.name or agent.name or type(agent).__name__,
            version=content.version or agent.version,
            description=_description(agent) if content.description is None else content.description,
            skills=skills,
            delivery=delivery_of(content.delivery, agent.delivery),
            agent=agent,
            source=str(self._reading.path),
        )

    def _agent(self) -> Agent:
        from agentmesh.runtime.agent_class import load_class

        reference = self._content.class_
        try:
            kind = load_class(self._reading.path.parent, reference)
        except DeclarationError as error:
            raise self._error(error.message, ("class",)) from error
        try:
            return kind()
        except Exception as error:
            text = (
                f"{kind.__name__}() raised {type(error).__name__}: {error}. An agent in YAML is made without arguments."
            )
            raise self._error(text, ("class",)) from error

    def _topic(self, agent: Agent) -> str:
        content, own = self._content, default_topic(type(agent))
        self._agree("topic", content.topic, agent.topic, own)
        topic = resolved_topic(content, agent.topic, own)
        if isinstance(topic, str) and not TOPIC.match(topic):
            self._mistakes.append(self._error(no_topic(topic), ("name",)))
        return topic

    def _agree(self, field: str, said: str | None, own: str, default: str) -> None:
        if text := disagreement(self._content.class_, field, said, own, default):
            self._mistakes.append(self._error(text, (field,)))

    def _skills(self, agent: Agent) -> dict[str, Skill]:
        marked = _marked(type(agent), self._mistakes)
        parts = {part.id: (position, part) for position, part in enumerate(self._content.skills or ())}
        methods = dict(marked)
        for skill_id, (position, _) in parts.items():
            if skill_id not in methods:
                attribute = skill_id.replace("-", "_")
                if attribute in public_methods(type(agent)):
                    methods[skill_id] = attribute, SkillMark()
                else:
                    self._mistakes.append(self._no_method(agent, skill_id, position, marked))
        if not methods:
            self._mistakes.append(self._error(no_skills(type(agent).__name__), ("class",)))
        skills = {}
        for skill_id, (attribute, mark) in methods.items():
            position, part = parts.get(skill_id, (0, None))
            try:
                skills[skill_id] = make_skill(getattr(agent, attribute), skill_id, mark, part)
            except Contradictions as error:
                self._mistakes += self._contradictions(error, position, part)
            except DeclarationError as error:
                self._mistakes.append(error)
        return skills

    def _no_method(self, agent: Agent, skill_id: str, position: int, marked: Iterable[str]) -> DeclarationError:
        known = {*marked, *public_methods(type(agent))}
        return self._error(no_method(type(agent).__name__, skill_id, known), ("skills", position, "id"))

    def _contradictions(
        self, error: Contradictions, position: int, part: "SkillPart | None"
    ) -> Iterator[DeclarationError]:
        for key, misfit in error.found:
            steps = steps_of(misfit.pointer, getattr(part, key))
            yield self._error(f"{misfit.why} ({error.method}).", ("skills", position, key, *steps))

    def _error(self, text: str, steps: tuple[str | int, ...]) -> DeclarationError:
        return self._reading.error(self._reading.document.mistake(text, steps))


def resolved_topic(content: "AgentFile", own: str, default: str) -> str:
    """The topic that the YAML names, else the one the class names, else the one that follows from the name."""
    if content.topic is not None:
        return content.topic
    return own if own != default or content.name is None else f"{content.name}Task"


def disagreement(reference: str, field: str, said: str | None, own: str, default: str) -> str:
    """The words for a class that says `own` of itself where the YAML says something else; "" if they agree."""
    if said is None or own in ("", default, said):
        return ""
    return f"{reference.partition(':')[2]}.{field} is {own!r}, and this is {said!r}: say it in one place."


def no_topic(topic: str) -> str:
    """The words for a topic that follows from a name and cannot be one."""
    return f"'{shown(topic)}' cannot name a topic: add a `topic` of letters, digits, '_' or '-'."


def no_method(class_name: str, skill_id: str, known: Iterable[str]) -> str:
    """The words for a skill in YAML that the class does not have."""
    known = sorted(known)
    hint = did_you_mean(skill_id, known) or (f" It has {', '.join(known)}." if known else "")
    return f"{class_name} has no method or @skill '{shown(skill_id)}'.{hint}"


def no_skills(class_name: str) -> str:
    """The words for an agent that can do nothing."""
    return f"{class_name} has no skills: mark a method with @skill, or name one under `skills`."


def public_methods(kind: type[Agent]) -> set[str]:
    """The names of a class's own methods that YAML may make skills."""
    names = {name for base in kind.__mro__ if issubclass(base, Agent) and base is not Agent for name in vars(base)}
    return {name for name in names if not name.startswith("_") and inspect.isroutine(getattr(kind, name, None))}


def together(errors: Iterable[DeclarationError]) -> DeclarationError:
    """One error that tells all; path, line and field are the first one's."""
    first, *rest = errors
    if not rest:
        return first
    text = "\n".join([first.message, *map(str, rest)])
    return DeclarationError(text, path=first.path, line=first.line, field=first.field)


def _marked(kind: type[Agent], mistakes: list[DeclarationError]) -> dict[str, tuple[str, SkillMark]]:
    """The class's own skills by id: the method's name, and its mark. An id that stands twice is a mistake."""
    found: dict[str, tuple[str, SkillMark]] = {}
    for attribute, mark in marked_skills(kind):
        skill_id = mark.id or attribute
        if skill_id in found:
            first = place_of(getattr(kind, found[skill_id][0]))
            mistakes.append(_method_error(kind, attribute, f"there is a skill {skill_id!r} already: {first}."))
        else:
            found[skill_id] = attribute, mark
    return found


def _class_mistakes(agent: Agent) -> Iterator[DeclarationError]:
    """What is wrong with an agent's own topic, name, version, description and delivery."""
    for field in ("topic", "name", "version", "description"):
        value = getattr(agent, field)
        if not isinstance(value, str):
            yield _class_error(agent, field, f"a text is wanted, not {value!r}.")
    if isinstance(agent.version, str) and not _VERSION.match(agent.version):
        yield _class_error(agent, "version", f"{agent.version!r} is no version such as 1.0.0.")
    if not isinstance(agent.delivery, Delivery):
        yield _class_error(agent, "delivery", f"a Delivery(…) is wanted, not {agent.delivery!r}.")
    else:
        try:
            check_delivery(agent.delivery)
        except ConfigError as error:
            yield _class_error(agent, "delivery", str(error))


def _class_error(agent: Agent, field: str, text: str) -> DeclarationError:
    kind = type(agent)
    try:
        path, line = inspect.getsourcefile(kind) or "", inspect.getsourcelines(kind)[1]
    except (OSError, TypeError):
        path, line = "", 0
    return DeclarationError(text, path=path, line=line, field=f"{kind.__name__}.{field}".rstrip("."))


def _method_error(kind: type[Agent], attribute: str, text: str) -> DeclarationError:
    code = inspect.unwrap(getattr(kind, attribute)).__code__
    return DeclarationError(text, path=code.co_filename, line=code.co_firstlineno, field=f"{kind.__name__}.{attribute}")


def _description(agent: Agent) -> str:
    """What the class says of itself: its `description`, else the nearest docstring below `Agent`."""
    if agent.description:
        return agent.description
    kinds = [kind for kind in type(agent).__mro__ if issubclass(kind, Agent) and kind is not Agent]
    return next((inspect.cleandoc(kind.__doc__) for kind in kinds if kind.__doc__), "")
