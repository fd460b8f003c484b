"""The callers of a drill. One that was killed begins again: it reads what it wrote, and starts what it meant to start
with the same keys.
"""

import asyncio
import hashlib
from collections.abc import Coroutine
from typing import Any, Final

from agentmesh.cli.chaos.agents import RUNS, WORK, nonce_of
from agentmesh.cli.chaos.effects import Effects, read
from agentmesh.cli.chaos.processes import Orders, on_drain
from agentmesh.errors import BrokerUnavailable, MeshError, TopicNotFound
from agentmesh.mesh import Mesh
from agentmesh.message import TERMINAL, Event
from agentmesh.runtime.call import Call

_STARTERS: Final = 4
_PAUSE: Final = 0.025
_IN_FLIGHT: Final = 96
_AGAIN: Final = 0.1
_NOTE: Final = 0.05
_SHORT: Final = 1.5

_KINDS: Final = (
    ("plain", 52),
    ("once", 10),
    ("child", 8),
    ("stream", 9),
    ("slow", 9),
    ("flaky", 3),
    ("fail", 2),
    ("cancel", 3),
    ("short", 2),
    ("run", 2),
)
"""What the calls are, in parts of a hundred."""


class Past:
    """What the processes of this name wrote before."""

    def __init__(self, orders: Orders) -> None:
        self.open: dict[str, None] = {}
        self.count = 0
        self.notes = 0
        self.seen = -1
        for line in read(orders.effects, orders.name):
            if line.word == "intent":
                self.open[line.arguments[0]] = None
                self.count = max(self.count, int(line.arguments[0].rpartition("-")[2]))
            elif line.word == "noted":
                self.notes = max(self.notes, int(line.arguments[2]))
            elif line.word == "saw":
                self.seen = int(line.arguments[1])
        calls = {line.arguments[0]: line.arguments[1] for line in read(orders.effects, orders.name) if _is_start(line)}
        for line in read(orders.effects, orders.name):
            if line.word == "ended":
                self.open.pop(calls.get(line.arguments[0], ""), None)


def _is_start(line: Any) -> bool:
    return bool(line.word == "acknowledged")


class Caller:
    """Starts calls, sees them through, appends to a log of its own, and follows that of its neighbour."""

    def __init__(self, mesh: Mesh, orders: Orders, past: Past, effects: Effects) -> None:
        self._mesh = mesh
        self._orders = orders
        self._past = past
        self._effects = effects
        self._count = past.count
        self._draining = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_IN_FLIGHT)
        if orders.drain:
            self._draining.set()

    def drain(self) -> None:
        """Begin nothing new."""
        self._draining.set()

    async def run(self) -> None:
        """Go on until told to drain and all has ended."""
        for key in self._past.open:
            self._begin(self._see_through(key, is_new=False))
        names = self._orders.others
        neighbour = names[(names.index(self._orders.name) + 1) % len(names)]
        follower = asyncio.create_task(self._follow(neighbour))
        others = [asyncio.create_task(self._start_calls()) for _ in range(_STARTERS)]
        others.append(asyncio.create_task(self._take_notes()))
        await asyncio.gather(*others)
        while self._calls:
            await asyncio.gather(*self._calls)
        follower.cancel()
        self._effects.write("finished")

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _start_calls(self) -> None:
        while not self._draining.is_set():
            await self._room.acquire()
            self._count += 1
            started = asyncio.Event()
            self._begin(self._in_room(f"{self._orders.name}-{self._count}", started))
            await started.wait()
            await asyncio.sleep(_PAUSE)

    async def _in_room(self, key: str, started: asyncio.Event) -> None:
        try:
            await self._see_through(key, is_new=True, started=started)
        finally:
            started.set()
            self._room.release()

    async def _see_through(self, key: str, *, is_new: bool, started: asyncio.Event | None = None) -> None:
        """Start the call of that key and watch it to its end, whatever goes wrong on the way."""
        if is_new:
            self._effects.write("intent", key)
        kind = kind_of(key)
        while True:
            try:
                call = await self._start(key, kind)
                self._effects.write("acknowledged", call.id, key)
                if started:
                    started.set()
                await self._watch(call, kind)
                if chance(key, "again") < 12:
                    call = await self._start(key, kind)
                    self._effects.write("acknowledged", call.id, key)
                    await self._watch(call, kind)
                return
            except (BrokerUnavailable, TopicNotFound) as error:
                self._effects.write("trouble", "caller", type(error).__name__)
            except MeshError as error:
                self._effects.write("trouble", "caller", f"{type(error).__name__}:{error}")
            await asyncio.sleep(_AGAIN)

    async def _start(self, key: str, kind: str) -> Call:
        if kind == "run":
            return await self._mesh.run(key, supervisor=RUNS, key=key)
        skill = {"cancel": "slow", "short": "slow"}.get(kind, kind)
        deadline = _SHORT if kind == "short" else None
        told = {"key": key} if kind == "child" else {}
        return await self._mesh.start(WORK, told, skill=skill, key=key, deadline=deadline)

    async def _watch(self, call: Call, kind: str) -> None:
        """Write down how it ends, and what it shows."""
        if kind == "cancel":
            await asyncio.sleep(_AGAIN)
            await call.cancel()
        shown: dict[str, None] = {}
        end: Event | None = None
        async for event in call.events():
            if event.type == "accepted":
                shown = {}
            elif event.type == "delta":
                shown[event.data["text"]] = None
            elif event.type in TERMINAL:
                end = event
        assert end
        for nonce in shown if end.type == "completed" else ():
            self._effects.write("shown", call.id, nonce)
        self._effects.write("ended", call.id, end.type, nonce_of(end.data) if end.data else "-")

    async def _take_notes(self) -> None:
        """Append to a log of its own, one entry after the other."""
        log = self._mesh.lite_topic(self._orders.name)
        number = self._past.notes
        while not self._draining.is_set():
            number += 1
            while True:
                try:
                    offset = await log.append(number, id=f"note-{number}")
                    break
                except MeshError as error:
                    self._effects.write("trouble", "notes", type(error).__name__)
                    await asyncio.sleep(_AGAIN)
            self._effects.write("noted", log.name, offset, number)
            await asyncio.sleep(_NOTE)

    async def _follow(self, name: str) -> None:
        """Follow somebody's log from where this caller's predecessor stopped."""
        seen = self._past.seen
        while True:
            try:
                async for entry in self._mesh.lite_topic(name).follow(seen):
                    self._effects.write("saw", name, entry.offset, entry.data)
                    seen = entry.offset
            except MeshError as error:
                self._effects.write("trouble", "follower", type(error).__name__)
                await asyncio.sleep(_AGAIN)


async def call(orders: Orders) -> None:
    """Be a caller."""
    past = Past(orders)
    effects = Effects(orders.effects, orders.name, orders.number)
    async with orders.open(effects) as mesh:
        caller = Caller(mesh, orders, past, effects)
        on_drain(asyncio.get_running_loop(), caller.drain)
        await caller.run()


def chance(key: str, what: str) -> int:
    """0 to 99, the same for the same key."""
    return int.from_bytes(hashlib.blake2b(f"{what} {key}".encode(), digest_size=4).digest(), "big") % 100


def kind_of(key: str) -> str:
    """What the call of that key is."""
    left = chance(key, "kind")
    for kind, share in _KINDS:
        left -= share
        if left < 0:
            return kind
    raise AssertionError("the shares make a hundred")
