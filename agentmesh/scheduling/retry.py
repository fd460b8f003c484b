"""Whether a task gets another attempt: pure functions of the declared `Retry` and what happened so far."""

import msgspec

from agentmesh.contracts import Retry


class Again(msgspec.Struct, frozen=True):
    """Another attempt, not before this time (ms UTC; 0: at once)."""

    not_before: int


class Dead(msgspec.Struct, frozen=True):
    """No more attempts; `reason` is what the dead letter says."""

    reason: str


def after_lost(retry: Retry, lost: int) -> Again | Dead:
    """After the `lost`-th attempt whose worker died or lost its lease."""
    if retry.lost and lost >= retry.lost:
        return Dead(f"its worker was lost {lost} times")
    return Again(0)


def after_raised(retry: Retry, error: str, raised: int, now: int, after: float | None = None) -> Again | Dead:
    """After the `raised`-th attempt that ended in a retryable `error`; `after` (s) is what the handler asked for."""
    if raised >= retry.attempts:
        return Dead(f"{raised} attempts raised, the last one {error}")
    wait = back_off(retry, raised) if after is None else after
    return Again(now + round(wait * 1000))


def back_off(retry: Retry, raised: int) -> float:
    """Seconds to wait after the `raised`-th failure (from 1): doubling, at most `retry.max`."""
    return float(min(retry.backoff * 2.0 ** min(raised - 1, 60), retry.max))
