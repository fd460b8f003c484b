"""The inboxes of all clients: InterestSet and ReadySets in memory, fed after each commit."""

from asyncio import Future
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from agentmesh.broker.embedded.logs import Logs
from agentmesh.broker.embedded.turns import Turns
from agentmesh.broker.interest import InterestSet
from agentmesh.broker.ready import ReadySet
from agentmesh.clock import resolve
from agentmesh.contracts import Batch
from agentmesh.errors import PayloadCorrupt
from agentmesh.ids import check_lite_topic

LOCK: Final = 30_000
SILENCE: Final = 180_000
COMMITTED: Final = 10_000
"""How many committed offsets a client keeps beside its subscriptions; the oldest go first."""

_BATCH_ENTRIES: Final = 256


class Client:
    """What the broker knows of one inbox."""

    __slots__ = ("committed", "name", "ready", "revoked", "seen", "waiter")

    def __init__(self, name: str, now: int) -> None:
        self.name = name
        self.ready = ReadySet()
        self.committed: dict[str, int] = {}
        self.revoked: list[str] = []
        self.seen = now
        self.waiter: Future[None] | None = None

    def wake(self) -> None:
        if self.waiter is not None:
            resolve(self.waiter, None)


class Inboxes:
    """All clients. Nothing here is stored: a client that finds itself forgotten syncs its set again."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._interests = InterestSet()
        self._clients: dict[str, Client] = {}

    def client(self, name: str, now: int) -> Client:
        """The client of that name, seen now."""
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = Client(name, now)
        client.seen = now
        return client

    def subscribe(self, client: Client, name: str, after: int | None, exclusive: bool) -> None:
        for loser in self._interests.add(client.name, name, exclusive=exclusive):
            other = self._clients[loser]
            other.ready.removed(name)
            other.revoked.append(name)
            other.wake()
        if name in client.revoked:
            client.revoked.remove(name)
        position = client.committed.get(name, -1) if after is None else after
        client.ready.subscribed(name, position, self._logs.head(name))
        if client.ready:
            client.wake()

    def unsubscribe(self, client: Client, name: str) -> None:
        if self._interests.remove(client.name, name):
            client.ready.removed(name)
        while len(client.committed) > COMMITTED:
            del client.committed[next(iter(client.committed))]

    def sync(self, client: Client, interests: Mapping[str, int | None]) -> None:
        for name in self._interests.missing(client.name, interests):
            self.unsubscribe(client, name)
        for name, after in interests.items():
            if name not in client.ready or after is not None:
                self.subscribe(client, name, after, exclusive=False)

    def written(self, names: Iterable[str]) -> None:
        """These LiteTopics have new entries, committed: wake their readers."""
        for name in names:
            for reader in self._interests.clients(name):
                client = self._clients[reader]
                if client.ready.written(name, self._logs.head(name)):
                    client.wake()

    def take(self, client: Client, limit: int, now: int) -> list[Batch]:
        """What is ready now, locked."""
        client.ready.release(now)
        batches = [Batch(name, [], revoked=True) for name in client.revoked]
        client.revoked.clear()
        for name in client.ready.take(limit, now + LOCK):
            try:
                entries = self._logs.read(name, client.ready.position(name), _BATCH_ENTRIES)
            except PayloadCorrupt:
                batches.append(Batch(name, ()))  # one log that cannot be read keeps nobody from the others
                continue
            if entries:
                batches.append(Batch(name, entries))
            else:
                client.ready.committed(name, client.ready.position(name), -1)
        return batches

    def commit(self, client: Client, offsets: Mapping[str, int]) -> None:
        for name, offset in offsets.items():
            client.committed[name] = max(offset, client.committed.get(name, -1))
            client.ready.committed(name, offset, self._logs.head(name))
        if client.ready:
            client.wake()

    def forget(self, client: Client) -> None:
        self._interests.drop(client.name)
        self._clients.pop(client.name, None)
        client.wake()

    def expired(self, names: Iterable[str]) -> None:
        """These LiteTopics were removed: one of the same name begins anew."""
        for name in names:
            for client in self._clients.values():
                client.committed.pop(name, None)
            for reader in self._interests.clients(name):
                self._clients[reader].ready.subscribed(name, -1, -1)

    def knows(self, client: Client) -> bool:
        """False once it was forgotten."""
        return self._clients.get(client.name) is client

    def wake_all(self) -> None:
        """Let every poll return."""
        for client in self._clients.values():
            client.wake()

    def forget_silent(self, now: int) -> None:
        """Forget the clients that have been silent for three minutes; one that waits in a poll is not silent."""
        for client in list(self._clients.values()):
            if client.waiter is None and now - client.seen > SILENCE:
                self.forget(client)


class EmbeddedInbox:
    """One client's `Inbox`."""

    def __init__(self, turns: Turns, inboxes: Inboxes, name: str, now: Callable[[], int]) -> None:
        self._turns = turns
        self._inboxes = inboxes
        self._name = name
        self._now = now

    async def subscribe(self, lite_topic: str, after: int | None = None, exclusive: bool = False) -> None:
        self._inboxes.subscribe(self._client(), check_lite_topic(lite_topic), after, exclusive)

    async def unsubscribe(self, lite_topic: str) -> None:
        self._inboxes.unsubscribe(self._client(), lite_topic)

    async def sync(self, interests: Mapping[str, int | None]) -> None:
        for name in interests:
            check_lite_topic(name)
        self._inboxes.sync(self._client(), interests)

    async def poll(self, limit: int, wait: float) -> Sequence[Batch]:
        client = self._client()
        deadline = self._now() + round(wait * 1000)
        while not self._turns.closed and self._inboxes.knows(client):
            batches = self._inboxes.take(client, limit, self._now())
            left = deadline - self._now()
            if batches or left <= 0:
                return batches
            release = client.ready.next_release()
            if release is not None:
                left = min(left, max(1, release - self._now()))
            client.waiter = self._turns.new_future()
            try:
                await self._turns.within(client.waiter, left / 1000, None)
            finally:
                client.waiter = None
                client.seen = self._now()
        return ()

    async def commit(self, offsets: Mapping[str, int]) -> None:
        self._inboxes.commit(self._client(), offsets)

    async def close(self) -> None:
        self._inboxes.forget(self._client())

    def _client(self) -> Client:
        self._turns.check_open()
        return self._inboxes.client(self._name, self._now())
