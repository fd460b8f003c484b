"""What may begin or be published now: rates, quotas and the limits of tenants, as counters and pure functions on a
clock.

What runs is counted by depth, the number of calls above a task. A limit on what runs at once holds for the tasks of a
depth and deeper, so that no task waits for room that the task which called it takes up.
"""

from typing import Final

from agentmesh.contracts import Delivery, Quota, Rate, Tenant
from agentmesh.errors import ConfigError, QuotaExceeded

DEEPEST: Final = 32
_WEIGHTS: Final = range(1, 1001)
_PRIORITIES: Final = range(10)
_MOST: Final = 10**9


class Bucket:
    """A token bucket for `rate`, full at first: it holds one second's worth, at least one. Times in ms."""

    __slots__ = ("_full", "_level", "_then", "cost", "rate")

    def __init__(self, rate: Rate, now: int) -> None:
        self.rate = rate
        self.cost = max(1, round(rate.seconds * 1000))  # of one token, in units of which `count` flow in each ms
        self._full = max(self.cost, rate.count * 1000)
        self._level = self._full
        self._then = now

    def wait(self, now: int) -> int:
        """How long (ms) until the next token; 0 when there is one."""
        if now > self._then:
            self._level = min(self._full, self._level + (now - self._then) * self.rate.count)
            self._then = now
        return max(0, -((self._level - self.cost) // self.rate.count))

    def spend(self) -> None:
        """Take a token."""
        self._level -= self.cost


class Use:
    """How many tasks are unfinished, and how many of them run."""

    __slots__ = ("_deep", "running", "unfinished")

    def __init__(self) -> None:
        self.unfinished = 0
        self.running = 0
        self._deep: dict[int, int] = {}

    def deepen(self, depth: int, more: int) -> None:
        """Of those that run, so many more are `depth` deep."""
        self._deep[depth] = self._deep.get(depth, 0) + more

    def at(self, depth: int) -> int:
        """How many run at this depth and deeper."""
        if not depth:
            return self.running
        return sum(count for each, count in self._deep.items() if each >= depth)

    def floor(self, limit: int) -> int:
        """The smallest depth at which another one may run."""
        depth = 0
        while self.at(depth) >= limit:
            depth += 1
        return depth


class Account(Use):
    """A tenant over all topics: what was set for it, what it uses, and the topics in which it was barred."""

    __slots__ = ("barred", "bucket", "highest", "tenant")

    def __init__(self, tenant: Tenant) -> None:
        super().__init__()
        self.tenant = tenant
        self.highest = tenant.highest
        self.bucket: Bucket | None = None
        self.barred: dict[str, None] = {}

    def set(self, tenant: Tenant, now: int) -> None:
        """What holds from now on."""
        self.tenant = tenant
        self.highest = tenant.highest
        self.bucket = renewed(self.bucket, tenant.rate, now)


def renewed(bucket: Bucket | None, rate: Rate | None, now: int) -> Bucket | None:
    """The bucket for `rate`: the one there was, if that is the same."""
    if rate is None:
        return None
    return bucket if bucket is not None and bucket.rate == rate else Bucket(rate, now)


def has_room(quota: Quota, in_topic: Use, account: Account, depth: int) -> bool:
    """Whether a task of the tenant may run in addition to those that do."""
    if quota.per_tenant and quota.over == "queue" and in_topic.at(depth) >= quota.per_tenant:
        return False
    running = account.tenant.running
    return not running or account.at(depth) < running


def check_room(topic: str, quota: Quota, tenant: Tenant, used: tuple[int, int, int]) -> None:
    """Raise `QuotaExceeded` if another unfinished task of the tenant is one too many.

    `used` counts those there are: of the topic, of the tenant in it, of the tenant.
    """
    refusing = quota.over == "refuse"
    limits = (
        (quota.total if refusing else 0, topic, "delivery.quota.total"),
        (quota.per_tenant if refusing else 0, f"Tenant {tenant.name!r} on {topic}", "delivery.quota.per_tenant"),
        (tenant.waiting, f"Tenant {tenant.name!r}", f"agentmesh tenant set {tenant.name} --waiting"),
    )
    for count, (limit, who, where) in zip(used, limits, strict=True):
        if limit and count >= limit:
            raise QuotaExceeded(
                f"{who} has {count} unfinished tasks, and may have {limit} ({where}). "
                "Publish again when some have ended, or raise the limit."
            )


def check_delivery(delivery: Delivery) -> None:
    """Raise `ConfigError` for limits that are none."""
    quota = delivery.quota
    if not 0 <= quota.total <= _MOST or not 0 <= quota.per_tenant <= _MOST:
        raise ConfigError(f"{quota!r}: a quota is a number of tasks, 0 for no limit.")
    if not 0 <= delivery.aging <= _MOST:
        raise ConfigError(f"Delivery(aging={delivery.aging!r}): use seconds, 0 for never.")
    _check_rate(delivery.rate)


def check_tenant(tenant: Tenant) -> None:
    """Raise `ConfigError` for values out of range."""
    who = f"Tenant {tenant.name!r}"
    if not tenant.name or not tenant.name.isprintable():
        raise ConfigError(f"{who}: a tenant has a name, of characters that can be printed.")
    if tenant.weight not in _WEIGHTS:
        raise ConfigError(f"{who}: weight={tenant.weight!r}; use 1 to 1000.")
    if tenant.ceiling is not None and tenant.ceiling not in _PRIORITIES:
        raise ConfigError(f"{who}: ceiling={tenant.ceiling!r}; use a priority, 0 to 9.")
    for name, limit in (("running", tenant.running), ("waiting", tenant.waiting)):
        if not 0 <= limit <= _MOST:
            raise ConfigError(f"{who}: {name}={limit!r}; use a number of tasks, 0 for no limit.")
    _check_rate(tenant.rate)


def _check_rate(rate: Rate | None) -> None:
    if rate is not None and not (1 <= rate.count <= _MOST and 0.001 <= rate.seconds <= _MOST):
        raise ConfigError(f"{rate!r}: a rate is at least one task in a time of at least a millisecond.")
