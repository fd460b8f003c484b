"""What may begin, and what may be published: the limits of topics and tenants, over the tasks in memory."""

from collections.abc import Iterable

from agentmesh.broker.embedded.tasks import Task, Tasks, Topic
from agentmesh.message import Message
from agentmesh.scheduling.limits import Use, check_room, has_room


class Gate:
    """Stands between what waits and the workers where a topic `is_limited` or tenants are (`Tasks.limiting`)."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks

    def take(self, topic: Topic, lanes: tuple[str, ...], now: int) -> int | None:
        """The next task that may begin. What must wait for a token is woken by a timer; what must wait for room, by
        the end of what takes it up.
        """
        tasks, quota = self._tasks, topic.delivery.quota
        if topic.bucket and (wait := topic.bucket.wait(now)):
            tasks.refills.set(topic.name, now + wait)
            return None
        floor = 0
        if quota.total and quota.over == "queue":
            floor = topic.use.floor(quota.total)
            if topic.waiting.deepest < floor:
                return None

        def may(tenant: str, depth: int) -> bool:
            _, in_topic, account = topic.of_tenant[tenant]
            wait = account.bucket.wait(now) if account.bucket else 0
            if wait:
                tasks.tenant_refills.set(tenant, now + wait)
            elif has_room(quota, in_topic, account, depth):
                return True
            account.barred[topic.name] = None
            return False

        return topic.waiting.take(lanes, now, may, floor)

    def begun(self, topic: Topic, task: Task) -> None:
        """The task takes its tokens."""
        for bucket in (topic.bucket, task.uses[2].bucket):
            if bucket:
                bucket.spend()

    def check(self, coming: Iterable[Message], leaving: Task | None = None) -> None:
        """Raise `QuotaExceeded` if these new messages, less the task that is `leaving`, are too many."""
        more: dict[Use, int] = dict.fromkeys(leaving.uses, -1) if leaving else {}
        for message in coming:
            topic, uses = self._tasks.topics[message.topic], self._tasks.uses(message)
            in_topic, of_tenant, in_all = (use.unfinished + more.get(use, 0) for use in uses)
            check_room(topic.name, topic.delivery.quota, uses[2].tenant, (in_topic, of_tenant, in_all))
            for use in uses:
                more[use] = more.get(use, 0) + 1
