"""What the views make of events, however many and however strange."""

import io

import pytest
from rich.console import Console

from agentmesh.cli.live import LiveView
from agentmesh.cli.view import Lines
from agentmesh.message import Event

WIDTH, HEIGHT = 60, 14


def event(kind: str, **data: object) -> Event:
    return Event(0, kind, 1, 1_800_000_000_000, data)


def started(number: int, topic: str = "WorkAgentTask") -> Event:
    return event("call_started", call=f"call-{number}", topic=topic, skill="work", input={})


def finished(number: int, how: str = "completed") -> Event:
    return event("call_finished", call=f"call-{number}", type=how)


def shown(events: list[Event], children: list[tuple[str, Event]] = []) -> list[str]:  # noqa: B006
    """The lines of a live view after these events, before its end."""
    console = Console(file=io.StringIO(), width=WIDTH, height=HEIGHT, force_terminal=True, color_system=None)
    view = LiveView(console, "a goal " * 40, "run-1")
    try:
        for each in events:
            view.event(each)
        for call, each in children:
            view.child(call, each)
        return ["".join(segment.text for segment in line).rstrip() for line in console.render_lines(view)]
    finally:
        view.close()


def test_more_calls_than_lines_leave_room_and_show_those_in_flight_first() -> None:
    many = [started(number) for number in range(100)] + [finished(number) for number in range(97)]
    lines = shown([*many, event("delta", text="partial " * 500)])
    assert len(lines) <= HEIGHT
    assert any("more" in line for line in lines)
    assert sum("✓" not in line and "WorkAgentTask" in line for line in lines) == 3
    assert all(len(line) <= WIDTH for line in lines)


def test_a_new_attempt_discards_what_was_partial() -> None:
    lines = shown([event("delta", text="half of it"), Event(1, "accepted", 2, 0, {"worker": "w"})])
    assert "half of it" not in "\n".join(lines)
    assert any("begins again, attempt 2" in line for line in lines)


@pytest.mark.parametrize("fraction", [None, -1, 7.5, float("nan"), float("inf"), "half", [1], True])
def test_any_fraction_of_an_agent_can_be_shown(fraction: object) -> None:
    said = event("progress", message="on the way", fraction=fraction)
    assert any("on the way" in line for line in shown([started(1)], [("call-1", said)]))


@pytest.mark.parametrize("kind", ["planned", "call_started", "call_finished"])
@pytest.mark.parametrize(
    "data", [None, [], {}, {"call": 5}, {"calls": 3}, {"calls": [None]}, {"call": "call-1", "topic": {}}]
)
def test_events_that_only_look_like_a_runs_own_are_left_out(
    kind: str, data: object, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = Event(3, kind, 1, 0, data)
    shown([strange])
    lines = Lines()
    lines.event(strange)
    lines.child("call-1", strange)
    assert capsys.readouterr().err == ""
