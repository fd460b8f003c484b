"""Exit codes: one table, and which error means which."""

import sys
from typing import TYPE_CHECKING, Final

from agentmesh import errors
from agentmesh.cli.output import clean, dumps, err
from agentmesh.errors import MeshError

if TYPE_CHECKING:
    from agentmesh.message import Event

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
UNAVAILABLE: Final = 4
INPUT_REQUIRED: Final = 5
TIMED_OUT: Final = 124
INTERRUPTED: Final = 130

MEANINGS: Final = {
    OK: "done",
    FAILED: "the call or run failed; check or doctor found mistakes",
    USAGE: "wrong arguments, settings or declarations; a conflict",
    NOT_FOUND: "no such topic, skill, call or run",
    UNAVAILABLE: "the broker, the registry or the language model is unavailable",
    INPUT_REQUIRED: "the call or run waits for an answer",
    TIMED_OUT: "the deadline passed",
    INTERRUPTED: "Ctrl-C",
}

_CODES: Final[tuple[tuple[type[MeshError], int], ...]] = (
    (errors.CallTimedOut, TIMED_OUT),
    (errors.CallFailed, FAILED),
    (errors.ConfigError, USAGE),
    (errors.DeclarationError, USAGE),
    (errors.Conflict, USAGE),
    (errors.PayloadCorrupt, USAGE),
    (errors.Unauthorized, USAGE),
    (errors.TopicNotFound, NOT_FOUND),
    (errors.SkillNotFound, NOT_FOUND),
    (errors.CallNotFound, NOT_FOUND),
    (errors.BrokerUnavailable, UNAVAILABLE),
    (errors.RegistryUnavailable, UNAVAILABLE),
    (errors.ModelUnavailable, UNAVAILABLE),
    (errors.QuotaExceeded, UNAVAILABLE),
    (errors.InputRequired, INPUT_REQUIRED),
)
"""The first that fits counts; other errors are failures."""


def exit_code(error: MeshError) -> int:
    """The exit code that tells this error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def exit_code_of_end(event: "Event") -> int:
    """The exit code that tells how a call or run ended."""
    if event.type == "completed":
        return OK
    if event.type == "timed_out":
        return TIMED_OUT
    kind = getattr(errors, str((event.data or {}).get("error", "")), None)
    unavailable = isinstance(kind, type) and (kind, UNAVAILABLE) in _CODES
    return UNAVAILABLE if event.type == "failed" and unavailable else FAILED


def hint(error: MeshError) -> str:
    """What to type next, where the message does not say it already."""
    if isinstance(error, errors.InputRequired):
        return f"agentmesh answer {error.call_id} TEXT (agentmesh attach {error.call_id} then goes on)"
    if isinstance(error, errors.DeclarationError):
        return "agentmesh check tells every mistake of every agent"
    if isinstance(error, errors.TopicNotFound):
        return "agentmesh agents --all lists every topic"
    return ""


def report(error: Exception, *, as_json: bool) -> None:
    """Tell an error on stderr: one line and a hint, or a JSON object."""
    name = type(error).__name__
    if isinstance(error, MeshError):
        tell(name, str(error), hint(error), as_json=as_json, **_places(error))
    elif isinstance(error, OSError):
        tell(name, str(error), as_json=as_json)
    else:
        tell(name, f"{name}: {error}", "this is a bug: AGENTMESH_DEBUG=1 shows where", as_json=as_json)


def tell(name: str, message: str, hint: str = "", *, as_json: bool, **places: str) -> None:
    """`error: …` on stderr, further lines of it indented, then the hint; or all of it as JSON."""
    if as_json:
        told = {"error": name, "message": message, "hint": hint} | places
        sys.stderr.write(dumps({key: value for key, value in told.items() if value}) + "\n")
        return
    from rich.text import Text

    first, *rest = clean(message).splitlines() or [""]
    err().print(Text.assemble(("error: ", "bold red"), first), soft_wrap=True)
    for line in rest:
        err().print(Text(f"       {line}"), soft_wrap=True)
    if hint:
        err().print(Text.assemble(("hint: ", "bold"), hint), soft_wrap=True)


def _places(error: MeshError) -> dict[str, str]:
    """The ids that an error is about."""
    names = ("call_id", "question", "topic", "skill", "path", "field")
    return {name: str(value) for name in names if (value := getattr(error, name, ""))}
