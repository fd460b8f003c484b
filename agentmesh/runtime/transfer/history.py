"""What of a call's log goes with it to another mesh."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from agentmesh.fold import CallState
from agentmesh.message import Draft, Entry

_STAYS: Final = frozenset({"submitted", "accepted", "progress", "delta", "artifact"})
"""A publish writes the first, a lease the second, and the next attempt begins the others anew."""

Kind = Literal["", "open", "ended", "timed_out"]


class Told(msgspec.Struct, frozen=True):
    """What a log amounts to. `kind`: "" if it is no call's; "timed_out" if its deadline ended it, which no entry says.
    `end` is the type of what ended the call; `history` are the other entries that count, and that a further attempt
    needs.
    """

    kind: Kind
    end: str = ""
    tenant: str = ""
    history: Sequence[Entry] = ()


def told(entries: Sequence[Entry], now: int) -> Told:
    """What the whole log of a call amounts to at `now` (ms UTC)."""
    state = CallState()
    counted = [entry for entry in entries if state.add(entry) and entry.type not in _STAYS]
    if state.submitted is None:
        return Told("")
    state.expire(now)
    tenant = str(state.submitted.get("tenant", ""))
    if state.terminal:
        history = [entry for entry in counted if entry.offset != state.terminal.offset]
        kind: Kind = "timed_out" if state.terminal.type == "timed_out" else "ended"
        return Told(kind, state.terminal.type, tenant, history)
    return Told("open", "", tenant, counted)


def draft_of(entry: Entry, attempt: int | None = None, token: str = "") -> Draft:
    """An entry as it is appended elsewhere: with an id, so that a second time is a no-op. With `attempt` and `token`,
    under a lease there, if it was written under one here.
    """
    entry_id = f"moved:{entry.offset}" if entry.id.startswith("@") else entry.id
    if attempt is None or not entry.token:
        return Draft(entry.type, entry.data, entry_id, entry.attempt, entry.token)
    return Draft(entry.type, entry.data, entry_id, attempt, token)
