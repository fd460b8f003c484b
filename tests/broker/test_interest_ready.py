"""InterestSet and ReadySet beside models that are obviously right."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agentmesh.broker.interest import InterestSet
from agentmesh.broker.ready import ReadySet

CLIENTS = [f"client-{n}" for n in range(4)]
NAMES = [f"call-{n}" for n in range(3)]
clients, names = st.sampled_from(CLIENTS), st.sampled_from(NAMES)


class InterestMachine(RuleBasedStateMachine):
    """A set of pairs, and who owns what exclusively."""

    def __init__(self) -> None:
        super().__init__()
        self.interests: InterestSet[str] = InterestSet()
        self.model: set[tuple[str, str]] = set()
        self.owner: dict[str, str] = {}

    @rule(client=clients, name=names, exclusive=st.booleans())
    def subscribes(self, client: str, name: str, exclusive: bool) -> None:
        others = {other for other, its in self.model if its == name and other != client}
        losers = others if exclusive else others & {self.owner.get(name, "")}
        assert sorted(self.interests.add(client, name, exclusive=exclusive)) == sorted(losers)
        self.model -= {(loser, name) for loser in losers}
        self.model.add((client, name))
        self.owner.pop(name, None)
        if exclusive:
            self.owner[name] = client

    @rule(client=clients, name=names)
    def unsubscribes(self, client: str, name: str) -> None:
        assert self.interests.remove(client, name) == ((client, name) in self.model)
        self.model.discard((client, name))
        if self.owner.get(name) == client:
            del self.owner[name]

    @rule(client=clients, limit=st.integers(0, 3))
    def is_forgotten_by_and_by(self, client: str, limit: int) -> None:
        had = {name: self.owner.get(name) == client for its, name in self.model if its == client}
        dropped = self.interests.drop(client, limit)
        assert len(dropped) == min(limit, len(had))
        assert dropped.items() <= had.items()
        self.model -= {(client, name) for name in dropped}
        self.owner = {name: owner for name, owner in self.owner.items() if name not in dropped}

    @invariant()
    def both_sides_agree(self) -> None:
        for name in NAMES:
            assert set(self.interests.clients(name)) == {client for client, its in self.model if its == name}
        for client in CLIENTS:
            assert set(self.interests.names(client)) == {name for its, name in self.model if its == client}

    @invariant()
    def an_owner_is_known(self) -> None:
        for name in NAMES:
            assert self.interests.is_exclusive(name) == (name in self.owner)

    @invariant()
    def nobody_shares_what_is_exclusive(self) -> None:
        for name, owner in self.owner.items():
            assert list(self.interests.clients(name)) == [owner]

    @invariant()
    def nothing_is_left_behind(self) -> None:
        if not self.model:
            assert not any(vars(self.interests).values())


TestInterestSet = InterestMachine.TestCase
TestInterestSet.settings = settings(max_examples=150, stateful_step_count=40)


class ReadyMachine(RuleBasedStateMachine):
    """Per LiteTopic a position, a lock and a head; ready is what is unread and not locked, the longest ready first."""

    LOCK = 30

    def __init__(self) -> None:
        super().__init__()
        self.ready = ReadySet()
        self.heads = dict.fromkeys(NAMES, -1)
        self.position: dict[str, int] = {}
        self.locked: dict[str, int] = {}
        self.queue: list[str] = []
        self.now = 1000

    def requeue(self, name: str) -> None:
        if name in self.queue:
            self.queue.remove(name)
        if name in self.position and name not in self.locked and self.heads[name] > self.position[name]:
            self.queue.append(name)

    @initialize(wanted=st.sets(names, min_size=1), count=st.integers(0, 4))
    def begins_with_some(self, wanted: set[str], count: int) -> None:
        for name in sorted(wanted):
            self.heads[name] += count
            self.subscribes(name, -1)

    @rule(name=names, position=st.integers(-2, 5))
    def subscribes(self, name: str, position: int) -> None:
        """An offset from the future counts as the head."""
        known = min(max(position, -1), self.heads[name])
        rests = self.position.get(name) == position and name not in self.locked
        assert self.ready.rests(name, position) == rests
        self.ready.subscribed(name, position, self.heads[name])
        self.position[name] = known
        self.locked.pop(name, None)
        self.requeue(name)

    @rule(name=names, count=st.integers(1, 3))
    def is_written(self, name: str, count: int) -> None:
        self.heads[name] += count
        woke = self.ready.written(name, self.heads[name])
        before = name in self.queue
        if not before:
            self.requeue(name)
        assert woke == (name in self.queue and not before)

    @rule(limit=st.integers(0, 3))
    def is_polled(self, limit: int) -> None:
        expected, self.queue = self.queue[:limit], self.queue[limit:]
        assert self.ready.take(limit, self.now + self.LOCK) == expected
        for name in expected:
            self.locked[name] = self.now + self.LOCK
            assert self.ready.position(name) < self.heads[name]

    @precondition(lambda self: self.position)
    @rule(data=st.data(), back=st.integers(-2, 3))
    def is_committed(self, data: st.DataObject, back: int) -> None:
        self.commits(data.draw(st.sampled_from(sorted(self.locked or self.position))), back)

    @rule(name=names, back=st.integers(-2, 3))
    def is_committed_unasked(self, name: str, back: int) -> None:
        self.commits(name, back)

    def commits(self, name: str, back: int) -> None:
        offset = self.heads[name] - back
        self.ready.committed(name, offset, self.heads[name])
        if name in self.position:
            self.position[name] = max(min(offset, self.heads[name]), self.position[name])
            self.locked.pop(name, None)
            self.requeue(name)

    @rule(later=st.sampled_from([0, 1, 29, 30, 31]))
    def time_passes(self, later: int) -> None:
        self.now += later
        expected = [name for name, until in self.locked.items() if until <= self.now]
        assert self.ready.release(self.now) == expected
        for name in expected:
            del self.locked[name]
            self.queue.append(name)

    @rule(name=names)
    def unsubscribes(self, name: str) -> None:
        self.ready.removed(name)
        self.position.pop(name, None)
        self.locked.pop(name, None)
        self.requeue(name)

    @precondition(lambda self: self.queue)
    @rule()
    def reads_everything(self) -> None:
        """A reader that commits what it reads comes to the end of everything that is not locked."""
        while taken := self.ready.take(2, self.now + self.LOCK):
            for name in taken:
                self.ready.committed(name, self.heads[name], self.heads[name])
                self.position[name] = self.heads[name]
        self.queue = []

    @invariant()
    def is_as_the_model_says(self) -> None:
        assert list(self.ready) == self.queue
        assert len(self.ready) == len(self.queue)
        assert {name for name in NAMES if name in self.ready} == set(self.position)
        assert {name: self.ready.position(name) for name in self.position} == self.position
        assert self.ready.next_release() == min(self.locked.values(), default=None)
        assert all(self.position[name] <= self.heads[name] for name in self.position)

    @invariant()
    def nothing_unread_is_forgotten(self) -> None:
        unread = {name for name, position in self.position.items() if self.heads[name] > position}
        assert unread - set(self.queue) <= set(self.locked)


TestReadySet = ReadyMachine.TestCase
TestReadySet.settings = settings(max_examples=150, stateful_step_count=40)
