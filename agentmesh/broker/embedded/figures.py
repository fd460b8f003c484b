"""Figures of a host: what it has done since it began, counted once a turn, and what there is now.

A turn that is committed is counted from the rows it wrote, so that nothing is counted per message, and nothing of a
turn that failed.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from heapq import nlargest
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from agentmesh.contracts.admin import figure
from agentmesh.log import get_logger

if TYPE_CHECKING:
    from agentmesh.broker.embedded.inboxes import Inboxes
    from agentmesh.broker.embedded.state import State
    from agentmesh.broker.embedded.store import Changes, Store

LONG: Final = 0.005
"""Seconds from which on a turn counts as long."""

DEBUG: Final = "AGENTMESH_DEBUG_LOOP"
"""The variable that has long turns named in the log."""

MOST_TENANTS: Final = 100
"""Tenants of a topic that have figures of their own; those with the most in hand."""

Operations = deque[tuple[Any, ...]]
_HAPPENED: Final = ("lost", "retried", "returned", "cancelled", "expired")
"""What a turn notes by name in `Changes.happened`: leases lost, attempts that raised and are retried, tasks given back
untried, tasks dropped because their call was cancelled or past its deadline."""


class Figures:
    """Counters of one broker, from when it was made."""

    def __init__(self, now: int) -> None:
        self._began = now
        self._counts: Counter[str] = Counter(dict.fromkeys(_HAPPENED, 0))
        self._published = self._leased = self._ended = self._dead = self._entries = 0
        self._turns = self._long = self._failed = 0
        self._longest = self._busy = 0.0
        self._debug = bool(os.environ.get(DEBUG))

    def turn(self, work: Callable[[], None], operations: Operations, state: "State") -> None:
        """Do a turn, and take its time."""
        asked = [operation[0] for operation in operations] if self._debug else ()
        began = perf_counter()
        work()
        took = perf_counter() - began
        self._turns += 1
        self._busy += took
        if took > self._longest:
            self._longest = took
        if took > LONG:
            self._long += 1
            if self._debug:
                _name(took, Counter(_name_of(each) for each in asked[: len(asked) - len(operations)]), state.changes)

    def committed(self, state: "State") -> None:
        """The turn is stored: count what it did."""
        changes = state.changes
        self._published += len(changes.insert_task)
        self._ended += len(changes.delete_task)
        self._dead += len(changes.insert_dead)
        self._entries += len(changes.insert_entry)
        for request in state.granted:
            self._leased += len(request.granted)
        for name in changes.happened:
            self._counts[name] += 1

    def failed(self) -> None:
        """The turn was not stored."""
        self._failed += 1

    def all(self, state: "State", store: "Store", inboxes: "Inboxes") -> dict[str, float]:
        """Every figure there is, by name."""
        counts = self._counts
        dropped = counts["cancelled"] + counts["expired"] + self._dead
        clients, subscriptions = inboxes.counts()
        size, wal = store.sizes()
        return {
            "tasks_published_total": self._published,
            "tasks_leased_total": self._leased,
            "tasks_acknowledged_total": self._ended - dropped,
            "tasks_retried_total": counts["retried"],
            "tasks_returned_total": counts["returned"],
            "tasks_lost_total": counts["lost"],
            "tasks_dead_lettered_total": self._dead,
            "tasks_cancelled_total": counts["cancelled"],
            "tasks_expired_total": counts["expired"],
            "entries_appended_total": self._entries,
            "commits_total": store.commits,
            "commits_failed_total": self._failed,
            "commit_seconds_total": store.commit_seconds,
            "rows_written_total": store.rows,
            "turns_total": self._turns,
            "turns_long_total": self._long,
            "turn_seconds_total": self._busy,
            "turn_seconds_max": self._longest,
            "wake_ups_total": inboxes.wakes,
            "polls_total": inboxes.polls,
            "clients": clients,
            "subscriptions": subscriptions,
            "lite_topics_in_memory": len(state.logs),
            "file_bytes": size,
            "wal_bytes": wal,
            "host_start_time_seconds": self._began / 1000,
        } | dict(_of_topics(state, dict(store.query("count_dead"))))


def _of_topics(state: "State", dead: dict[str, int]) -> Iterator[tuple[str, float]]:
    """What waits, runs and is dead by topic: of tenants too as far as they are known, of all others together."""
    topics = state.tasks.topics
    for topic in topics.values():
        waiting, running = topic.use.unfinished - topic.use.running, topic.use.running
        uses = {tenant: uses[1] for tenant, uses in topic.of_tenant.items()}
        for tenant in nlargest(MOST_TENANTS, uses, key=lambda tenant: uses[tenant].unfinished):
            runs, waits = uses[tenant].running, uses[tenant].unfinished - uses[tenant].running
            yield figure("tasks_waiting", topic=topic.name, tenant=tenant), waits
            yield figure("tasks_running", topic=topic.name, tenant=tenant), runs
            waiting, running = waiting - waits, running - runs
        if not uses or len(uses) > MOST_TENANTS:
            yield figure("tasks_waiting", topic=topic.name), waiting
            yield figure("tasks_running", topic=topic.name), running
        yield figure("workers_waiting", topic=topic.name), len(topic.requests)
    for name in {**dict.fromkeys(topics), **dead}:
        yield figure("tasks_dead", topic=name), dead.get(name, 0)


def _name(took: float, asked: "Counter[str]", changes: "Changes") -> None:
    did = ", ".join(f"{name} × {count}" for name, count in asked.most_common()) or "what fell due"
    get_logger().warning(
        "a turn held the loop", ms=round(took * 1000, 1), did=did, rows=changes.rows, bytes=changes.size
    )


def _name_of(operation: Callable[..., Any]) -> str:
    """`publish`, `ack`, …"""
    return getattr(operation, "__name__", type(operation).__name__)
