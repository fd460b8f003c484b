"""How a call or a run is shown while it goes on: as lines, or as JSON. `live.py` has the third way."""

import math
import sys
from typing import Any, Final, Protocol

from agentmesh.cli.output import clean, err, json_line, note, one_line
from agentmesh.message import QUESTIONS, Event


class View(Protocol):
    """Shows what happens. `child` is an event of a call that the run made; `note` says something beside the events."""

    def event(self, event: Event) -> None: ...

    def child(self, call_id: str, event: Event) -> None: ...

    def note(self, text: str) -> None: ...

    def pause(self) -> None:
        """Leave the terminal to somebody else; the next event takes it back."""
        ...

    def close(self) -> None:
        """Leave the terminal, with what was shown last."""
        ...


class JsonView:
    """One event a line, to stdout."""

    def event(self, event: Event) -> None:
        json_line(
            {
                "offset": event.offset,
                "type": event.type,
                "attempt": event.attempt,
                "time": event.time,
                "data": event.data,
            }
        )

    def child(self, call_id: str, event: Event) -> None:
        """Not shown: each call has its own events."""

    def note(self, text: str) -> None:
        note(text)

    def pause(self) -> None:
        """Nothing to leave."""

    def close(self) -> None:
        """Nothing to leave."""


class Lines:
    """Lines to stderr. Partial output is streamed only to a terminal: elsewhere the result says it again."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._questions: dict[str, str] = {}
        self._streaming = False

    def event(self, event: Event) -> None:
        data: Any = event.data or {}
        if event.type == "call_started" and is_of_a_run(event):
            self._names[data["call"]] = skill_name(data)
        if event.type in QUESTIONS:  # who asks the person, or says that nobody is there, shows it
            self._questions[data["question"]] = one_line(data["text"])
        elif event.type == "answered":
            self._line(f"{self._questions.get(data['question'], 'a question')} – answered: {one_line(data['text'])}")
        elif event.type == "call_finished" and is_of_a_run(event):
            self._line(f"{self._names.get(data['call'], data['call'])}: {data['type']}")
        elif event.type == "delta":
            self._stream(data["text"])
        elif text := words(event):
            self._line(text)

    def child(self, call_id: str, event: Event) -> None:
        if event.type in _OF_A_CHILD and (text := words(event)):
            self._line(f"{self._names.get(call_id, call_id)}: {text}")

    def note(self, text: str) -> None:
        self._line(text)

    def pause(self) -> None:
        self.close()

    def close(self) -> None:
        if self._streaming:
            self._streaming = False
            sys.stderr.write("\n")
            sys.stderr.flush()

    def _line(self, text: str) -> None:
        self.close()
        note(text)

    def _stream(self, text: str) -> None:
        if err().is_terminal:
            self._streaming = True
            sys.stderr.write(clean(text))
            sys.stderr.flush()


_OF_A_CHILD: Final = frozenset({"progress", "retrying", "artifact"})


def words(event: Event) -> str:
    """An event in one line; empty for those that say nothing to people."""
    data: Any = event.data or {}
    match event.type:
        case "accepted":
            return "" if event.attempt <= 1 else f"begins again, attempt {event.attempt}"
        case "progress":
            fraction = fraction_of(event)
            return one_line(data["message"]) + ("" if fraction is None else f" {fraction:.0%}")
        case "artifact":
            return f"artifact {one_line(data['name'])} ({one_line(data['content_type'])})"
        case "retrying":
            return f"will be tried again after {one_line(data['error'])}"
        case "input_required" | "approval_required":
            return f"asks: {one_line(data['text'], 2000)}"
        case "answered":
            return f"was answered: {one_line(data['text'])}"
        case "planned" if is_of_a_run(event):
            return f"round {data.get('round')}: {', '.join(map(skill_name, data['calls']))}"
        case _:
            return ""


def fraction_of(event: Event) -> float | None:
    """How far it is, 0 to 1, if the agent said something of that kind."""
    said = event.data.get("fraction")
    return max(0.0, min(1.0, said)) if isinstance(said, int | float) and math.isfinite(said) else None


def skill_name(call: dict[str, Any]) -> str:
    """`WeatherAgentTask.forecast`"""
    return one_line(f"{call['topic']}.{call['skill']}", 80)


def is_of_a_run(event: Event) -> bool:
    """Whether it is one of a supervisor's own events, as it writes them: any agent may write some of that name."""
    data = event.data if isinstance(event.data, dict) else {}
    calls = data.get("calls") if event.type == "planned" else [data]
    names = _NAMES_OF_A_RUN.get(event.type, ())
    return (
        bool(names)
        and isinstance(calls, list)
        and all(isinstance(call, dict) and all(isinstance(call.get(name), str) for name in names) for call in calls)
    )


_NAMES_OF_A_RUN: Final = {
    "planned": ("topic", "skill"),
    "call_started": ("call", "topic", "skill"),
    "call_finished": ("call", "type"),
}
