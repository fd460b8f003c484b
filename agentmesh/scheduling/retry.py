"""Whether a task gets another attempt: pure functions of the declared `Retry` and what happened so far."""

from hashlib import blake2b

import msgspec

from agentmesh.contracts import Retry, RetryOn


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


def rule_for(retry: Retry, error: type[BaseException]) -> Retry | None:
    """What holds after an error of this class, by the nearest of its classes that `retry.on` names; `None`: it is not
    retried.
    """
    rules = {each if isinstance(each, str) else each.error: each for each in reversed(retry.on)}
    for kind in error.__mro__:
        rule = rules.get(kind.__name__)
        if isinstance(rule, RetryOn):
            given = {
                name: value for name in ("attempts", "backoff", "max") if (value := getattr(rule, name)) is not None
            }
            return msgspec.structs.replace(retry, **given)
        if rule is not None:
            return retry
    return None


def after_raised(
    retry: Retry, error: str, raised: int, now: int, after: float | None = None, *, task: str = ""
) -> Again | Dead:
    """After the `raised`-th attempt that ended in a retryable `error`, by the rule for it.

    `after` (s) is what the handler asked for, and is kept to; else `task`, the message's id, draws the back-off.
    """
    if raised >= retry.attempts:
        times = "1 attempt" if raised == 1 else f"{raised} attempts"
        return Dead(f"{times} raised, the last one {error}")
    wait = back_off(retry, raised, task) if after is None else after
    return Again(now + round(wait * 1000))


def back_off(retry: Retry, raised: int, task: str) -> float:
    """Seconds to wait after the `raised`-th failure (from 1): doubling, at most `retry.max`, of which at least half.

    Equal jitter (Brooker, "Exponential Backoff and Jitter", 2015), the same whenever it is asked for.
    """
    whole = min(retry.backoff * 2.0 ** min(raised - 1, 60), retry.max)
    drawn = int.from_bytes(blake2b(f"{task} {raised}".encode(), digest_size=4).digest(), "big") / 0xFFFF_FFFF
    return float(whole * (0.5 + drawn / 2))
