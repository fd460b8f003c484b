"""The tasks of all topics in memory: what waits, what is leased, and what falls due. Rebuilt from the store at open."""

from asyncio import Future
from collections.abc import Sequence
from typing import Final

import msgspec

from agentmesh.broker.embedded.store import Store
from agentmesh.broker.process import is_dead
from agentmesh.contracts import Delivery, Lease
from agentmesh.errors import PayloadCorrupt
from agentmesh.log import get_logger
from agentmesh.message import Message, decode_message
from agentmesh.scheduling.order import Waiting
from agentmesh.scheduling.timers import Timers

_BODIES_IN_MEMORY: Final = 64_000_000
_CLAIM: Final = 10_000


class Task:
    """A message that is not acknowledged, with what its row says and, while it is leased, by whom and until when."""

    __slots__ = (
        "attempt",
        "cancelled",
        "expires",
        "holder",
        "lost",
        "message",
        "not_before",
        "position",
        "raised",
        "token",
        "trimmed",
        "worker",
    )

    def __init__(self, position: int, message: Message, not_before: int) -> None:
        self.position = position
        self.message = message
        self.not_before = not_before
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
        lanes: Sequence[str],
        holder: str,
        future: Future[Sequence[Lease]],
    ) -> None:
        self.topics = topics
        self.holder = holder
        self.lanes = lanes
        self.limit = limit
        self.worker = worker
        self.future = future
        self.granted: list[Lease] = []
        self.closed = False


class Topic:
    """One topic: its declaration, the positions that wait, and the workers that wait for them."""

    __slots__ = ("delivery", "name", "requests", "running", "waiting")

    def __init__(self, name: str, delivery: Delivery) -> None:
        self.name = name
        self.delivery = delivery
        self.waiting = Waiting()
        self.running = 0
        self.requests: dict[LeaseRequest, None] = {}


class Tasks:
    """All topics and tasks, by position, log and token."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.topics: dict[str, Topic] = {}
        self.by_token: dict[str, Task] = {}
        self._freed: dict[str, tuple[str, int]] = {}
        self._untrimmed: list[Task] = []
        self._clear()

    def _clear(self) -> None:
        self.by_position: dict[int, Task] = {}
        self.by_log: dict[str, Task] = {}
        self.by_token = {}
        self.delayed: Timers[int] = Timers(1)
        self.leases: Timers[str] = Timers(50)
        self.deadlines: Timers[int] = Timers(1000)
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
        before = self.topics
        self._clear()
        self._freed.clear()
        self.topics = {}
        for name, delivery in topics:
            topic = self.topics[name] = Topic(name, msgspec.msgpack.decode(delivery, type=Delivery))
            if name in before:
                topic.requests = before[name].requests
        self._next = last + 1
        alive: dict[str, bool] = {self._store.ended: False, "": False}
        for position, attempt, token, holder, lost, raised, not_before, cancelled, raw in rows:
            try:
                message = decode_message(raw)
            except PayloadCorrupt as error:  # its row stays where it is, and the others go on
                get_logger(position=position).error("a task cannot be read and is left out", error=str(error))
                continue
            task = Task(position, message, not_before)
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

    def add(self, message: Message, now: int) -> Task:
        """A new task, waiting."""
        task = Task(self._next, message, message.not_before)
        self._next += 1
        self._insert(task)
        self.wait(task, now)
        return task

    def wait(self, task: Task, now: int) -> None:
        """Let it wait for a worker, from its `not_before` on."""
        if task.not_before > now:
            self.delayed.set(task.position, task.not_before)
        else:
            message = task.message
            self.topics[message.topic].waiting.add(task.position, message.priority, message.lane)

    def hold(self, task: Task, token: str, holder: str, worker: str, expires: int) -> None:
        """Lease it to a `worker` of the process `holder`."""
        task.token, task.holder, task.worker, task.expires = token, holder, worker, expires
        self.by_token[token] = task
        self.leases.set(token, expires)
        self.topics[task.message.topic].running += 1

    def renew(self, task: Task, expires: int) -> None:
        task.expires = expires
        self.leases.set(task.token, expires)

    def free(self, task: Task) -> None:
        """End its lease."""
        self._freed[task.token] = (task.worker, task.expires)
        del self.by_token[task.token]
        self.leases.remove(task.token)
        self.topics[task.message.topic].running -= 1
        task.token = task.holder = ""

    def remove(self, task: Task) -> None:
        """Forget it, leased or waiting."""
        if task.token:
            self.free(task)
        self.topics[task.message.topic].waiting.remove(task.position)
        self.delayed.remove(task.position)
        self.deadlines.remove(task.position)
        del self.by_position[task.position]
        del self.by_log[task.message.log]
        if not task.trimmed:
            self._bodies -= len(task.message.body)

    def settle(self) -> None:
        """The turn is committed: the leases that it ended are over for good."""
        self._freed.clear()
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
