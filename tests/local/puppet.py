"""A program that does what a test tells it: another process of the same folder.

It is started once and forks itself for each line `SOCKET` on its standard input. The fork connects there, reads
requests `{"n": number, "do": name, "with": arguments}` as lines of JSON, and answers each with its number, when it is
done: `{"n": number, "value": …}`, or `{"n": number, "error": [type, text]}`. Requests run side by side.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from agentmesh.broker.local import LocalBroker, open_local
from agentmesh.card import AgentCard, AgentSkill
from agentmesh.clock import SystemClock
from agentmesh.contracts import Append, Delivery, Lease, Registration, Retry
from agentmesh.errors import BrokerUnavailable
from agentmesh.message import Draft, Message
from agentmesh.registry.local import LocalRegistry


def card(name: str) -> AgentCard:
    return AgentCard(
        name=name, description=f"{name} for a test.", version="1", skills=(AgentSkill(id="do", name="do"),)
    )


class Puppet:
    """What a test can have done."""

    def __init__(self) -> None:
        self.leases: dict[str, Lease] = {}
        self.seen: list[tuple[str, str]] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._broker: LocalBroker | None = None

    @property
    def broker(self) -> LocalBroker:
        assert self._broker
        return self._broker

    async def open(self, folder: str, alone: bool = True, durability: Any = "normal") -> None:
        self._broker = await open_local(folder, SystemClock(), alone=alone, durability=durability)

    async def close(self) -> None:
        await self.broker.close()

    async def without_hosts(self) -> None:
        """From now on no program can be started here."""
        sys.executable = "/nowhere/python"

    async def hosts(self) -> bool:
        return self.broker.hosted is not None

    async def declare(self, topic: str, lease: float = 30, lost: int = 3) -> None:
        await self.broker.declare(topic, Delivery(lease=lease, retry=Retry(lost=lost)))

    async def publish(self, topic: str, *calls: str) -> list[bool]:
        return list(await asyncio.gather(*(self.broker.publish(Message(id=call, topic=topic)) for call in calls)))

    async def append(self, name: str, data: Any, entry_id: str = "", expect: int | None = None) -> int:
        return await self.broker.append(name, [Draft("data", data, id=entry_id)], expect=expect)

    async def read(self, name: str, wait_for: int = 0) -> list[Any]:
        while len(entries := await self.broker.read(name, limit=10_000)) < wait_for:
            await asyncio.sleep(0.01)
        return [entry.data for entry in entries]

    async def lease(self, topic: str, limit: int = 1, wait: float = 20) -> list[tuple[str, int]]:
        """The calls that were leased, and which attempt it is."""
        found = await self.broker.lease([topic], limit, wait, worker=f"puppet-{os.getpid()}")
        self.leases.update((lease.message.id, lease) for lease in found)
        return [(lease.message.id, lease.attempt) for lease in found]

    async def extend(self, *calls: str, wait: float = 0) -> dict[str, str]:
        tokens = {self.leases[call].token: call for call in calls}
        news = await self.broker.extend(f"puppet-{os.getpid()}", list(tokens), wait)
        return {tokens[token]: what for token, what in news.items()}

    async def ack(self, call: str, result: Any = "fine", effects: str = "") -> None:
        lease = self.leases[call]
        end = Draft("completed", {"result": result}, attempt=lease.attempt, token=lease.token)
        notes = [Append(effects, [Draft("data", call)])] if effects else []
        await self.broker.ack(lease, [Append(call, [end]), *notes])

    async def nack(self, call: str) -> None:
        await self.broker.nack(self.leases[call], error="told to")

    async def work(self, topic: str, effects: str) -> None:
        """Lease and acknowledge for ever, with a note of each in `effects`, in the same transaction."""
        while True:
            try:
                for call, _ in await self.lease(topic, 5, 5):
                    await self.ack(call, effects=effects)
            except BrokerUnavailable:
                await asyncio.sleep(0.05)

    async def begin(self, do: str, *arguments: Any) -> None:
        """Do something for as long as it takes, and answer at once."""
        self.tasks.append(asyncio.create_task(getattr(self, do)(*arguments)))

    async def block(self, seconds: float) -> None:
        """What a handler does that should not."""
        time.sleep(seconds)

    async def fork(self) -> int:
        """A child that does nothing, such as those of `multiprocessing`."""
        pid = os.fork()
        if pid == 0:
            os.closerange(0, 3)
            while True:
                time.sleep(60)
        return pid

    async def register(self, topic: str, version: str = "1") -> None:
        registration = Registration(topic, version, card(topic), f"puppet-{os.getpid()}")
        await LocalRegistry(self.broker).register(registration)

    async def renew(self) -> None:
        await LocalRegistry(self.broker).renew(f"puppet-{os.getpid()}")

    async def remove(self, topic: str, everywhere: bool = False) -> None:
        await LocalRegistry(self.broker).remove(topic, "" if everywhere else f"puppet-{os.getpid()}")

    async def alive(self) -> list[str]:
        return [each.topic for each in await LocalRegistry(self.broker).list()]

    async def watch(self) -> None:
        async for change in LocalRegistry(self.broker).watch():
            self.seen.append((change.kind, change.registration.topic))

    async def changes(self) -> Sequence[tuple[str, str]]:
        return self.seen

    async def subscribe(self, *names: str, exclusive: bool = False) -> None:
        for name in names:
            await self.broker.inbox("me").subscribe(name, -1, exclusive)

    async def poll(self, wait: float = 20) -> list[Any]:
        """What came, committed."""
        inbox = self.broker.inbox("me")
        batches = await inbox.poll(100, wait)
        await inbox.commit({batch.lite_topic: batch.entries[-1].offset for batch in batches if batch.entries})
        return [
            [batch.lite_topic, "revoked" if batch.revoked else [entry.data for entry in batch.entries]]
            for batch in batches
        ]


async def serve(path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path, limit=10_000_000)
    puppet = Puppet()
    running: set[asyncio.Task[None]] = set()

    async def do(number: int, name: str, arguments: list[Any], more: dict[str, Any]) -> None:
        try:
            answer = {"n": number, "value": await getattr(puppet, name)(*arguments, **more)}
        except Exception as error:
            answer = {"n": number, "error": [type(error).__name__, str(error)]}
        writer.write(json.dumps(answer).encode() + b"\n")

    writer.write(json.dumps({"n": 0, "value": os.getpid()}).encode() + b"\n")
    while line := await reader.readline():
        asked = json.loads(line)
        task = asyncio.create_task(do(asked["n"], asked["do"], asked["with"], asked["more"]))
        running.add(task)
        task.add_done_callback(running.discard)
    os._exit(0)  # the test is over


def main() -> None:
    for line in sys.stdin:
        if os.fork() == 0:
            os.close(0)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            asyncio.run(serve(line.strip()))
            return


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that were killed
    main()
