"""A program that is killed in the middle of its work, at a point that is chosen.

It is started once and forks itself for every `FOLDER WHEN NUMBER` that comes on its standard input: the fork works on
the mesh in FOLDER and writes each fact that the broker acknowledged to FOLDER/facts, as one line of JSON. It kills
itself with SIGKILL right before or right after its NUMBER-th commit, or amid a transaction, before its NUMBER-th
statement of SQL. The answer is `killed` or `finished`.
"""

import asyncio
import itertools
import json
import os
import signal
import sqlite3
import sys
from typing import Any

from agentmesh.broker.embedded.store import Changes, Store
from agentmesh.broker.local import open_local
from agentmesh.clock import SystemClock
from agentmesh.contracts import Append, Delivery, Lease, Retry
from agentmesh.message import Draft, Message

WORK, CHILDREN = "WorkTask", "ChildTask"


class Facts:
    """What was acknowledged, as soon as it was."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def tell(self, what: str, **more: Any) -> None:
        os.write(self.file, (json.dumps({"what": what, **more}) + "\n").encode())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(when: str, number: int) -> None:
    """Arrange the death of this process."""
    commits, statements = itertools.count(1), itertools.count(1)
    commit, prepare = Store.commit, Store._prepare

    def dying_commit(self: Store, changes: Changes) -> None:
        this = next(commits)
        if when == "before" and this == number:
            die()
        commit(self, changes)
        if when == "after" and this == number:
            die()

    def dying_prepare(self: Store, db: sqlite3.Connection) -> None:
        db.set_trace_callback(lambda _: die() if next(statements) == number else None)
        prepare(self, db)

    Store.commit = dying_commit  # type: ignore[method-assign]
    if when == "amid":
        Store._prepare = dying_prepare  # type: ignore[method-assign]


def said(lease: Lease, kind: str, data: Any) -> Draft:
    return Draft(kind, data, attempt=lease.attempt, token=lease.token)


async def work(folder: str, facts: Facts) -> None:
    """One of everything."""
    broker = await open_local(folder, SystemClock())

    async def publish(call: str, **fields: Any) -> None:
        await broker.publish(Message(id=call, topic=WORK, body=call.encode(), **fields))
        facts.tell("published", call=call)

    async def lease() -> Lease:
        (found,) = await broker.lease([WORK], 1, 5, worker="w")
        facts.tell("leased", call=found.message.id, attempt=found.attempt, token=found.token)
        return found

    async def end(lease: Lease, child: str) -> None:
        result = Append(lease.message.id, [said(lease, "completed", {"result": "first"})])
        note = Append("log-own", [Draft("data", {"of": lease.message.id}, id=lease.message.id)])
        await broker.ack(lease, [result, note], [Message(id=child, topic=CHILDREN)])
        facts.tell("acked", call=lease.message.id, child=child)

    for topic in (WORK, CHILDREN):
        await broker.declare(topic, Delivery(retry=Retry(lost=0)))
        facts.tell("declared", topic=topic)
    await publish("call-a", priority=9)
    await asyncio.gather(publish("call-b", priority=8), publish("call-c", priority=7), publish("call-d", priority=6))
    first = await lease()
    deltas = [said(first, "delta", {"text": text}) for text in "12"]
    await broker.append("call-a", deltas, lease=first)
    facts.tell("appended", call="call-a", count=4)
    await broker.append("log-own", [Draft("data", n, id=f"k{n}") for n in range(3)], expect=0)
    facts.tell("noted")
    await end(first, "call-child-a")
    await broker.nack(await lease(), error="TimeoutError: slow")
    facts.tell("raised", call="call-b")
    again = await lease()
    await broker.append("call-d", [Draft("cancelled", {"by": "me"}, id="cancelled")])
    facts.tell("cancelled", call="call-d")
    await broker.nack(await lease(), dead="poison")
    facts.tell("buried", call="call-c")
    await publish("call-e")
    await lease()
    await broker.append("call-e", [Draft("cancelled", {"by": "me"}, id="cancelled")])
    facts.tell("cancelled", call="call-e")
    await end(again, "call-child-b")
    await publish("call-f")
    await lease()
    facts.tell("finished")
    die()


def run(folder: str, when: str, number: int) -> None:
    """In the fork."""
    facts = Facts(f"{folder}/facts")
    kill_at(when, number)
    asyncio.run(work(folder, facts))


def main() -> None:
    for line in sys.stdin:
        folder, when, number = line.split()
        child = os.fork()
        if child == 0:
            run(folder, when, int(number))
        _, status = os.waitpid(child, 0)
        print("killed" if os.WIFSIGNALED(status) else f"failed {status}", flush=True)


if __name__ == "__main__":
    main()
