"""The tasks of all topics in memory: what waits, what is leased, and what falls due. Rebuilt from the store at open."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from agentmesh.broker.embedded.store import Store
from agentmesh.broker.process import is_dead
from agentmesh.clock import Waiter
from agentmesh.contracts import Delivery, Lease, Tenant
from agentmesh.errors import PayloadCorrupt
from agentmesh.log import get_logger
from agentmesh.message import Message, decode_message
from agentmesh.scheduling.limits import DEEPEST, Account, Bucket, Use, renewed
from agentmesh.scheduling.order import Waiting
from agentmesh.scheduling.timers import Timers

_BODIES_IN_MEMORY: Final = 64_000_000
_CLAIM: Final = 10_000
_IDLE_TENANTS: Final = 1000

Uses = tuple[Use, Use, Account]
"""What counts a task: the use of its topic, of its tenant in the topic, of its tenant in all."""


class Task:
    """A message that is not acknowledged, with what its row says and, while it is leased, by whom and until when.

    `depth` is how many calls are above it, `since` when it began to wait (ms); `uses` count it: those of its topic, of
    its tenant there, of its tenant.
    """

    __slots__ = (
        "attempt",
        "cancelled",
        "depth",
        "expires",
        "holder",
        "lost",
        "message",
        "not_before",
        "position",
        "raised",
        "since",
        "token",
        "trimmed",
        "uses",
        "worker",
    )

    def __init__(self, position: int, message: Message, not_before: int, since: int, uses: Uses) -> None:
        self.position = position
        self.message = message
        self.not_before = not_before
        self.depth = min(message.hops, DEEPEST)
        self.since = since
        self.uses = uses
        self.attempt = self.lost = self.raised = self.expires = 0
        self.token = self.worker = self.holder = ""
        self.cancelled = self.trimmed = False

    def update_row(self) -> tuple[int, str, str, int, int, int, int]:
        """The arguments of `update_task`."""
        return self.attempt, self.token, self.holder, self.lost, self.raised, self.not_before, self.position


class LeaseRequest:
    """A worker that waits for up to `limit` messages of some topics, from these lanes."""

    __slots__ = ("closed", "future", "granted", "holder", "lanes", "limit", "topics", "worker")

    def __init__(
        self,
        topics: Sequence[str],
        limit: int,
        worker: str,
        lanes: tuple[str, ...],
        holder: str,
        future: Waiter,
    ) -> None:
        self.topics = topics
        self.holder = holder
        self.lanes = lanes
        self.limit = limit
        self.worker = worker
        self.future = future
        self.granted: Sequence[Lease] = ()
        self.closed = False


class Topic:
    """One topic: its declaration, the positions that wait, what is in hand, and the workers that wait."""

    __slots__ = ("bucket", "delivery", "is_limited", "name", "of_tenant", "requests", "use", "waiting")

    def __init__(self, name: str, delivery: Delivery, tenants: Mapping[str, Tenant], now: int) -> None:
        self.name = name
        self.waiting = Waiting(tenants)
        self.use = Use()
        self.of_tenant: dict[str, Uses] = {}
        self.bucket: Bucket | None = None
        self.requests: dict[LeaseRequest, None] = {}
        self.set(delivery, now)

    def set(self, delivery: Delivery, now: int) -> None:
        """How it delivers from now on."""
        quota = delivery.quota
        self.delivery = delivery
        self.is_limited = bool(delivery.rate or quota.total or quota.per_tenant)
        self.waiting.aging = round(delivery.aging * 1000)
        self.bucket = renewed(self.bucket, delivery.rate, now)


class Tasks:
    """All topics and tasks, by position, log and token."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.topics: dict[str, Topic] = {}
        self.accounts: dict[str, Account] = {}
        self.tenants: dict[str, Tenant] = {}
        self.limiting = False
        self.resumed: dict[str, None] = {}
        self.by_token: dict[str, Task] = {}
        self._freed: dict[str, tuple[str, int]] = {}
        self._removed: dict[int, Task] = {}
        self._untrimmed: list[Task] = []
        self._clear()

    def _clear(self) -> None:
        self.by_position: dict[int, Task] = {}
        self.by_log: dict[str, Task] = {}
        self.by_token = {}
        self.delayed: Timers[int] = Timers(1)
        self.leases: Timers[str] = Timers(50)
        self.deadlines: Timers[int] = Timers(1000)
        self.refills: Timers[str] = Timers(1)
        self.tenant_refills: Timers[str] = Timers(1)
        self.timers = self.leases, self.delayed, self.deadlines, self.refills, self.tenant_refills
        self._next = 1
        self._bodies = 0
        self._untrimmed.clear()

    def load(self, now: int) -> None:
        """Read everything from the store.

        Leases that memory does not know are kept for `_CLAIM` for their workers to claim by token, unless those are
        dead: then they have run out.
        """
        topics = self._store.query("topics")
        last = self._store.query("last_position")[0][0]
        rows = self._store.query("tasks")
        leases = {token: (task.worker, task.expires) for token, task in self.by_token.items()} | self._freed
        before, known = self.topics, self.by_position | self._removed
        self._clear()
        self._freed.clear()
        self._removed.clear()
        self.topics = {}
        self._load_tenants(now)
        for name, delivery in topics:
            topic = Topic(name, msgspec.msgpack.decode(delivery, type=Delivery), self.tenants, now)
            self.topics[name] = topic
            if name in before:
                topic.requests = before[name].requests
                topic.bucket = renewed(before[name].bucket, topic.delivery.rate, now)
        self._next = last + 1
        alive: dict[str, bool] = {self._store.ended: False, "": False}
        for position, attempt, token, holder, lost, raised, not_before, cancelled, raw in rows:
            try:
                message = decode_message(raw)
            except PayloadCorrupt as error:  # its row stays where it is, and the others go on
                get_logger(position=position).error("a task cannot be read and is left out", error=str(error))
                continue
            since = known[position].since if position in known else min(message.created or now, now)
            task = Task(position, message, not_before, since, self.uses(message))
            task.attempt, task.lost, task.raised, task.cancelled = attempt, lost, raised, bool(cancelled)
            self._insert(task)
            if token:
                if holder not in alive:
                    alive[holder] = not is_dead(holder)
                unknown = ("", now + _CLAIM if alive[holder] else 0)
                self.hold(task, token, holder, *leases.get(token, unknown))
            else:
                self.wait(task, now)
        self._trim()

    def _load_tenants(self, now: int) -> None:
        before, self.accounts = self.accounts, {}
        self.tenants.clear()
        self.limiting = False
        for (policy,) in self._store.query("tenants"):
            tenant = msgspec.msgpack.decode(policy, type=Tenant)
            self.accounts[tenant.name] = Account(tenant)
            if tenant.name in before:
                self.accounts[tenant.name].bucket = before[tenant.name].bucket
            self.set_tenant(tenant, now)

    def set_tenant(self, tenant: Tenant, now: int) -> None:
        """What holds for the tenant from now on, for what waits too."""
        self.tenants[tenant.name] = tenant
        self.limiting = any(each.running or each.waiting or each.rate for each in self.tenants.values())
        account = self.account(tenant.name)
        account.set(tenant, now)
        self.release(account)
        for topic in self.topics.values():
            topic.waiting.renew(tenant)

    def account(self, tenant: str) -> Account:
        """The tenant over all topics."""
        account = self.accounts.get(tenant)
        if account is None:
            account = self.accounts[tenant] = Account(self.tenants.get(tenant) or Tenant(tenant))
        return account

    def uses(self, message: Message) -> Uses:
        """What counts a task of this topic and tenant."""
        topic = self.topics[message.topic]
        uses = topic.of_tenant.get(message.tenant)
        if uses is None:
            uses = topic.of_tenant[message.tenant] = topic.use, Use(), self.account(message.tenant)
        return uses

    def new_position(self) -> int:
        """One that no task and no dead letter ever had."""
        position = self._next
        self._next += 1
        return position

    def add(self, message: Message, now: int) -> Task:
        """A new task, waiting."""
        task = Task(self.new_position(), message, message.not_before, now, self.uses(message))
        self._insert(task)
        self.wait(task, now)
        return task

    def wait(self, task: Task, now: int) -> None:
        """Let it wait for a worker, from its `not_before` on."""
        if task.not_before > now:
            self.delayed.set(task.position, task.not_before)
        else:
            message, since = task.message, max(task.since, task.not_before)
            waiting = self.topics[message.topic].waiting
            waiting.add(task.position, since, message.tenant, message.priority, message.lane, task.depth)

    def hold(self, task: Task, token: str, holder: str, worker: str, expires: int) -> None:
        """Lease it to a `worker` of the process `holder`."""
        task.token, task.holder, task.worker, task.expires = token, holder, worker, expires
        self.by_token[token] = task
        self.leases.set(token, expires)
        for use in task.uses:
            use.running += 1
        if task.depth:
            for use in task.uses:
                use.deepen(task.depth, 1)

    def renew(self, task: Task, expires: int) -> None:
        task.expires = expires
        self.leases.set(task.token, expires)

    def postpone(self, late: int) -> None:
        """Let every lease last `late` ms longer."""
        for task in self.by_token.values():
            self.renew(task, task.expires + late)

    def next_due(self) -> int | None:
        """When anything falls due (ms)."""
        earliest: int | None = None
        for timers in self.timers:
            time = timers.next()
            if time is not None and (earliest is None or time < earliest):
                earliest = time
        return earliest

    def free(self, task: Task) -> None:
        """End its lease."""
        self._freed[task.token] = (task.worker, task.expires)
        del self.by_token[task.token]
        self.leases.remove(task.token)
        for use in task.uses:
            use.running -= 1
        if task.depth:
            for use in task.uses:
                use.deepen(task.depth, -1)
        task.token = task.holder = ""
        topic = self.topics[task.message.topic]
        if self.limiting or topic.is_limited:  # one less runs: those who were barred may go on
            self.resumed[topic.name] = None
            self.release(task.uses[2])

    def release(self, account: Account) -> None:
        """Let the tenant take part again wherever it was barred."""
        for name in account.barred:
            if name in self.topics:
                self.topics[name].waiting.release(account.tenant.name)
                self.resumed[name] = None
        account.barred.clear()

    def remove(self, task: Task) -> None:
        """Forget it, leased or waiting."""
        if task.token:
            self.free(task)
        else:
            self.topics[task.message.topic].waiting.remove(task.position)
            self.delayed.remove(task.position)
        self.deadlines.remove(task.position)
        self._removed[task.position] = self.by_position.pop(task.position)
        del self.by_log[task.message.log]
        for use in task.uses:
            use.unfinished -= 1
        if len(self.accounts) > _IDLE_TENANTS:
            self._forget_idle(task)
        if not task.trimmed:
            self._bodies -= len(task.message.body)

    def _forget_idle(self, task: Task) -> None:
        """Of many tenants, keep those who have something in hand."""
        tenant = task.message.tenant
        if not task.uses[2].unfinished and tenant not in self.tenants:
            self.release(self.accounts.pop(tenant))
            for topic in self.topics.values():
                topic.of_tenant.pop(tenant, None)

    def settle(self) -> None:
        """The turn is committed: the leases and tasks that it ended are over for good."""
        self._freed.clear()
        self._removed.clear()
        self._trim()

    def message(self, task: Task) -> Message:
        """The whole message; bodies beyond what memory is given for them come from the store."""
        if task.trimmed:
            return decode_message(self._store.query("task_message", task.position)[0][0])
        return task.message

    def _insert(self, task: Task) -> None:
        message = task.message
        self._bodies += len(message.body)
        if self._bodies > _BODIES_IN_MEMORY:
            self._untrimmed.append(task)
        self.by_position[task.position] = task
        self.by_log[message.log] = task
        for use in task.uses:
            use.unfinished += 1
        if message.deadline:
            self.deadlines.set(task.position, message.deadline)

    def _trim(self) -> None:
        """Leave the bodies beyond the bound to the store, which has them by now."""
        for task in self._untrimmed:
            if self.by_position.get(task.position) is task:
                self._bodies -= len(task.message.body)
                task.message = msgspec.structs.replace(task.message, body=b"")
                task.trimmed = True
        self._untrimmed.clear()
