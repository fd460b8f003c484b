"""The timeline of a call or a run: every entry of its log and of the logs of all calls below it, in order of time.

It is read from the logs alone: the calls below are those that the `step` entries of a log record. What does not count,
such as the entries of an attempt that was replaced, is there too, and marked.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from agentmesh.contracts import Log
from agentmesh.errors import CallNotFound
from agentmesh.fold import CallState
from agentmesh.ids import LITE_TOPIC, kind_of, session_log
from agentmesh.message import QUESTIONS, Entry, Event, told

_PAGE: Final = 1000


class Row(msgspec.Struct, frozen=True):
    """An entry of a LiteTopic, seen from the whole. Times are in ms: `at` from the beginning, `time` UTC.

    `duration` is how long what began with it took, where it began something that has ended. `offset` is None where
    nothing is stored: at a deadline that passed. `counts` is false for what readers of the call are not shown.
    """

    at: int
    time: int
    duration: int | None
    depth: int
    call: str
    parent: str
    topic: str
    lite_topic: str
    offset: int | None
    attempt: int
    worker: str
    event: str
    error: str
    counts: bool
    data: Any


class Part(msgspec.Struct, frozen=True):
    """A call of the tree. `outcome` is the type of its terminal event; empty while it goes on, `missing` if it has no
    log. `parent` is the call that made it, `began` when it was published.
    """

    call: str
    parent: str
    depth: int
    topic: str = ""
    skill: str = ""
    outcome: str = "missing"
    error: str = ""
    began: int = 0
    duration: int | None = None
    attempts: int = 0


class Timeline(msgspec.Struct, frozen=True):
    """What was found. `parts` are in the order of their tree; `is_whole` is false if there was more than was asked
    for. `above` is the call that made the whole of it.
    """

    rows: list[Row]
    parts: list[Part]
    is_whole: bool
    above: str


async def read_timeline(log: Log, call_id: str, now: int, *, limit: int, tenant: str = "") -> Timeline:
    """The timeline of the call or run, of at most `limit` entries. Raises `CallNotFound`; with `tenant`, for the calls
    of others too.
    """
    reader = _Reader(log, now, limit, tenant)
    root = await reader.read(call_id, "", 0)
    if root is None:
        raise CallNotFound(call_id)
    waiting = deque(root.children(call_id, 1))
    while waiting:
        child = await reader.read(*waiting.popleft())
        if child is not None:
            waiting.extend(child.children(child.call, child.depth + 1))
    await reader.read_session(root)
    began = root.entries[0].time
    rows = [row for _, row in heapq.merge(*(each.rows(began) for each in reader.logs), key=lambda pair: pair[0])]
    return Timeline(rows, list(_tree(reader.parts, call_id)), reader.left >= 0, root.above)


class _Reader:
    """Reads logs while there is room for more entries; `left` is below 0 once something was left out."""

    def __init__(self, log: Log, now: int, limit: int, tenant: str) -> None:
        self.left = limit
        self.logs: list[_Log] = []
        self.parts: dict[str, Part] = {}
        self._log = log
        self._now = now
        self._tenant = tenant

    async def read(self, call: str, parent: str, depth: int) -> "_Log | None":
        """The log of a call; None if it has none, or was read before."""
        if call in self.parts or not LITE_TOPIC.match(call) or kind_of(call) not in ("call", "run"):
            return None
        if self.left <= 0 and depth:
            self.left = -1
            return None
        self.parts[call] = Part(call, parent, depth)
        found = _Log(call, parent, depth, await self._entries(call))
        found.fold(self._now)
        if found.state.submitted is None or self._tenant not in ("", found.state.submitted.get("tenant")):
            return None
        self.logs.append(found)
        self.parts[call] = found.part()
        return found

    async def read_session(self, root: "_Log") -> None:
        """What the session of a run holds of it: its goal and its answer."""
        submitted = root.state.submitted or {}
        session = submitted.get("session")
        if session and kind_of(root.call) == "run":
            name = session_log(str(submitted.get("tenant")), str(session))
            entries = [each for each in await self._entries(name) if _of(each.data, "run") == root.call]
            found = _Log(root.call, root.parent, root.depth, entries, name)
            found.counted = {entry.offset for entry in entries}
            self.logs.append(found)

    async def _entries(self, name: str) -> list[Entry]:
        entries: list[Entry] = []
        while self.left > 0:
            page = await self._log.read(name, entries[-1].offset if entries else -1, min(_PAGE, self.left + 1))
            entries += page[: self.left]
            self.left -= len(page)
            if len(page) < _PAGE:
                break
        return entries


class _Log:
    """The entries of one LiteTopic, and what they amount to."""

    def __init__(self, call: str, parent: str, depth: int, entries: list[Entry], name: str = "") -> None:
        self.call = call
        self.parent = parent
        self.depth = depth
        self.entries = entries
        self.name = name or call
        self.state = CallState()
        self.counted: set[int] = set()

    def fold(self, now: int) -> None:
        """See what counts."""
        for entry in self.entries:
            self.state.add(entry)
        self.counted = {event.offset for event in self.state.events}
        self.state.expire(now)

    @property
    def above(self) -> str:
        return str((self.state.submitted or {}).get("parent") or "")

    @property
    def topic(self) -> str:
        return str((self.state.submitted or {}).get("topic") or "")

    def children(self, parent: str, depth: int) -> list[tuple[str, str, int]]:
        """The calls that this one made, in order, as arguments of `read`."""
        steps = [entry.data for entry in self.entries if entry.type == "step" and entry.offset in self.counted]
        calls = [_of(step, "call") for step in steps]
        return [(call, parent, depth) for call in dict.fromkeys(map(str, calls)) if call]

    def part(self) -> Part:
        """This call in the tree."""
        state = self.state
        began = self.entries[0].time
        skill = str((state.submitted or {}).get("skill") or "")
        part = Part(self.call, self.parent, self.depth, self.topic, skill, "", "", began, None, state.attempt)
        end = state.terminal
        if end is None:
            return part
        error = _error(end.type, end.data)
        return msgspec.structs.replace(part, outcome=end.type, error=error, duration=end.time - began)

    def rows(self, began: int) -> Iterator[tuple[tuple[int, int, int], Row]]:
        """Its entries with what orders them among those of other logs."""
        ends = self._ends()
        workers = {e.token: str(_of(e.data, "worker")) for e in self.entries if e.type == "accepted" and e.token}
        events: list[Entry | Event] = list(self.entries)
        derived = self.state.terminal
        if derived and derived.type == "timed_out":
            events.append(derived)
        for event in events:
            is_stored = isinstance(event, Entry)
            row = Row(
                event.time - began,
                event.time,
                ends[event.offset] - event.time if is_stored and event.offset in ends else None,
                self.depth,
                self.call,
                self.parent,
                self.topic if self.name == self.call else "",
                self.name,
                event.offset if is_stored else None,
                event.attempt,
                workers.get(event.token, "") if isinstance(event, Entry) else "",
                event.type,
                _error(event.type, event.data),
                not is_stored or event.offset in self.counted,
                told(event.data),
            )
            yield _order(event, self.depth), row

    def _ends(self) -> dict[int, int]:
        """Offset → when what began there ended."""
        open_ones: dict[tuple[str, Any], int] = {}
        ends: dict[int, int] = {}
        end = self.state.terminal
        for entry in self.entries:
            if entry.offset not in self.counted:
                continue
            ended, begun = _ended_by(entry), _begun_by(entry)
            if ended and (offset := open_ones.pop(ended, None)) is not None:
                ends[offset] = entry.time
            if begun:
                open_ones[begun] = entry.offset
        if end is not None:
            for kind in ("call", "attempt"):
                if (offset := open_ones.pop((kind, None), None)) is not None:
                    ends[offset] = end.time
        return ends


def _begun_by(entry: Entry) -> tuple[str, Any] | None:
    """What begins with the entry, for `_ended_by` of a later one."""
    match entry.type:
        case "submitted":
            return "call", None
        case "accepted":
            return "attempt", None
        case "call_started":
            return "started", _of(entry.data, "call")
        case "step" if _begins_step(entry.data):
            return "step", _of(entry.data, "key")
        case kind if kind in QUESTIONS:
            return "question", _of(entry.data, "question")
    return None


def _ended_by(entry: Entry) -> tuple[str, Any] | None:
    match entry.type:
        case "accepted" | "retrying":
            return "attempt", None
        case "call_finished":
            return "started", _of(entry.data, "call")
        case "step" if not _begins_step(entry.data):
            return "step", _of(entry.data, "key")
        case "answered":
            return "question", _of(entry.data, "question")
    return None


def _begins_step(data: Any) -> bool:
    """Whether a step is only recorded as begun: a call that has not ended."""
    return _of(data, "kind") == "call" and not _of(data, "end")


def _order(event: Entry | Event, depth: int) -> tuple[int, int, int]:
    """Where its row stands among those of other logs. Of one millisecond, what causes comes before what it causes: a
    call before those below it, and its sight of their ends after them.
    """
    sees_an_end = event.type == "call_finished" or (event.type == "step" and not _begins_step(event.data))
    return (event.time, 1, -depth) if sees_an_end else (event.time, 0, depth)


def _error(kind: str, data: Any) -> str:
    """What went wrong, in words; empty where nothing did."""
    match kind:
        case "failed":
            return f"{_of(data, 'error')}: {_of(data, 'message')}"
        case "retrying":
            return str(_of(data, "error"))
        case "dead_lettered":
            return str(_of(data, "reason"))
        case "cancelled":
            return f"by {_of(data, 'by')}"
        case "timed_out":
            return "the deadline passed"
        case "call_finished" if _of(data, "type") != "completed":
            return str(_of(data, "type"))
        case "step" if _of(data, "failure"):
            failure = data["failure"]
            return _error(str(_of(failure, "end")), _of(failure, "data"))
    return ""


def _of(data: Any, name: str) -> Any:
    """What anybody may have written under that name; empty if it is not there."""
    data = told(data)
    return data.get(name, "") if isinstance(data, Mapping) else ""


def _tree(parts: dict[str, Part], root: str) -> Iterator[Part]:
    """Each call followed by those that it made."""
    below: dict[str, list[str]] = {}
    for part in parts.values():
        below.setdefault(part.parent, []).append(part.call)
    waiting = [root]
    while waiting:
        call = waiting.pop()
        yield parts[call]
        waiting.extend(reversed(below.get(call, [])))
