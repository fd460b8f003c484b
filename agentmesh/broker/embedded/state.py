"""What the operations do: changes of memory, and the rows that go with them, within one turn.

`State` is synchronous and knows no futures but those of lease requests. An operation either raises before it has
changed anything, or succeeds. What may be told after the commit is collected in `written`, `news` and `granted`.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from agentmesh.broker.drafts import Encoded, encode, identity, other_call, submitted
from agentmesh.broker.embedded.gate import Gate
from agentmesh.broker.embedded.logs import Logs, LogState
from agentmesh.broker.embedded.references import refer_to_body, refer_to_data, release
from agentmesh.broker.embedded.store import Changes, Store
from agentmesh.broker.embedded.tasks import LeaseRequest, Task, Tasks, Topic
from agentmesh.clock import resolve
from agentmesh.contracts import Delivery, Lease, Tenant, TopicStats
from agentmesh.errors import Conflict, LeaseLost, TopicNotFound
from agentmesh.ids import new_token
from agentmesh.message import Draft, Message, encode_content, encode_message
from agentmesh.scheduling.retry import Dead, after_lost

MAX_ROWS: Final = 400
"""What a transaction holds unless one operation alone is larger: about 5 ms of the loop, with what goes before it."""

MAX_BYTES: Final = 1_000_000


class State:
    """Tasks and LiteTopics of one store. `begin` starts a turn at a time; until its commit, memory is ahead of the
    store.
    """

    def __init__(self, store: Store, now: int) -> None:
        self._store = store
        self.tasks = Tasks(store)
        self.gate = Gate(self.tasks)
        self.logs = Logs(store)
        self.now = now
        self.changes = Changes()
        self.written: dict[str, int] = {}
        self.expired: list[str] = []
        self.news: list[tuple[str, str, Literal["cancelled", "lost"]]] = []
        self.granted: list[LeaseRequest] = []
        self.offers: dict[str, None] = {}
        self.reload()

    def begin(self, now: int) -> None:
        """Start a turn; time never goes back."""
        self.now = max(self.now, now)
        if self.changes.rows or self.changes.happened:
            self.changes = Changes()

    def settle(self) -> None:
        """The turn is committed and told."""
        self._forget_told()
        self.logs.settle()
        self.tasks.settle()

    def reload(self) -> None:
        """Make memory what the store says: at the start, and after a commit that failed. Workers go on waiting."""
        for request in self.granted:
            request.granted, request.closed = (), False
            for name in request.topics:
                self.tasks.topics[name].requests[request] = None
        self._forget_told()
        self.changes = Changes()
        self.tasks.load(self.now)
        self.logs.load()
        self.offers = dict.fromkeys(self.tasks.topics)

    def _forget_told(self) -> None:
        self.written, self.expired, self.news, self.granted = {}, [], [], []

    def due(self) -> None:
        """Deal with what fell due: leases that ran out, delays that are over, deadlines, tokens to begin with."""
        tasks, now = self.tasks, self.now
        for token in tasks.leases.due(now, MAX_ROWS // 8):
            self._lose(tasks.by_token[token])
        for position in tasks.delayed.due(now, MAX_ROWS):
            task = tasks.by_position[position]
            tasks.wait(task, now)
            self.offers[task.message.topic] = None
        for position in tasks.deadlines.due(now, MAX_ROWS // 8):
            task = tasks.by_position[position]
            if not task.token:  # a running one is ended by its worker, or when its lease runs out
                self._drop(task, "expired")
        for name in tasks.refills.due(now, MAX_ROWS):
            self.offers[name] = None
        for tenant in tasks.tenant_refills.due(now, MAX_ROWS):
            tasks.release(tasks.account(tenant))

    def _lose(self, task: Task) -> None:
        """Its worker is gone: another attempt, or the dead letters."""
        self.news.append((task.worker, task.token, "lost"))
        self.changes.happened.append("lost")
        self.tasks.free(task)
        task.lost += 1
        verdict = after_lost(self.topic(task.message.topic).delivery.retry, task.lost)
        if task.cancelled or task.message.deadline <= self.now:
            self._drop(task, "cancelled" if task.cancelled else "expired")
        elif isinstance(verdict, Dead):
            self._bury(task, verdict.reason)
        else:
            self.tasks.wait(task, self.now)
            self.offers[task.message.topic] = None

    def _drop(self, task: Task, why: str = "") -> None:
        """Remove a task that nobody needs to work on any more; `why`, if nobody acknowledged it."""
        if why:
            self.changes.happened.append(why)
        self.changes.delete_task.append((task.position,))
        self.changes.rows += 1
        self.tasks.remove(task)

    def _bury(self, task: Task, reason: str) -> None:
        """Move a task to the dead letters and say so in its log."""
        message = self.tasks.message(task)
        raw = encode_message(message)
        entries = encode([Draft("dead_lettered", {"reason": reason, "attempts": task.attempt})])
        position = self.tasks.new_position()
        self.changes.insert_dead.append((position, message.topic, self.now, task.attempt, reason, raw))
        self.changes.grow(1, len(raw))
        refer_to_body(-position, message.blob, self.changes)
        self._drop(task)
        self._write_all(message.log, entries)

    def request(self, request: LeaseRequest) -> None:
        for topic in [self.topic(name) for name in request.topics]:
            topic.requests[request] = None
            if topic.waiting.ready():
                self.offers[topic.name] = None

    def withdraw(self, request: LeaseRequest) -> None:
        """The worker does not wait any more."""
        for name in request.topics:
            topic = self.tasks.topics.get(name)
            if topic:
                topic.requests.pop(request, None)

    def grant(self) -> None:
        """Match workers that wait with tasks that wait, until one of both or the transaction's room runs out."""
        if self.tasks.resumed:
            self.offers.update(self.tasks.resumed)
            self.tasks.resumed.clear()
        offers, self.offers = self.offers, {}
        for name in offers:
            if name in self.tasks.topics:
                self._grant_topic(self.tasks.topics[name])

    def _grant_topic(self, topic: Topic) -> None:
        for request in list(topic.requests):
            if not topic.waiting.ready():
                return
            if self.changes.rows >= MAX_ROWS:
                self.offers[topic.name] = None
                return
            if request.closed or request.future.done():
                del topic.requests[request]
            else:
                self._grant_request(topic, request)

    def _grant_request(self, topic: Topic, request: LeaseRequest) -> None:
        granted: list[Lease] = []
        limited = self.tasks.limiting or topic.is_limited
        while len(granted) < request.limit and self.changes.rows < MAX_ROWS:
            if limited:
                position = self.gate.take(topic, request.lanes, self.now)
            else:
                position = topic.waiting.take(request.lanes, self.now)
            if position is None:
                break
            task = self.tasks.by_position[position]
            if task.message.deadline <= self.now:
                self._drop(task, "expired")
            else:
                if limited:
                    self.gate.begun(topic, task)
                granted.append(self._hand_out(task, request))
        if granted:
            request.granted, request.closed = granted, True
            del topic.requests[request]
            self.granted.append(request)

    def _hand_out(self, task: Task, request: LeaseRequest) -> Lease:
        task.attempt += 1
        token = new_token()
        self.tasks.hold(task, token, request.holder, request.worker, self.now + self.lease_time(task))
        self.changes.update_task.append(task.update_row())
        self.changes.rows += 1
        accepted = Draft("accepted", {"worker": request.worker}, attempt=task.attempt, token=token)
        self._write_all(task.message.log, [("", accepted.type, encode_content(accepted))])
        return Lease(self.tasks.message(task), token, task.attempt, task.raised, task.expires)

    def _held(self, lease: Lease) -> Task:
        task = self.tasks.by_token.get(lease.token)
        if task is None or task.expires <= self.now:
            raise LeaseLost(f"Attempt {lease.attempt} of {lease.message.id} does not hold its lease any more.")
        return task

    def lease_time(self, task: Task) -> int:
        return round(self.topic(task.message.topic).delivery.lease * 1000)

    def topic(self, name: str) -> Topic:
        topic = self.tasks.topics.get(name)
        if topic is None:
            raise TopicNotFound(name, self.tasks.topics)
        return topic

    def declare(self, name: str, delivery: Delivery) -> None:
        topic = self.tasks.topics.get(name)
        if topic is None:
            self.tasks.topics[name] = Topic(name, delivery, self.tasks.tenants, self.now)
        elif topic.delivery == delivery:
            return
        else:
            topic.set(delivery, self.now)
            topic.waiting.release_all()
            self.offers[name] = None
        self.changes.upsert_topic.append((name, msgspec.msgpack.encode(delivery)))
        self.changes.rows += MAX_ROWS  # goes alone, so that the order of declarations is that of their turns

    def remove(self, name: str, _: None) -> None:
        topic = self.topic(name)
        for task in [task for task in self.tasks.by_position.values() if task.message.topic == name]:
            if task.token:
                self.news.append((task.worker, task.token, "lost"))
            self._bury(task, "its topic was removed")
        for request in list(topic.requests):
            resolve(request.future, ())
        del self.tasks.topics[name]
        self.changes.delete_topic.append((name,))
        self.changes.rows += MAX_ROWS

    def publish(self, message: Message, raw: bytes) -> bool:
        topic = self.topic(message.topic)
        if self._is_known(message):
            return False
        if self.tasks.limiting or topic.is_limited:
            self.gate.check([message])
        task = self.tasks.add(message, self.now)
        log = self.logs.create(message.log, "", message.deadline, self.now, self.changes)
        self._write(log, "", submitted(message, task.uses[2].highest))
        self.changes.insert_task.append((task.position, topic.name, message.not_before, raw))
        self.changes.grow(1, len(raw))
        refer_to_body(log.id, message.blob, self.changes)
        self.offers[topic.name] = None
        return True

    def _is_known(self, message: Message) -> bool:
        """Whether this id was published before. Raises `Conflict` if it was with something else."""
        if self.logs.find(message.log) is None:
            return False
        entries = self.logs.read(message.log, -1, 1)
        first = entries[0].data if entries and entries[0].type == "submitted" else None
        if not isinstance(first, dict) or tuple(map(first.get, ("topic", "skill", "digest"))) != identity(message):
            raise other_call(message)
        return True

    def _check_publishes(
        self,
        publishes: Sequence[tuple[Message, bytes]],
        appends: Sequence[tuple[str, int | None, Encoded]] = (),
        leaving: Task | None = None,
    ) -> None:
        """Refuse what could fail halfway: an operation does all that it says, or nothing. `leaving` is the task that
        ends with it.
        """
        new: dict[str, Message] = {}
        for message, _ in publishes:
            self.topic(message.topic)
            if not self._is_known(message) and identity(new.setdefault(message.log, message)) != identity(message):
                raise other_call(message)
        for name, _, _ in appends:
            if name in new:
                raise Conflict(f"{name} begins with its publish. Append to it once that is stored.")
        self.gate.check(new.values(), leaving)

    def ack(
        self,
        lease: Lease,
        appends: Sequence[tuple[str, int | None, Encoded]],
        publishes: Sequence[tuple[Message, bytes]],
    ) -> None:
        task = self._held(lease)
        for name, expect, _ in appends:
            self._check_expected(name, expect)
        if publishes:
            self._check_publishes(publishes, appends, task)
        self._drop(task)
        for name, _, entries in appends:
            self._write_all(name, entries)
        for message, raw in publishes:
            self.publish(message, raw)

    def nack(
        self, lease: Lease, error: str, not_before: int, dead: str, publishes: Sequence[tuple[Message, bytes]]
    ) -> None:
        task = self._held(lease)
        is_over = task.cancelled or task.message.deadline <= self.now
        if publishes:
            self._check_publishes(publishes, leaving=task if dead or is_over else None)
        if task.cancelled or (not dead and is_over):
            self._drop(task, "cancelled" if task.cancelled else "expired")
        elif dead:
            self._bury(task, dead)
        else:
            if error:
                retrying = {"attempt": lease.attempt, "error": error, "not_before": not_before}
                entry = Draft("retrying", retrying, attempt=lease.attempt, token=lease.token)
                self._write_all(task.message.log, encode([entry]))
                task.raised += 1
            self.changes.happened.append("retried" if error else "returned")
            self.tasks.free(task)
            task.not_before = not_before
            self.tasks.wait(task, self.now)
            self.changes.update_task.append(task.update_row())
            self.changes.rows += 1
            self.offers[task.message.topic] = None
        for message, raw in publishes:
            self.publish(message, raw)

    def set_tenant(self, tenant: Tenant) -> None:
        self.tasks.set_tenant(tenant, self.now)
        self.offers.update(dict.fromkeys(self.tasks.topics))
        self.changes.upsert_tenant.append((tenant.name, msgspec.msgpack.encode(tenant)))
        self.changes.rows += 1

    def discard(self, topic: str, positions: Sequence[int], publishes: Sequence[tuple[Message, bytes]]) -> int:
        gone = {position for (position,) in self.changes.delete_dead}
        wanted = dict.fromkeys(positions)
        there = [each for each in wanted if each not in gone and self._store.query("find_dead", each, topic)]
        if publishes:
            if len(there) < len(wanted):
                raise Conflict(f"{topic} has not all of these dead letters any more. List them again.")
            self._check_publishes(publishes)
        self.changes.delete_dead.extend((position,) for position in there)
        self.changes.rows += len(there)
        for position in there:
            release(-position, self._store, self.now, self.changes)
        for message, raw in publishes:
            self.publish(message, raw)
        return len(there)

    def append(self, name: str, entries: Encoded, expect: int | None, lease: Lease | None, title: str) -> int:
        if lease is not None:
            self._held(lease)
        self._check_expected(name, expect)
        return self._write_all(name, entries, title)

    def _check_expected(self, name: str, expect: int | None) -> None:
        if expect is not None:
            following = self.logs.head(name) + 1
            if following != expect:
                raise Conflict(f"{name} goes on at offset {following}, not {expect}: somebody else appended. Read on.")

    def _write_all(self, name: str, entries: Encoded, title: str = "") -> int:
        """Returns the offset of the first entry."""
        log = self.logs.find(name)
        if not entries:
            return log.next if log else 0
        if log is None:
            log = self.logs.create(name, title, 0, self.now, self.changes)
        for _, _, content in entries:
            refer_to_data(log.id, content, self.changes)
        offsets = [self._write(log, entry_id, content) for entry_id, _, content in entries]
        if "cancelled" in [kind for _, kind, _ in entries]:
            self._cancel(name)
        return offsets[0]

    def _write(self, log: LogState, entry_id: str, content: bytes) -> int:
        offset = self.logs.append(log, entry_id, content, self.now, self.changes)
        self.written[log.name] = log.next - 1
        return offset

    def _cancel(self, log: str) -> None:
        """A call was cancelled: its task need not wait, and its worker is told."""
        task = self.tasks.by_log.get(log)
        if task is None:
            return
        if task.token:
            task.cancelled = True
            self.changes.cancel_task.append((task.position,))
            self.changes.rows += 1
            self.news.append((task.worker, task.token, "cancelled"))
        else:
            self._drop(task, "cancelled")

    def stats(self, name: str, dead: int) -> TopicStats:
        if dead and name not in self.tasks.topics:
            return TopicStats(name, 0, 0, dead, None)
        topic = self.topic(name)
        running = topic.use.running
        return TopicStats(name, topic.use.unfinished - running, running, dead, topic.waiting.oldest())
