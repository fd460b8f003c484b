"""The figures of a mesh in Prometheus's text format, version 0.0.4."""

import math
from collections.abc import Mapping
from typing import Final

from agentmesh.contracts.admin import figure, parts_of

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PREFIX: Final = "agentmesh_"

HELP: Final = {
    "info": "The version of agentmesh that tells these figures; always 1.",
    "host_start_time_seconds": "When the process that hosts the mesh began, since 1970. Counters begin with it.",
    "tasks_published_total": "Tasks that were published.",
    "tasks_leased_total": "Leases that were handed to workers.",
    "tasks_acknowledged_total": "Tasks that a worker ended.",
    "tasks_retried_total": "Attempts that raised and are tried again.",
    "tasks_returned_total": "Tasks that a worker gave back untried.",
    "tasks_lost_total": "Leases that ran out or whose worker died.",
    "tasks_dead_lettered_total": "Tasks that went to the dead letters.",
    "tasks_cancelled_total": "Tasks that were dropped because their call was cancelled.",
    "tasks_expired_total": "Tasks that were dropped because their deadline passed.",
    "tasks_waiting": "Tasks that wait, delayed ones too.",
    "tasks_running": "Tasks that a worker holds.",
    "tasks_dead": "Dead letters.",
    "workers_waiting": "Requests of workers that wait for a task.",
    "entries_appended_total": "Entries that were appended to LiteTopics.",
    "lite_topics_in_memory": "LiteTopics whose head is in memory.",
    "clients": "Clients with an inbox.",
    "subscriptions": "LiteTopics that clients subscribe to, each client counted.",
    "wake_ups_total": "LiteTopics that became ready for a client because something was written.",
    "polls_total": "Polls of inboxes.",
    "commits_total": "Transactions that were committed.",
    "commits_failed_total": "Turns that failed and stored nothing.",
    "commit_seconds_total": "Time spent committing.",
    "rows_written_total": "Rows that were written.",
    "turns_total": "Turns of the broker in its event loop.",
    "turns_long_total": "Turns that took more than 5 ms.",
    "turn_seconds_total": "Time spent in turns.",
    "turn_seconds_max": "The longest turn since the host began.",
    "file_bytes": "What the file of the mesh takes.",
    "wal_bytes": "What its write-ahead log takes.",
}


def exposition(figures: Mapping[str, float], version: str) -> str:
    """All figures, those of one name together, each name with its HELP and TYPE."""
    families: dict[str, list[tuple[str, float]]] = {"info": [(figure("info", version=version), 1)]}
    for name, value in figures.items():
        families.setdefault(parts_of(name)[0], []).append((name, value))
    lines = []
    for family, samples in families.items():
        kind = "counter" if family.endswith("_total") else "gauge"
        lines += [
            f"# HELP {PREFIX}{family} {HELP.get(family, 'A figure of a newer host.')}",
            f"# TYPE {PREFIX}{family} {kind}",
            *(f"{PREFIX}{name} {_number(value)}" for name, value in samples),
        ]
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
