"""The agents of a drill: what they do tells which run of which handler did it."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import uuid4

import msgspec

from agentmesh.cli.chaos.effects import Effects
from agentmesh.cli.chaos.plan import LEASE
from agentmesh.contracts import Broker, Decision, Delivery, Lease, Outcome, PlannedCall, Registration, Retry
from agentmesh.errors import Retryable
from agentmesh.message import TERMINAL
from agentmesh.runtime.agent import Agent, skill
from agentmesh.runtime.context import Context
from agentmesh.supervisor import Supervisor

WORK: Final = "ChaosWorkTask"
LEAF: Final = "ChaosLeafTask"
RUNS: Final = "ChaosSupervisorTask"

_RETRY: Final = Retry(lost=6, on=("Retryable",), attempts=4, backoff=0.1)
_DELIVERY: Final = Delivery(concurrency=24, lease=LEASE, retry=_RETRY)
_ROUNDS: Final = 2


class Told:
    """An agent that writes down what it does."""

    effects: Effects

    def begin(self, ctx: Context) -> str:
        """A handler runs; the nonce that tells this run from all others."""
        nonce = uuid4().hex[:12]
        self.effects.write("run", ctx.call_id, nonce)
        return nonce


class ChaosWork(Agent, Told):
    """Works, and says who did."""

    topic = WORK
    delivery = _DELIVERY

    def __init__(self, effects: Effects) -> None:
        self.effects = effects

    @skill
    async def plain(self, *, ctx: Context) -> dict[str, str]:
        """Take a moment."""
        nonce = self.begin(ctx)
        await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311 - so that a handler may be anywhere when it is hit
        return {"nonce": nonce}

    @skill
    async def slow(self, *, ctx: Context) -> dict[str, str]:
        """Take longer than a stop, sometimes."""
        nonce = self.begin(ctx)
        await asyncio.sleep(random.uniform(0.3, 2.5))  # noqa: S311
        return {"nonce": nonce}

    @skill
    async def once(self, *, ctx: Context) -> dict[str, str]:
        """Record two steps."""
        nonce = self.begin(ctx)
        for step in ("a", "b"):
            value = await ctx.once(step, lambda: uuid4().hex[:12])
            self.effects.write("step", ctx.call_id, step, value)
            await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311
        return {"nonce": nonce}

    @skill
    async def child(self, key: str, *, ctx: Context) -> dict[str, str]:
        """Call another agent."""
        nonce = self.begin(ctx)
        value = await ctx.call(LEAF, {"key": key}, skill="leaf")
        self.effects.write("step", ctx.call_id, "child", value["nonce"])
        return {"nonce": nonce}

    @skill
    async def stream(self, *, ctx: Context) -> dict[str, str]:
        """Say it in pieces."""
        nonce = self.begin(ctx)
        for _ in range(4):
            await ctx.emit(nonce)
            await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311
        return {"nonce": nonce}

    @skill
    async def flaky(self, *, ctx: Context) -> dict[str, str]:
        """Want another attempt, at first."""
        nonce = self.begin(ctx)
        if ctx.attempt < 3:
            raise Retryable("not yet", after=0.05)
        return {"nonce": nonce}

    @skill
    async def fail(self, *, ctx: Context) -> dict[str, str]:
        """Fail, and say who did."""
        raise AssertionError(self.begin(ctx))


class ChaosLeaf(Agent, Told):
    """Is called by others."""

    topic = LEAF
    delivery = _DELIVERY

    def __init__(self, effects: Effects) -> None:
        self.effects = effects

    @skill
    async def leaf(self, key: str, step: str = "", decision: str = "", *, ctx: Context) -> dict[str, str]:
        """Take a moment; if a supervisor decided on it, write that down."""
        nonce = self.begin(ctx)
        if step:
            self.effects.write("step", key, step, decision)
        await asyncio.sleep(random.uniform(0, 0.05))  # noqa: S311
        return {"nonce": nonce}


class ChaosSupervisor(Supervisor):
    """Carries out what the planner of the drill decides."""

    topic = RUNS
    delivery = Delivery(concurrency=32, timeout=0, lease=LEASE, retry=Retry(lost=0))


def leased(agent: Agent, seconds: float) -> Agent:
    """The agent, with leases of that length."""
    agent.delivery = msgspec.structs.replace(agent.delivery, lease=seconds)
    return agent


class ChaosPlanner:
    """`Planner` that never decides the same twice: a decision that is taken anew shows."""

    async def decide(
        self,
        goal: str,
        agents: Sequence[Registration],  # noqa: ARG002 - it knows whom it calls
        rounds: Sequence[tuple[Decision, Sequence[Outcome]]],
        *,
        history: Sequence[tuple[str, str]] = (),  # noqa: ARG002
        key: str = "",
        on_text: Callable[[str], Awaitable[None]] | None = None,  # noqa: ARG002
    ) -> Decision:
        """Two calls in each round, then an answer that names all that led to it."""
        nonce = uuid4().hex[:12]
        await asyncio.sleep(random.uniform(0, 0.1))  # noqa: S311 - a model takes its time
        if len(rounds) == _ROUNDS:
            values = [outcome.value["nonce"] for _, ended in rounds for outcome in ended if outcome.type == "completed"]
            return Decision(answer=" ".join([goal, nonce, *values]))
        told = {"key": key or goal, "step": f"round-{len(rounds) + 1}", "decision": nonce}
        return Decision(calls=tuple(PlannedCall(f"{len(rounds)}.{n}", LEAF, "leaf", told) for n in range(2)))


class Observed:
    """A broker that writes down which results were confirmed."""

    def __init__(self, broker: Broker, effects: Effects) -> None:
        self._broker = broker
        self._effects = effects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def ack(self, lease: Lease, appends: Any = (), publishes: Any = (), expect: int | None = None) -> None:
        """As the broker's."""
        await self._broker.ack(lease, appends, publishes, expect)
        for draft in (draft for append in appends for draft in append.entries if draft.type in TERMINAL):
            self._effects.write("acked", lease.message.id, nonce_of(draft.data))


def nonce_of(data: Any) -> str:
    """What stands for the data of an end: the nonce in a result, else a hash."""
    plain = msgspec.msgpack.decode(msgspec.msgpack.encode(data))  # a part of it may be encoded already
    result = plain.get("result")
    if isinstance(result, dict) and "nonce" in result:
        return str(result["nonce"])
    return hashlib.blake2b(msgspec.json.encode(plain, order="sorted"), digest_size=6).hexdigest()
