"""The fold: what a call or a run amounts to, computed from the entries of its log.

It is one pure function of (entries, now), the same for every backend, reader and worker. The rules:

1. Entries with an id already seen count once.
2. Entry 0 is `submitted`; a log without it is no call.
3. The owner is the latest `accepted` of the highest attempt; it carries the lease's token. A new owner voids the
   `delta`, `artifact` and `progress` of the one before. `step` entries are never voided.
4. A worker's entries count only while their token is the owner's. `answered`, `cancelled` and `dead_lettered` carry
   none.
5. The first terminal that counts ends it. Whatever follows is kept in the log and never shown.
6. `timed_out` is derived: nothing counts after the deadline, and once it has passed the call has timed out.
7. `returned` is a note of the broker's to itself where it has no transactions: nobody is shown it.

Anybody may append: an entry whose data has not the shape of its type does not count either. The fold reads no blobs: of
data that lies in the blob store it knows the facts in its claim, and hands the claim on.
"""

from collections.abc import Iterable
from typing import Any, Final

from agentmesh.message import BODIES, QUESTIONS, TERMINAL, Claim, Entry, Event

_VOIDED_BY_A_NEW_OWNER: Final = frozenset({"delta", "artifact", "progress"})
_WITHOUT_TOKEN: Final = frozenset({"answered", "cancelled", "dead_lettered"})
_NEVER: Final = frozenset({"submitted", "timed_out"})
_TERMINAL_ENTRIES: Final = TERMINAL - {"timed_out"}
_NOTES: Final = frozenset({"returned"})

_SHAPES: Final[dict[str, dict[str, type]]] = {
    "submitted": {"topic": str, "skill": str, "deadline": int},
    "accepted": {"worker": str},
    "progress": {"message": str},
    "delta": {"text": str},
    "artifact": {"name": str, "content_type": str, "data": object},
    "step": {"key": str, "kind": str, "digest": str},
    "retrying": {"error": str, "not_before": int},
    "input_required": {"question": str, "text": str},
    "approval_required": {"question": str, "text": str},
    "answered": {"question": str, "text": str},
    "completed": {"result": object},
    "failed": {"error": str, "message": str},
    "cancelled": {"by": str},
    "dead_lettered": {"reason": str, "attempts": int},
}
"""What readers may rely on in the data of each type; a type that is not here may carry anything."""


class CallState:
    """The state of a call after the entries that were added, in order.

    `events` are those a replay shows. `steps` maps a step's key to its last recorded data, `questions` those not
    answered yet to their text, `answers` the others to theirs. `terminal` is the event that ended the call. Data that
    lies in the blob store is a `Claim`.
    """

    __slots__ = (
        "_seen",
        "answers",
        "attempt",
        "events",
        "next",
        "questions",
        "steps",
        "submitted",
        "terminal",
        "token",
    )

    def __init__(self) -> None:
        self.submitted: dict[str, Any] | None = None
        self.attempt = 0
        self.token = ""
        self.terminal: Event | None = None
        self.events: list[Event] = []
        self.steps: dict[str, Any] = {}
        self.questions: dict[str, str] = {}
        self.answers: dict[str, str] = {}
        self.next = 0
        self._seen: set[str] = set()

    @property
    def deadline(self) -> int:
        """In ms UTC; 0: none."""
        return self.submitted["deadline"] if self.submitted else 0

    def add(self, entry: Entry) -> Event | None:
        """Take in the next entry of the log. Returns the event that a live reader is shown, if it counts."""
        self.next = entry.offset + 1
        if entry.id in self._seen or not self._counts(entry):
            return None
        self._seen.add(entry.id)
        if entry.type in _NOTES:
            return None
        event = Event(entry.offset, entry.type, entry.attempt, entry.time, entry.data)
        self._apply(entry, event)
        self.events.append(event)
        return event

    def expire(self, now: int, slack: int = 0) -> Event | None:
        """Time the call out if its deadline is more than `slack` ms past; returns the derived event the first time."""
        if self.submitted is None or self.terminal or not self.deadline or now <= self.deadline + slack:
            return None
        self.terminal = Event(self.next, "timed_out", self.attempt, self.deadline, {})
        self.events.append(self.terminal)
        return self.terminal

    def children(self) -> list[str]:
        """The calls that this one made and has not seen the end of."""
        steps = map(_facts, self.steps.values())
        return [step["call"] for step in steps if isinstance(step.get("call"), str) and "end" not in step]

    def _counts(self, entry: Entry) -> bool:
        kind = entry.type
        if self.submitted is None:
            return entry.offset == 0 and kind == "submitted" and is_shaped(kind, entry.data)
        if self.terminal or kind in _NEVER or (self.deadline and entry.time > self.deadline):
            return False
        if not is_shaped(kind, entry.data):
            return False
        if kind == "accepted":
            return entry.attempt >= max(self.attempt, 1) and entry.token != ""
        if kind == "answered" and entry.data["question"] not in self.questions:
            return False
        return entry.token == self.token if entry.token else kind in _WITHOUT_TOKEN

    def _apply(self, entry: Entry, event: Event) -> None:
        kind, data = entry.type, entry.data
        if kind == "submitted":
            self.submitted = data
        elif kind == "accepted":
            self.attempt, self.token = entry.attempt, entry.token
            self.events = [seen for seen in self.events if seen.type not in _VOIDED_BY_A_NEW_OWNER]
        elif kind == "step":
            self.steps[_facts(data)["key"]] = data
        elif kind in QUESTIONS:
            asked = _facts(data)
            if asked["question"] not in self.answers:
                self.questions[asked["question"]] = asked["text"]
        elif kind == "answered":
            del self.questions[data["question"]]
            self.answers[data["question"]] = data["text"]
        elif kind in _TERMINAL_ENTRIES:
            self.terminal = event


def is_shaped(kind: str, data: Any) -> bool:
    """Whether the data of an entry of this type is what its readers rely on; of a claim, what is not in the blob."""
    shape = _SHAPES.get(kind)
    if shape is None:
        return True
    if type(data) is Claim:
        large = BODIES.get(kind)
        if large is None:
            return False
        data = data.facts
        shape = {key: expected for key, expected in shape.items() if key != large}
    return isinstance(data, dict) and all(
        key in data and isinstance(data[key], expected) for key, expected in shape.items()
    )


def _facts(data: Any) -> Any:
    """What the fold knows of an entry's data."""
    return data.facts if type(data) is Claim else data


def fold(entries: Iterable[Entry], now: int, *, slack: int = 0) -> CallState:
    """The state of a call at `now` (ms UTC), from its whole log in order.

    `slack` (ms) is what clocks may differ by: a deadline counts as missed only that much after it. A state whose
    `submitted` is None belongs to no call.
    """
    state = CallState()
    for entry in entries:
        state.add(entry)
    state.expire(now, slack)
    return state


def once(entries: Iterable[Entry]) -> Iterable[Entry]:
    """The entries of a log of one's own or a session: each id once (rule 1 alone)."""
    seen: set[str] = set()
    for entry in entries:
        if entry.id not in seen:
            seen.add(entry.id)
            yield entry
