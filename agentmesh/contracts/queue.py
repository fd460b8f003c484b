"""The queue: topics, their tasks, and how they are handed out."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from agentmesh.message import Draft, Message


class RetryOn(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error after which a task gets another attempt, by the name of its class or of a base of it; what is `None` is
    as in `Retry`.
    """

    error: str
    attempts: int | None = None
    backoff: float | None = None
    max: float | None = None


class Retry(msgspec.Struct, frozen=True):
    """When a task gets another attempt; times in seconds.

    `lost`: attempts whose worker died or lost its lease (0: no limit). `attempts`: attempts that raised, if `on` names
    the error (the nearest of its classes counts) or it is `Retryable`; the last error's rule decides. The n-th back-off
    is between half of `backoff` × 2ⁿ⁻¹, at most `max`, and the whole: which part is drawn for each task and attempt, so
    that what failed together does not come back together.
    """

    lost: int = 3
    on: tuple[str | RetryOn, ...] = ()
    attempts: int = 3
    backoff: float = 1.0
    max: float = 60.0


class Rate(msgspec.Struct, frozen=True):
    """At most `count` in any `seconds`, evenly enough: a token bucket that holds one second's worth, at least one."""

    count: int
    seconds: float = 1.0


class Quota(msgspec.Struct, frozen=True):
    """How much of a topic may be in hand: `total`, and `per_tenant` of each tenant (0: no limit).

    `over` says what happens beyond it. `queue`: so many run at once, and others wait for their turn. `refuse`: so many
    are unfinished, waiting or running, and a publish beyond raises `QuotaExceeded`.
    """

    total: int = 0
    per_tenant: int = 0
    over: Literal["queue", "refuse"] = "queue"


class Delivery(msgspec.Struct, frozen=True):
    """How a topic's tasks are handed out; times in seconds.

    `concurrency`: handlers at once in one worker. `timeout`: of one attempt, waiting in `ctx.call` and `ctx.ask` not
    counted (0: none). `lease`: how long a silent worker keeps a task. `rate`: how many tasks begin in a time, over all
    workers. `aging`: a waiting task gains one level of priority in this time (0: never).

    `priority` and `isolate` are for brokers that order tasks by nothing but age unless they are told: tasks of higher
    priority go first; every tenant's wait in a lane of their own. Embedded brokers do both anyway.
    """

    concurrency: int = 8
    timeout: float = 600.0
    lease: float = 30.0
    retry: Retry = Retry()
    rate: Rate | None = None
    quota: Quota = Quota()
    aging: float = 60.0
    priority: bool = False
    isolate: Literal["", "tenant"] = ""


class Lease(msgspec.Struct, frozen=True):
    """A message handed to one worker. `attempt` counts from 1; `raised` of the earlier attempts ended in an error that
    is retried. `expires` (ms) moves with every `extend`.
    """

    message: Message
    token: str
    attempt: int
    raised: int
    expires: int


class Append(msgspec.Struct, frozen=True):
    """Entries for one LiteTopic, written together or not at all."""

    lite_topic: str
    entries: Sequence[Draft]
    expect: int | None = None


class TopicStats(msgspec.Struct, frozen=True):
    """`waiting` (delayed ones too), `running` and `dead` messages; `oldest` is since when (ms) the one waits that has
    waited longest, of those that a worker may have now. `delivery` is how the topic delivers, if the broker tells it.
    """

    topic: str
    waiting: int
    running: int
    dead: int
    oldest: int | None
    delivery: Delivery | None = None


class Stored(msgspec.Struct, frozen=True):
    """A message at rest, for `browse`. `reason` is set on dead letters; `position` pages."""

    position: int
    message: Message
    attempt: int
    state: Literal["waiting", "running", "dead"]
    reason: str = ""


class Queue(Protocol):
    """The topics: work queues, one per agent."""

    async def declare(self, topic: str, delivery: Delivery | None) -> None:
        """Make the topic, or change how it delivers; `None` removes it and the tasks that wait in it."""
        ...

    async def publish(self, message: Message) -> bool:
        """Store the task and, with it, entry 0 (`submitted`) of its log. False if the id was known: nothing happened.

        Raises `TopicNotFound`, and `Conflict` for a known id with another topic, skill or body.
        """
        ...

    async def lease(
        self, topics: Sequence[str], limit: int, wait: float, *, worker: str, lanes: Sequence[str] = ()
    ) -> Sequence[Lease]:
        """Up to `limit` messages for `worker`, as soon as there is one; nothing after `wait` seconds.

        Messages without a lane go to any worker, those with one only to workers that name it in `lanes`. Attempt,
        token and `accepted` are stored before this returns. Messages that are cancelled or past their deadline are
        never handed out.
        """
        ...

    async def extend(
        self, worker: str, tokens: Sequence[str], wait: float
    ) -> Mapping[str, Literal["cancelled", "lost"]]:
        """Renew the leases, then wait up to `wait` seconds for bad news of any lease that `worker` holds.

        Returns at once when there is news: the tokens of calls that were cancelled, and of leases that are no longer
        held.
        """
        ...

    async def ack(
        self,
        lease: Lease,
        appends: Sequence[Append] = (),
        publishes: Sequence[Message] = (),
        expect: int | None = None,
    ) -> None:
        """Remove the message, append and publish, all in one transaction. Raises `LeaseLost`, `Conflict`.

        `expect` is the offset at which the first of `appends` must begin.
        """
        ...

    async def nack(
        self,
        lease: Lease,
        *,
        error: str = "",
        not_before: int = 0,
        dead: str = "",
        publishes: Sequence[Message] = (),
    ) -> None:
        """Give the message back. Raises `LeaseLost`.

        With `error` the attempt raised: `retrying` is appended and the message waits until `not_before`. With `dead`
        (the reason) it goes to the dead letters instead and `dead_lettered` is appended. With neither, the worker
        merely did not get to it: the attempt counts neither as raised nor as lost.
        """
        ...

    async def stats(self, topics: Sequence[str] = ()) -> Sequence[TopicStats]:
        """Counts of these topics, or of all, by name: those too that were removed and have left dead letters."""
        ...

    async def browse(self, topic: str, after: int = 0, limit: int = 100, *, dead: bool = False) -> Sequence[Stored]:
        """Messages of the topic without leasing them, by position; `after` is exclusive.

        Raises `TopicNotFound`, for dead letters only if there are none of a topic of that name.
        """
        ...
