"""Every error that agentmesh raises.

    MeshError
    ├── ConfigError                     agentmesh.yaml, AGENTMESH_*, an argument
    ├── DeclarationError                an agent's class or its agent.yaml
    ├── TopicNotFound                   no such agent; says the nearest names
    ├── SkillNotFound                   the agent has other skills; lists them
    ├── CallNotFound                    no such call or run, or its log has ended
    ├── CallFailed                      a call or run that ended without a result
    │   ├── InvalidInput
    │   ├── InvalidOutput
    │   ├── CallTimedOut
    │   ├── CallCancelled
    │   ├── CallDeadLettered
    │   └── RunFailed
    │       └── BudgetExceeded
    ├── InputRequired                   a call waits for an answer
    ├── Retryable                       raised by a handler that wants another attempt
    ├── Conflict                        somebody else was first, with something else
    ├── LeaseLost                       the message belongs to another attempt now
    ├── QuotaExceeded
    ├── PayloadCorrupt                  bytes that do not decode, or fail their digest
    │   └── PayloadTooLarge
    ├── Unauthorized
    ├── BrokerUnavailable
    ├── RegistryUnavailable
    └── ModelUnavailable

A message says what was wrong, where, and what to do about it.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MeshError(Exception):
    """The base of all errors of this package."""


class ConfigError(MeshError):
    """A setting is missing, misspelt or of the wrong type."""


class DeclarationError(MeshError):
    """An agent's declaration is wrong at `path`, `line` (from 1; 0: unknown) and `field` (dotted)."""

    def __init__(self, message: str, *, path: str = "", line: int = 0, field: str = "") -> None:
        where = path + (f":{line}" if line else "")
        super().__init__(": ".join(part for part in (where, field, message) if part))
        self.message = message
        self.path = path
        self.line = line
        self.field = field


class TopicNotFound(MeshError):
    """No agent has this topic. `nearest` holds up to three names that look alike."""

    def __init__(self, topic: str, known: Iterable[str] = ()) -> None:
        names = sorted(known)
        self.topic = topic
        self.nearest = get_close_matches(topic, names, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(self.nearest)}?" if self.nearest else _known("Registered topics", names)
        super().__init__(f"No agent is registered on topic {topic!r}. {hint}")


class SkillNotFound(MeshError):
    """The agent on `topic` has no skill of that name, or has several and none was named; `skills` lists them."""

    def __init__(self, topic: str, skill: str, skills: Iterable[str]) -> None:
        self.topic = topic
        self.skill = skill
        self.skills = sorted(skills)
        wrong = f"{topic} has no skill {skill!r}." if skill else f"{topic} has several skills: name one with skill=."
        super().__init__(f"{wrong} {_known('Skills', self.skills)}")


class CallNotFound(MeshError):
    """No call or run has this id: it never began, its log has reached its TTL, or it is another tenant's."""

    def __init__(self, call_id: str) -> None:
        super().__init__(f"There is no call or run {call_id!r}. It never began, or its log has ended.")
        self.call_id = call_id


class CallFailed(MeshError):
    """A call ended without a result. `kind` is the type of the event that ended it; `reason` a short text fit for a log
    line."""

    kind = "failed"

    def __init__(self, message: str, *, call_id: str = "", topic: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.call_id = call_id
        self.topic = topic
        self.reason = reason or message


class InvalidInput(CallFailed):
    """The input does not match the skill's schema; the message holds a JSON pointer to the place."""


class InvalidOutput(CallFailed):
    """The handler returned something that does not match the skill's schema."""


class CallTimedOut(CallFailed):
    """The deadline passed before the call ended."""

    kind = "timed_out"


class CallCancelled(CallFailed):
    """Somebody cancelled the call."""

    kind = "cancelled"


class CallDeadLettered(CallFailed):
    """All attempts were used up. The message is in the topic's dead letters."""

    kind = "dead_lettered"


class RunFailed(CallFailed):
    """A supervisor ended its run without an answer."""


class BudgetExceeded(RunFailed):
    """A run used up its rounds, calls, time, tokens or money."""


class InputRequired(MeshError):
    """The call waits for an answer to `question` (its text is the message); answer it and attach again."""

    def __init__(self, call_id: str, question: str, text: str = "") -> None:
        super().__init__(f"{call_id} asks: {text}" if text else f"{call_id} waits for an answer")
        self.call_id = call_id
        self.question = question
        self.text = text


class Retryable(MeshError):
    """Raised by a handler that wants another attempt, after `after` seconds or the declared back-off."""

    def __init__(self, message: str = "try again", *, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Conflict(MeshError):
    """Something of this name or at this offset exists already, and is not the same."""


class LeaseLost(MeshError):
    """The lease ran out, or another attempt owns the message: whatever was to be written was not."""


class QuotaExceeded(MeshError):
    """A tenant, topic or queue is at its declared limit."""


class PayloadCorrupt(MeshError):
    """Bytes that cannot be decoded, were written by a newer version, or do not match their digest."""


class PayloadTooLarge(PayloadCorrupt):
    """A body is larger than what may be sent; the message holds the limit and the setting that moves it."""


class Unauthorized(MeshError):
    """The caller may not do this."""


class BrokerUnavailable(MeshError):
    """The broker cannot be reached, opened or written to. What was not acknowledged was not stored."""


class RegistryUnavailable(MeshError):
    """The registry cannot be reached, opened or written to."""


class ModelUnavailable(MeshError):
    """No language model answered, after the retries that its answer allowed. `broke_off`: it had begun to."""

    def __init__(self, message: str, *, broke_off: bool = False) -> None:
        super().__init__(message)
        self.broke_off = broke_off


def _known(what: str, names: list[str]) -> str:
    if not names:
        return f"{what}: none yet."
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"{what}: {', '.join(names[:10])}{more}."
