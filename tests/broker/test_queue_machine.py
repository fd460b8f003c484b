"""Idempotent publish, lease, ack, nack, loss, cancellation and restart over a real broker, beside a model of them."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agentmesh.broker.memory import open_memory
from agentmesh.clock import ManualClock
from agentmesh.contracts import Append, Delivery, Lease, Retry
from agentmesh.errors import Conflict, LeaseLost
from agentmesh.fold import fold
from agentmesh.ids import new_token
from agentmesh.message import Draft, Message

T = TypeVar("T")
TOPIC = "ModelAgentTask"
LEASE, LOST, AGING = 10, 3, 20
IDS = [f"call-{n}" for n in range(8)]
EXPECTED_END = {"done": "completed", "cancelled": "cancelled", "dead": "dead_lettered"}


class Known:
    """What the model knows of one call. `end`: "", "done", "cancelled", "dead", or "late" once the deadline is over."""

    def __init__(self, message: Message, age: int, now: int) -> None:
        self.message = message
        self.age = age
        self.since = now
        self.not_before = message.not_before
        self.attempt = self.lost = self.raised = 0
        self.lease: Lease | None = None
        self.expires = 0
        self.end = ""
        self.gone = False

    def rank(self, now: int) -> tuple[int, int]:
        waited = now - max(self.since, self.not_before)
        return -min(9, self.message.priority + waited // AGING // 1000), self.age


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.name = new_token()
        self.calls: dict[str, Known] = {}
        self.stale: list[Lease] = []
        self.do(self.open())

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    async def open(self) -> None:
        self.broker = await open_memory(self.name, self.clock)
        await self.broker.declare(TOPIC, Delivery(lease=LEASE, aging=AGING, retry=Retry(lost=LOST)))

    def teardown(self) -> None:
        self.do(self.broker.close())
        self.loop.close()

    def open_calls(self) -> list[Known]:
        return [call for call in self.calls.values() if not call.gone]

    def held(self) -> list[Known]:
        return [call for call in self.open_calls() if call.lease]

    def lose(self, call: Known) -> None:
        assert call.lease
        self.stale.append(call.lease)
        call.lease = None
        call.lost += 1
        if call.end or call.message.deadline <= self.clock.now():
            call.gone = True
            call.end = call.end or "late"
        elif call.lost >= LOST:
            call.end, call.gone = "dead", True

    @rule(
        call=st.sampled_from(IDS),
        priority=st.integers(0, 9),
        delay=st.sampled_from([0, 0, 5]),
        limit=st.sampled_from([15, 500]),
    )
    def publishes(self, call: str, priority: int, delay: int, limit: int) -> None:
        now = self.clock.now()
        message = Message(
            id=call,
            topic=TOPIC,
            body=call.encode(),
            priority=priority,
            not_before=now + delay * 1000 if delay else 0,
            deadline=now + limit * 1000,
        )
        new = call not in self.calls
        assert self.do(self.broker.publish(message)) is new
        if new:
            self.calls[call] = Known(message, len(self.calls), now)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def publishes_something_else(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(sorted(self.calls)))
        with pytest.raises(Conflict):
            self.do(self.broker.publish(Message(id=call, topic=TOPIC, body=b"something else")))

    @rule(limit=st.integers(1, 4))
    def leases(self, limit: int) -> None:
        now = self.clock.now()
        ready = [
            call for call in self.open_calls() if not call.lease and call.not_before <= now < call.message.deadline
        ]
        expected = sorted(ready, key=lambda call: call.rank(now))[:limit]
        leases = self.do(self.broker.lease([TOPIC], limit, 0, worker="w"))
        assert [lease.message for lease in leases] == [call.message for call in expected]
        for call, lease in zip(expected, leases, strict=True):
            call.attempt += 1
            call.lease, call.expires = lease, now + LEASE * 1000
            assert (lease.attempt, lease.raised, lease.expires) == (call.attempt, call.raised, call.expires)

    @precondition(lambda self: self.held())
    @rule(data=st.data(), how=st.sampled_from(["ack", "error", "release", "dead"]))
    def ends_an_attempt(self, data: st.DataObject, how: str) -> None:
        call = data.draw(st.sampled_from(self.held()))
        lease = call.lease
        assert lease
        late = call.message.deadline <= self.clock.now()
        if how == "ack":
            completed = Draft("completed", {"result": call.attempt}, attempt=lease.attempt, token=lease.token)
            self.do(self.broker.ack(lease, [Append(call.message.id, [completed])]))
            call.end, call.gone = call.end or ("late" if self.clock.now() > call.message.deadline else "done"), True
        elif how == "dead":
            self.do(self.broker.nack(lease, dead="poison"))
            call.end = call.end or "dead"
            call.gone = True
        else:
            then = self.clock.now() + 3000 if how == "error" else 0
            self.do(self.broker.nack(lease, error="E" if how == "error" else "", not_before=then))
            call.raised += how == "error"
            call.not_before = then
            call.gone = bool(call.end) or late
            call.end = call.end or ("late" if late else "")
        call.lease = None
        self.stale.append(lease)

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def a_stalled_worker_speaks(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.stale))
        entry = Draft("completed", {"result": "stale"}, attempt=lease.attempt, token=lease.token)
        for refused in (
            self.broker.ack(lease, [Append(lease.message.id, [entry])]),
            self.broker.nack(lease, error="stale"),
            self.broker.append(lease.message.id, [entry], lease=lease),
        ):
            with pytest.raises(LeaseLost):
                self.do(refused)

    @precondition(lambda self: self.held())
    @rule(data=st.data())
    def renews(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.held()))
        assert call.lease
        news = self.do(self.broker.extend("w", [call.lease.token], 0))
        assert news == ({call.lease.token: "cancelled"} if call.end == "cancelled" else {})
        call.expires = self.clock.now() + LEASE * 1000

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def cancels(self, data: st.DataObject) -> None:
        call = self.calls[data.draw(st.sampled_from(sorted(self.calls)))]
        cancelled = Draft("cancelled", {"by": "me"}, id="cancelled")
        self.do(self.broker.append(call.message.id, [cancelled]))
        if not call.gone:
            late = self.clock.now() > call.message.deadline
            call.end = call.end or ("late" if late else "cancelled")
            call.gone = not call.lease

    @rule(seconds=st.sampled_from([1, 2, 5, 11]))
    def time_passes(self, seconds: int) -> None:
        for _ in range(seconds):
            self.do(self.clock.advance(1))
            now = self.clock.now()
            for call in self.held():
                if call.expires <= now:
                    self.lose(call)
            for call in self.open_calls():
                if call.message.deadline <= now and not call.lease:
                    call.end, call.gone = call.end or "late", True

    @rule()
    def restarts(self) -> None:
        self.do(self.broker.close())
        self.do(self.open())
        for call in self.held():
            self.lose(call)
        for call in self.open_calls():
            call.since = self.clock.now()  # of these messages nobody says when they were made
        self.do(self.clock.advance(0))

    @invariant()
    def the_queue_is_as_the_model_says(self) -> None:
        (stats,) = self.do(self.broker.stats([TOPIC]))
        running = self.held()
        waiting = [call for call in self.open_calls() if not call.lease]
        dead = [call for call in self.calls.values() if call.end == "dead"]
        assert (stats.waiting, stats.running) == (len(waiting), len(running))
        assert stats.dead >= len(dead)
        browsed = self.do(self.broker.browse(TOPIC))
        assert {(stored.message.id, stored.state) for stored in browsed} == {
            (call.message.id, "running" if call.lease else "waiting") for call in self.open_calls()
        }

    @invariant()
    def every_call_has_the_end_that_the_model_says_and_no_other(self) -> None:
        for call in self.calls.values():
            entries = self.do(self.broker.read(call.message.id))
            assert [entry.offset for entry in entries] == list(range(len(entries)))
            assert [entry.attempt for entry in entries if entry.type == "accepted"] == list(range(1, call.attempt + 1))
            state = fold(entries, self.clock.now())
            terminals = [event.type for event in state.events if event.type in {*EXPECTED_END.values(), "timed_out"}]
            if call.end in EXPECTED_END:
                assert terminals == [EXPECTED_END[call.end]]
            elif self.clock.now() > call.message.deadline:
                assert terminals == ["timed_out"]
            else:
                assert terminals == []


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(  # without Phase.shrink, which may take minutes here: add it to look into a failure
    max_examples=100, stateful_step_count=40, phases=[Phase.explicit, Phase.generate]
)
TestQueue.pytestmark = [pytest.mark.promise(2), pytest.mark.promise(3)]
