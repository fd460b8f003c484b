"""What a drill came to, for people and for programs."""

import math
from typing import Any, Final

from agentmesh.cli.chaos.oracle import Verdict

MIN_KILLS: Final = 20
MIN_CALLS: Final = 1000
OK, FOUND, PROVES_NOTHING = 0, 1, 3
_SHOWN: Final = 20
_SPARE: Final = 1.25


def figures(verdict: Verdict) -> dict[str, Any]:
    """The figures, all of them numbers of something; times in ms."""
    told = verdict.faults
    return {
        "started": verdict.started,
        "ended": dict(sorted(verdict.ended.items())),
        "lost": len({finding.subject for finding in verdict.of("lost")}),
        "doubled": len({finding.subject for finding in verdict.of("doubled")}),
        "handler_runs": verdict.runs,
        "run_again": verdict.runs_again,
        "killed": _of(verdict, "kill"),
        "stopped": _of(verdict, "stop"),
        "cuts": sum(count for kind, count in told.items() if kind.startswith("cut ")),
        "quota_hits": told["quota host"],
        "splits": told["split host"],
        "takeover_ms": {"p50": _part(verdict.takeovers, 0.5), "max": _part(verdict.takeovers, 1)},
        "call_ms": {"p50": _part(verdict.latencies, 0.5), "p99": _part(verdict.latencies, 0.99)},
        "troubles": dict(verdict.troubles.most_common()),
        "died": verdict.died,
    }


def exit_code(verdict: Verdict) -> int:
    """0: fine. 1: something was lost or doubled. 3: too little happened for that to mean anything."""
    if verdict.findings:
        return FOUND
    kills = sum(_of(verdict, "kill").values())
    return OK if kills >= MIN_KILLS and verdict.started >= MIN_CALLS else PROVES_NOTHING


def seconds_wanted(verdict: Verdict, seconds: float) -> float:
    """How long a drill has to be for enough to happen, after one that lasted so long and had too little."""
    kills = max(sum(_of(verdict, "kill").values()), 1)
    share = max(MIN_KILLS / kills, MIN_CALLS / max(verdict.started, 1))
    return 10 * math.ceil(seconds * share * _SPARE / 10)


def lines(verdict: Verdict) -> list[tuple[str, str]]:
    """The report for people: what, and how much."""
    told = figures(verdict)
    found = [(finding.kind, f"{finding.subject} {finding.text}") for finding in verdict.findings[:_SHOWN]]
    more = len(verdict.findings) - len(found)
    return [
        ("started", f"{told['started']:,} calls"),
        ("ended", _counts(told["ended"])),
        ("lost", str(told["lost"])),
        ("doubled in effect", str(told["doubled"])),
        ("handler runs", f"{told['handler_runs']:,}, of them {told['run_again']:,} not the first of their call"),
        ("killed", _counts(told["killed"])),
        ("stopped", _counts(told["stopped"])),
        ("else", f"{told['cuts']} cuts, {told['splits']} splits, {told['quota_hits']} quota hits"),
        ("take-over", "p50 {p50} ms, max {max} ms".format(**told["takeover_ms"])),
        ("calls", "p50 {p50} ms, p99 {p99} ms".format(**told["call_ms"])),
        ("met and tried again", _counts(told["troubles"])),
        *([("died by themselves", ", ".join(told["died"]))] if told["died"] else []),
        *found,
        *([("", f"… and {more} more")] if more else []),
    ]


def _of(verdict: Verdict, kind: str) -> dict[str, int]:
    """How often that was done to whom."""
    found = {told.partition(" ")[2]: count for told, count in verdict.faults.items() if told.startswith(f"{kind} ")}
    return dict(sorted(found.items()))


def _part(values: list[int], share: float) -> int | None:
    return values[min(len(values) - 1, int(len(values) * share))] if values else None


def _counts(counts: dict[str, int]) -> str:
    total = sum(counts.values())
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    return f"{total:,}" + (f" ({parts})" if parts else "")
