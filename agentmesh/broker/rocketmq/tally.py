"""The fold of a call's log, with what a broker counts besides: how its attempts ended."""

from collections.abc import Iterable
from typing import Final

from agentmesh.fold import CallState
from agentmesh.message import Entry

RETURNED: Final = "returned"
"""The type of the entry by which a worker gives a task back unharmed: the attempt counts neither as raised nor as lost.
It stands for the transaction that other brokers have, and no reader is shown it."""


class Tally:
    """How many attempts `raised` and were `given_back`, whether the last one `concluded` in such a way, when (ms) it
    began, and until when (ms) the next one has to wait.
    """

    __slots__ = ("accepted", "concluded", "given_back", "not_before", "raised", "state")

    def __init__(self) -> None:
        self.state = CallState()
        self.raised = 0
        self.given_back = 0
        self.concluded = True
        self.accepted = 0
        self.not_before = 0

    @property
    def lost(self) -> int:
        """Attempts whose worker died or lost its lease, the last one too unless it concluded."""
        return self.state.attempt - self.raised - self.given_back

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in the next entries of the log."""
        for entry in entries:
            is_owners = bool(entry.token) and entry.token == self.state.token
            counted = self.state.add(entry) is not None
            if entry.type == RETURNED and is_owners and not self.concluded:
                self.given_back += 1
                self.concluded, self.not_before = True, 0
            elif not counted:
                continue
            elif entry.type == "accepted":
                self.concluded, self.accepted = False, entry.time
            elif entry.type == "retrying" and not self.concluded:
                self.raised += 1
                self.concluded, self.not_before = True, entry.data["not_before"]
