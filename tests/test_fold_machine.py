"""The fold of one call's log while workers, caller, broker and forgers append to it, beside the rules told slowly."""

from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentmesh.fold import CallState, fold
from agentmesh.message import TERMINAL, Entry, Event

DEADLINE = 60
PARTIAL = ("delta", "artifact", "progress")
SAID = {
    "delta": {"text": "…"},
    "progress": {"message": "…"},
    "artifact": {"name": "a", "content_type": "text/plain", "data": b"x"},
    "retrying": {"error": "E", "not_before": 0},
    "planned": {"round": 1},
}
ENDS = {"completed": {"result": 1}, "failed": {"error": "E", "message": "…"}}
QUESTIONS = ("q1", "q2")
attempts = st.integers(1, 2)


class FoldMachine(RuleBasedStateMachine):
    """The log so far, and its live reader. The model looks at the whole log again for every entry."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.log: list[Entry] = []
        self.reader = CallState()
        self.shown: list[Event] = []
        submitted = {"topic": "WorkTask", "skill": "", "deadline": DEADLINE}
        self.append("submitted", submitted)

    def append(self, kind: str, data: Any, attempt: int = 0, token: str = "", entry_id: str = "") -> None:
        offset = len(self.log)
        entry = Entry(offset, entry_id or f"@{offset}", self.now, kind, attempt, token, data)
        self.log.append(entry)
        event = self.reader.add(entry)
        if event and event.type == "accepted":
            self.shown = [seen for seen in self.shown if seen.type not in PARTIAL]
        if event:
            assert event == Event(offset, kind, attempt, self.now, data)
            self.shown.append(event)

    @initialize(kinds=st.lists(st.sampled_from(list(SAID)), max_size=3), asks=st.booleans())
    def begins_with_an_attempt(self, kinds: list[str], asks: bool) -> None:
        self.a_worker_accepts(1, False)
        for kind in kinds:
            self.a_worker_speaks(1, kind, "")
        if asks:
            self.a_worker_asks(1, "q1")

    @rule(attempt=attempts, again=st.booleans())
    def a_worker_accepts(self, attempt: int, again: bool) -> None:
        self.append("accepted", {"worker": "w"}, attempt, f"token-{attempt}{'-again' * again}")

    @rule(attempt=attempts, kind=st.sampled_from(list(SAID)), entry_id=st.sampled_from(["", "", "k"]))
    def a_worker_speaks(self, attempt: int, kind: str, entry_id: str) -> None:
        self.append(kind, SAID[kind], attempt, f"token-{attempt}", entry_id)

    @precondition(lambda self: len(self.log) > 8)
    @rule(attempt=attempts, kind=st.sampled_from(list(ENDS)))
    def a_worker_ends_it(self, attempt: int, kind: str) -> None:
        self.append(kind, ENDS[kind], attempt, f"token-{attempt}")

    @rule(attempt=attempts, key=st.sampled_from(["1", "2"]), entry_id=st.sampled_from(["", "step"]))
    def a_worker_records_a_step(self, attempt: int, key: str, entry_id: str) -> None:
        step = {"key": key, "kind": "once", "digest": "", "result": len(self.log)}
        self.append("step", step, attempt, f"token-{attempt}", entry_id)

    @rule(attempt=attempts, question=st.sampled_from(QUESTIONS))
    def a_worker_asks(self, attempt: int, question: str) -> None:
        self.append("input_required", {"question": question, "text": f"{len(self.log)}?"}, attempt, f"token-{attempt}")

    @rule(question=st.sampled_from(QUESTIONS), entry_id=st.sampled_from(["", "answer"]))
    def somebody_answers(self, question: str, entry_id: str) -> None:
        self.append("answered", {"question": question, "text": f"{len(self.log)}!"}, entry_id=entry_id)

    @precondition(lambda self: len(self.log) > 12)
    @rule(kind=st.sampled_from(["cancelled", "dead_lettered"]))
    def it_is_ended_from_outside(self, kind: str) -> None:
        self.append(kind, {"by": "me", "reason": "poison", "attempts": 1})

    @rule(kind=st.sampled_from([*SAID, *ENDS, "submitted", "timed_out", "accepted"]), attempt=st.integers(0, 2))
    def somebody_forges(self, kind: str, attempt: int) -> None:
        self.append(
            kind,
            {**SAID.get(kind, {}), **ENDS.get(kind, {}), "worker": "w", "topic": "T", "skill": "", "deadline": 1},
            attempt,
        )

    @rule(kind=st.sampled_from(["completed", "accepted", "answered", "step"]), attempt=attempts)
    def a_worker_speaks_nonsense(self, kind: str, attempt: int) -> None:
        self.append(kind, {"nonsense": True}, attempt, f"token-{attempt}")

    @rule(later=st.sampled_from([1, 2, 3, 30]))
    def time_passes(self, later: int) -> None:
        self.now += later

    def counted(self) -> list[Entry]:
        """What counts, by the rules of CONTRACT, Entry and fold."""
        counted: list[Entry] = []
        for entry in self.log:
            if self.counts(entry, counted):
                counted.append(entry)
        return counted

    def counts(self, entry: Entry, before: list[Entry]) -> bool:
        if entry.offset == 0:
            return True
        owners = [other for other in before if other.type == "accepted"]
        highest = max((other.attempt for other in owners), default=0)
        latest = [other for other in owners if other.attempt == highest][-1:]
        if (
            any(other.id == entry.id for other in before)
            or any(other.type in TERMINAL for other in before)
            or entry.type in ("submitted", "timed_out")
            or entry.time > DEADLINE
            or (isinstance(entry.data, dict) and "nonsense" in entry.data)
        ):
            return False
        if entry.type == "accepted":
            return entry.attempt >= max(1, highest) and bool(entry.token)
        if entry.type == "answered":
            question = entry.data["question"]
            asked = any(other.type == "input_required" and other.data["question"] == question for other in before)
            return asked and not any(
                other.type == "answered" and other.data["question"] == question for other in before
            )
        if entry.type in ("cancelled", "dead_lettered") and not entry.token:
            return True
        return bool(entry.token) and entry.token == (latest[0].token if latest else "")

    @invariant()
    def a_replay_shows_what_counts(self) -> None:
        counted = self.counted()
        last = max((entry.offset for entry in counted if entry.type == "accepted"), default=0)
        visible = [entry for entry in counted if entry.type not in PARTIAL or entry.offset > last]
        ended = [entry.type for entry in counted if entry.type in TERMINAL]
        late = not ended and self.now > DEADLINE
        state = fold(self.log, self.now)
        assert [(event.offset, event.type) for event in state.events] == [
            *((entry.offset, entry.type) for entry in visible),
            *([(len(self.log), "timed_out")] if late else []),
        ]
        assert (state.terminal.type if state.terminal else "") == (ended[0] if ended else "timed_out" if late else "")
        assert len(ended) <= 1

    @invariant()
    def steps_questions_and_answers_are_those_that_count(self) -> None:
        counted, state = self.counted(), fold(self.log, 0)
        steps = {entry.data["key"]: entry.data for entry in counted if entry.type == "step"}
        answers = {entry.data["question"]: entry.data["text"] for entry in counted if entry.type == "answered"}
        asked = {entry.data["question"]: entry.data["text"] for entry in counted if entry.type == "input_required"}
        assert state.steps == steps
        assert state.answers == answers
        assert state.questions == {key: text for key, text in asked.items() if key not in answers}

    @invariant()
    def a_live_reader_sees_what_a_replay_shows(self) -> None:
        assert self.shown == self.reader.events == fold(self.log, 0).events
        assert self.reader.next == len(self.log)


TestFold = FoldMachine.TestCase
TestFold.settings = settings(  # without Phase.shrink, which may take minutes here: add it to look into a failure
    max_examples=150, stateful_step_count=40, phases=[Phase.explicit, Phase.generate]
)
