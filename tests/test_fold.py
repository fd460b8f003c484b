"""The fold: exactly one terminal and one visible output, whatever the order in which whoever wrote what."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentmesh.fold import CallState, fold, once
from agentmesh.message import BODIES, TERMINAL, Claim, Entry, Event, told

PARTIAL = {"delta", "artifact", "progress"}
DEADLINE = 1000
SUBMITTED = {"topic": "WeatherAgentTask", "skill": "forecast", "deadline": DEADLINE}


def data_of(kind: str, mark: str) -> Any:
    """Well-formed data that carries `mark`."""
    return {
        "submitted": SUBMITTED,
        "accepted": {"worker": mark},
        "progress": {"message": mark, "fraction": None},
        "delta": {"text": mark},
        "artifact": {"name": mark, "content_type": "text/plain", "data": b"x"},
        "step": {"key": mark, "kind": "once", "digest": "", "result": mark},
        "retrying": {"attempt": 1, "error": mark, "not_before": 0},
        "input_required": {"question": "q", "text": mark},
        "answered": {"question": "q", "text": mark},
        "completed": {"result": mark},
        "failed": {"error": "ValueError", "message": mark},
        "cancelled": {"by": mark},
        "dead_lettered": {"reason": mark, "attempts": 1},
    }.get(kind, {"mark": mark})


def entry(kind: str, attempt: int = 0, *, id: str = "", time: int = 0, data: Any = None) -> Entry:  # noqa: A002
    token = f"token-{attempt}" if attempt else ""
    return Entry(0, id, time, kind, attempt, token, data_of(kind, token or "caller") if data is None else data)


def log(*entries: Entry) -> list[Entry]:
    """Entry 0 and these, with their offsets; entries without an id get one of their own."""
    whole = [entry("submitted"), *entries]
    return [
        Entry(offset, each.id or f"@{offset}", each.time, each.type, each.attempt, each.token, each.data)
        for offset, each in enumerate(whole)
    ]


def kinds(events: Iterable[Event]) -> list[str]:
    return [event.type for event in events]


def folded(*entries: Entry, now: int = 500) -> CallState:
    return fold(log(*entries), now)


# Rule by rule


def test_rule_1_an_id_that_was_seen_counts_once() -> None:
    state = folded(entry("accepted", 1), entry("delta", 1, id="a"), entry("delta", 1, id="a"), entry("delta", 1))
    assert kinds(state.events) == ["submitted", "accepted", "delta", "delta"]


def test_rule_1_an_entry_that_did_not_count_does_not_use_up_its_id() -> None:
    state = folded(
        entry("accepted", 1), entry("accepted", 2), entry("step", 1, id="s"), entry("step", 2, id="s"), entry("step", 2)
    )
    assert [event.attempt for event in state.events if event.type == "step"] == [2, 2]


def test_rule_1_is_the_only_one_for_a_log_of_ones_own() -> None:
    entries = [Entry(n, f"k{n % 3}", 0, "completed", 0, "", n) for n in range(6)]
    assert [each.data for each in once(entries)] == [0, 1, 2]


def test_rule_2_a_log_that_does_not_begin_with_submitted_is_no_call() -> None:
    for entries in ([], [Entry(0, "@0", 0, "data", 0, "", {}), Entry(1, "@1", 0, "submitted", 0, "", SUBMITTED)]):
        state = fold(entries, now=DEADLINE + 1)
        assert state.submitted is None
        assert state.terminal is None
        assert state.events == []


def test_rule_2_only_the_first_submitted_counts() -> None:
    state = folded(entry("submitted", data={**SUBMITTED, "deadline": 5}), entry("accepted", 1))
    assert state.deadline == DEADLINE
    assert kinds(state.events) == ["submitted", "accepted"]


def test_rule_3_a_new_owner_voids_what_was_partial_and_keeps_the_steps() -> None:
    state = folded(
        entry("accepted", 1),
        entry("delta", 1),
        entry("progress", 1),
        entry("artifact", 1),
        entry("step", 1),
        entry("accepted", 2),
        entry("delta", 2),
    )
    assert kinds(state.events) == ["submitted", "accepted", "step", "accepted", "delta"]
    assert state.events[-1].data == {"text": "token-2"}
    assert state.steps["token-1"]["result"] == "token-1"


def test_rule_3_the_owner_is_the_latest_of_the_highest_attempt() -> None:
    again = Entry(0, "", 0, "accepted", 2, "other", {"worker": "other"})
    state = folded(entry("accepted", 2), entry("accepted", 1), again, entry("delta", 1), entry("delta", 2))
    assert (state.attempt, state.token) == (2, "other")
    assert kinds(state.events) == ["submitted", "accepted", "accepted"]


def test_rule_4_entries_of_a_former_owner_do_not_count() -> None:
    state = folded(
        entry("accepted", 1), entry("accepted", 2), entry("delta", 1), entry("step", 1), entry("completed", 1)
    )
    assert kinds(state.events) == ["submitted", "accepted", "accepted"]
    assert state.terminal is None
    assert state.steps == {}


@pytest.mark.parametrize("kind", ["delta", "step", "completed", "failed", "input_required", "retrying", "planned"])
def test_rule_4_a_workers_entries_need_a_token(kind: str) -> None:
    assert kinds(folded(entry(kind)).events) == ["submitted"]
    assert kinds(folded(entry("accepted", 1), entry(kind)).events) == ["submitted", "accepted"]


@pytest.mark.parametrize("kind", ["cancelled", "dead_lettered"])
def test_rule_4_the_end_that_caller_or_broker_set_needs_no_token_but_a_stale_one_spoils_it(kind: str) -> None:
    assert folded(entry("accepted", 1), entry(kind)).terminal
    assert folded(entry("accepted", 1), entry("accepted", 2), entry(kind, 1)).terminal is None


def test_rule_4_an_answer_counts_once_for_a_question_that_is_open() -> None:
    first = entry("answered", data={"question": "q", "text": "first"})
    second = entry("answered", data={"question": "q", "text": "second"})
    state = folded(first, entry("accepted", 1), entry("input_required", 1), first, second)
    assert state.answers == {"q": "first"}
    assert state.questions == {}
    assert kinds(state.events) == ["submitted", "accepted", "input_required", "answered"]


def test_rule_4_a_question_asked_again_by_the_next_attempt_keeps_its_answer() -> None:
    state = folded(
        entry("accepted", 1),
        entry("input_required", 1),
        entry("answered"),
        entry("accepted", 2),
        entry("input_required", 2),
    )
    assert state.answers == {"q": "caller"}
    assert state.questions == {}


@pytest.mark.parametrize("first", ["completed", "failed", "cancelled", "dead_lettered"])
@pytest.mark.parametrize("second", ["completed", "failed", "cancelled", "dead_lettered", "accepted", "delta"])
def test_rule_5_the_first_terminal_ends_it_and_nothing_is_shown_after(first: str, second: str) -> None:
    def of(kind: str) -> Entry:
        return entry(kind, 0 if kind in ("cancelled", "dead_lettered") else 1)

    state = folded(entry("accepted", 1), of(first), of(second))
    assert kinds(state.events) == ["submitted", "accepted", first]
    assert state.terminal is state.events[-1]


def test_rule_6_a_call_times_out_once_its_deadline_has_passed() -> None:
    entries = log(entry("accepted", 1), entry("delta", 1))
    assert fold(entries, DEADLINE).terminal is None
    state = fold(entries, DEADLINE + 1)
    assert state.terminal == Event(3, "timed_out", 1, DEADLINE, {})
    assert kinds(state.events) == ["submitted", "accepted", "delta", "timed_out"]


def test_rule_6_where_clocks_differ_the_deadline_has_some_slack() -> None:
    assert fold(log(), DEADLINE + 5000, slack=5000).terminal is None
    assert fold(log(), DEADLINE + 5001, slack=5000).terminal


def test_rule_6_nothing_counts_after_the_deadline() -> None:
    in_time = folded(entry("accepted", 1), entry("completed", 1, time=DEADLINE), now=5000)
    late = folded(entry("accepted", 1), entry("delta", 1, time=DEADLINE + 1), entry("completed", 1, time=DEADLINE + 1))
    assert in_time.terminal
    assert in_time.terminal.type == "completed"
    assert late.terminal is None
    assert kinds(late.events) == ["submitted", "accepted"]
    for kind in ("cancelled", "dead_lettered", "accepted"):
        state = folded(entry(kind, int(kind == "accepted"), time=DEADLINE + 1), now=5000)
        assert kinds(state.events) == ["submitted", "timed_out"]


def test_rule_6_timed_out_is_derived_and_a_stored_one_does_not_count() -> None:
    state = folded(entry("accepted", 1), entry("timed_out", 1, data={}), entry("completed", 1))
    assert kinds(state.events) == ["submitted", "accepted", "completed"]


def test_rule_6_a_call_without_a_deadline_never_times_out() -> None:
    entries = [Entry(0, "@0", 0, "submitted", 0, "", {**SUBMITTED, "deadline": 0})]
    assert fold(entries, 2**60).terminal is None


def test_rule_7_the_history_of_attempts_that_raised_is_shown() -> None:
    state = folded(entry("accepted", 1), entry("delta", 1), entry("retrying", 1), entry("accepted", 2))
    assert kinds(state.events) == ["submitted", "accepted", "retrying", "accepted"]


def test_types_that_the_fold_does_not_know_are_the_owners() -> None:
    state = folded(entry("accepted", 1), entry("planned", 1, data=[1]), entry("accepted", 2), entry("planned", 1))
    assert kinds(state.events) == ["submitted", "accepted", "planned", "accepted"]


def test_the_children_are_the_calls_whose_end_was_not_recorded() -> None:
    def call(key: str, **more: Any) -> Entry:
        return entry("step", 1, data={"key": key, "kind": "call", "digest": "", "call": f"call-{key}", **more})

    odd = entry("step", 1, data={"key": "odd", "kind": "call", "digest": "", "call": 7})
    state = folded(entry("accepted", 1), call("a"), call("b"), entry("step", 1), call("b", end="completed"), odd)
    assert state.children() == ["call-a"]


# Any interleaving

BODY = ["progress", "delta", "artifact", "step", "retrying", "input_required"]
END = [[], ["completed"], ["failed"], ["completed", "failed"]]


@st.composite
def attempts(draw: st.DrawFn, attempt: int) -> list[Entry]:
    """What the worker of one attempt writes, in its order."""
    body = draw(st.lists(st.sampled_from(BODY), max_size=5))
    written = ["accepted", *body, *draw(st.sampled_from(END))]
    return [entry(kind, attempt, id=f"{attempt}-{n}") for n, kind in enumerate(written)]


@st.composite
def callers(draw: st.DrawFn) -> list[Entry]:
    written = draw(st.lists(st.sampled_from(["answered", "cancelled", "dead_lettered"]), max_size=3))
    return [entry(kind, id=f"caller-{n}") for n, kind in enumerate(written)]


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[Entry], list[Entry]]:
    """A log of two attempts and a caller in any interleaving, the same one with duplicates in it. The second attempt
    begins after the first; whatever else the first one writes may come at any time, as from a stalled worker.
    """
    first, second, caller = draw(attempts(1)), draw(attempts(2)), draw(callers())
    rest = draw(_interleaved([first[1:], second, caller]))
    plain = [entry("submitted", id="submitted"), first[0], *rest]
    times = sorted(draw(st.lists(st.integers(0, DEADLINE + 200), min_size=len(plain), max_size=len(plain))))
    timed = [Entry(0, each.id, time, *_rest(each)) for each, time in zip(plain, [0, *times[1:]], strict=True)]
    doubled: list[Entry] = []
    for each in timed:
        doubled.append(each)
        again = draw(st.sampled_from(doubled))
        if again.type != "answered" and draw(st.booleans()):
            doubled.append(Entry(0, again.id, each.time, *_rest(again)))
    return _numbered(timed), _numbered(doubled)


def _rest(each: Entry) -> tuple[Any, ...]:
    return each.type, each.attempt, each.token, each.data


def _numbered(entries: Sequence[Entry]) -> list[Entry]:
    return [Entry(n, each.id, each.time, *_rest(each)) for n, each in enumerate(entries)]


@st.composite
def _interleaved(draw: st.DrawFn, sequences: list[list[Entry]]) -> list[Entry]:
    left, merged = [list(sequence) for sequence in sequences if sequence], []
    while left:
        chosen = draw(st.sampled_from(range(len(left))))
        merged.append(left[chosen].pop(0))
        left = [sequence for sequence in left if sequence]
    return merged


def by_the_book(entries: Sequence[Entry]) -> list[Entry]:
    """The entries that a replay shows, by the rules as CONTRACT.md has them, slowly."""
    counted: list[Entry] = []
    for each in entries:
        owners = [other for other in counted if other.type == "accepted"]
        owner = max(owners, key=lambda other: (other.attempt, other.offset), default=None)
        asked = [other for other in counted if other.type == "input_required"]
        answered = [other for other in counted if other.type == "answered"]
        if each.offset == 0:
            counts = True
        elif (
            any(other.type in TERMINAL for other in counted)
            or each.time > DEADLINE
            or each.type == "submitted"
            or any(other.id == each.id for other in counted)
        ):
            counts = False
        elif each.type == "accepted":
            counts = not owner or each.attempt >= owner.attempt
        elif each.type == "answered":
            counts = bool(asked) and not answered
        elif not each.token:
            counts = True
        else:
            counts = bool(owner) and each.token == owner.token
        if counts:
            counted.append(each)
    last = max((each.offset for each in counted if each.type == "accepted"), default=0)
    return [each for each in counted if each.type not in PARTIAL or each.offset > last]


@pytest.mark.promise(2)
@pytest.mark.promise(3)
@settings(max_examples=300)
@given(logs())
def test_any_interleaving_gives_one_terminal_and_one_visible_output(both: tuple[list[Entry], list[Entry]]) -> None:
    for entries in both:
        state = fold(entries, DEADLINE + 1)
        ends = [event for event in state.events if event.type in TERMINAL]
        assert ends == [state.terminal] == state.events[-1:]
        accepted = [event for event in state.events if event.type == "accepted"]
        visible = [event for event in state.events if event.type in PARTIAL]
        assert {event.attempt for event in visible} <= {state.attempt}
        assert all(f"token-{state.attempt}" in event.data.values() for event in visible)
        assert all(event.offset > accepted[-1].offset for event in visible)
        if state.terminal.type in ("completed", "failed"):
            assert state.terminal.attempt == state.attempt
        shown = [(each.offset, each.type) for each in by_the_book(entries)]
        derived = [] if shown[-1][1] in TERMINAL else [(len(entries), "timed_out")]
        assert [(event.offset, event.type) for event in state.events] == shown + derived


@pytest.mark.promise(3)
@settings(max_examples=150)
@given(logs())
def test_duplicates_change_nothing(both: tuple[list[Entry], list[Entry]]) -> None:
    plain, doubled = ([(event.type, event.attempt, event.data) for event in fold(each, 0).events] for each in both)
    assert plain == doubled


@pytest.mark.promise(4)
@settings(max_examples=150)
@given(logs(), st.data())
def test_a_live_reader_that_starts_over_at_accepted_sees_what_a_replay_shows(
    both: tuple[list[Entry], list[Entry]], data: st.DataObject
) -> None:
    entries = data.draw(st.sampled_from(both))
    state, shown = CallState(), []
    for each in entries:
        event = state.add(each)
        if event and event.type == "accepted":
            shown = [before for before in shown if before.type not in PARTIAL]
        if event:
            shown.append(event)
    assert shown == fold(entries, 0).events


@settings(max_examples=150)
@given(logs(), st.data())
def test_what_comes_after_the_end_changes_nothing(both: tuple[list[Entry], list[Entry]], data: st.DataObject) -> None:
    _, entries = both
    cut = data.draw(st.integers(1, len(entries)))
    before, after = fold(entries[:cut], 0), fold(entries, 0)
    if before.terminal:
        assert (before.events, before.terminal) == (after.events, after.terminal)


# Entries of whoever may append

json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
RELIED_ON = {
    "submitted": ["topic", "skill", "deadline"],
    "accepted": ["worker"],
    "progress": ["message"],
    "delta": ["text"],
    "artifact": ["name", "content_type", "data"],
    "step": ["key", "kind", "digest"],
    "retrying": ["error", "not_before"],
    "input_required": ["question", "text"],
    "approval_required": ["question", "text"],
    "answered": ["question", "text"],
    "completed": ["result"],
    "failed": ["error", "message"],
    "cancelled": ["by"],
    "dead_lettered": ["reason", "attempts"],
}
KINDS = ["submitted", "accepted", *BODY, "approval_required", "answered", *sorted(TERMINAL), "planned", ""]


@st.composite
def hostile(draw: st.DrawFn) -> list[Entry]:
    entries = []
    for offset in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(KINDS))
        data = data_of(kind, "mark")
        spoil = draw(st.sampled_from(["", "", "all", "value", "key"]))
        if spoil == "all":
            data = draw(json)
        elif spoil and data:
            data = dict(data)
            key = draw(st.sampled_from(sorted(data)))
            if spoil == "value":
                data[key] = draw(json)
            else:
                del data[key]
        if draw(st.integers(0, 3)) == 0:
            large = BODIES.get(kind, "")
            data = Claim(
                "a" * 64, 9, {key: data[key] for key in data if key != large} if isinstance(data, dict) else None
            )
        if offset == 0 and draw(st.integers(0, 3)):
            kind, data = "submitted", SUBMITTED
        token, attempt = draw(st.sampled_from(["", "a", "b"])), draw(st.integers(-1, 3))
        entries.append(Entry(offset, draw(st.sampled_from(["x", f"@{offset}"])), offset, kind, attempt, token, data))
    return entries


@settings(max_examples=400)
@given(hostile(), st.integers(0, 2 * DEADLINE))
def test_malformed_entries_do_not_count_and_break_nothing(entries: list[Entry], now: int) -> None:
    state = fold(entries, now)
    assert state.deadline >= 0 or state.submitted
    assert all(isinstance(child, str) for child in state.children())
    assert len([event for event in state.events if event.type in TERMINAL]) == (state.terminal is not None)
    for event in state.events:
        for key in RELIED_ON.get(event.type, ()):
            claimed = isinstance(event.data, Claim) and key == BODIES.get(event.type)
            assert claimed or key in told(event.data)


@pytest.mark.parametrize("data", [None, "x", 3, [], {}, {"topic": "T", "skill": "s"}, {**SUBMITTED, "deadline": "x"}])
def test_a_malformed_submitted_makes_no_call(data: Any) -> None:
    state = fold([Entry(0, "@0", 0, "submitted", 0, "", data), entry("accepted", 1)], 5000)
    assert state.submitted is None
    assert state.events == []


@pytest.mark.parametrize(("attempt", "token"), [(0, "token"), (-1, "token"), (1, "")])
def test_an_accepted_without_attempt_or_token_owns_nothing(attempt: int, token: str) -> None:
    forged = Entry(0, "", 0, "accepted", attempt, token, {"worker": "w"})
    assert kinds(folded(forged, entry("completed", 1)).events) == ["submitted"]


def test_large_data_counts_by_its_facts_and_is_handed_on_as_its_claim() -> None:
    def claim(**facts: Any) -> Claim:
        return Claim("a" * 64, 10**8, facts)

    begun = {"key": "#1", "kind": "call", "digest": "d", "call": "call-child"}
    state = folded(
        entry("accepted", 1),
        entry("step", 1, data=claim(**begun)),
        entry("approval_required", 1, data=claim(question="q", text="Go on?")),
        entry("completed", 1, data=claim()),
    )
    assert state.steps == {"#1": claim(**begun)}
    assert state.children() == ["call-child"]
    assert state.questions == {"q": "Go on?"}
    assert state.terminal
    assert state.terminal.data == claim()


@pytest.mark.parametrize("kind", ["submitted", "accepted", "answered", "failed", "cancelled", "retrying", "progress"])
def test_a_claim_where_the_fold_needs_the_data_does_not_count(kind: str) -> None:
    claimed = entry(kind, 1, data=Claim("a" * 64, 1, data_of(kind, "x") if kind != "submitted" else SUBMITTED))
    assert kind not in kinds(folded(entry("accepted", 1), claimed).events)[2:]
