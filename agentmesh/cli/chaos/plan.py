"""The plan of a drill: which fault happens when, drawn from a seed."""

import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Kind = Literal["kill", "stop", "cut", "quota", "split"]
Card = tuple[Kind, str, str]
"""A fault: what is done, to what kind of process, and for how long (see `_LENGTHS`; a kill has no length)."""

LEASE: Final = 1.5
"""How long (s) a silent worker of a drill keeps a task."""

INTERVAL: Final = 0.42
"""How long (s) it is from one fault to the next, on average."""

CLUSTER: Final = "cluster"
"""The deck for a mesh over servers, which are hurt only if they are told of."""

ANY_SERVER: Final = "server"
"""The target of cards that are for one of the servers."""

_LENGTHS: Final[Mapping[str, tuple[float, float]]] = {
    "": (0, 0),
    "short": (0.1, 0.8),
    "long": (2.2, 3.5),
    "lasting": (11.0, 14.0),
    "frozen": (30.0, 32.0),
}
_FREEZE: Final = (5.5, 6.5)
"""For a host, long is what its clients do not put up with."""

_DECK: Final[Mapping[Card, int]] = {
    ("kill", "worker", ""): 9,
    ("kill", "caller", ""): 5,
    ("kill", "supervisor", ""): 4,
    ("kill", "host", ""): 3,
    ("stop", "worker", "short"): 1,
    ("stop", "worker", "long"): 2,
    ("stop", "caller", "short"): 1,
    ("stop", "supervisor", "long"): 1,
    ("stop", "host", "short"): 1,
    ("cut", "worker", ""): 2,
    ("cut", "caller", ""): 2,
    ("cut", "supervisor", ""): 1,
    ("quota", "host", "short"): 1,
    ("split", "host", "short"): 1,
}
_RARE: Final[Card] = ("stop", "host", "long")
"""In every second deck."""

_DECKS: Final[Mapping[str, Mapping[Card, int]]] = {
    "ack-first": {("kill", "worker", ""): 6, ("stop", "worker", "short"): 1, ("kill", "host", ""): 1},
    "no-fence": {("stop", "worker", "long"): 6, ("stop", "worker", "short"): 1, ("kill", "caller", ""): 1},
    "no-dedupe": {("kill", "caller", ""): 4, ("cut", "caller", ""): 4, ("kill", "host", ""): 2},
    "early-wake": {("kill", "host", ""): 6, ("kill", "worker", ""): 2},
    "no-epoch": {("split", "host", "short"): 1, ("kill", "worker", ""): 2, ("cut", "worker", ""): 2},
    CLUSTER: {
        ("kill", "worker", ""): 9,
        ("kill", "caller", ""): 5,
        ("kill", "supervisor", ""): 4,
        ("stop", "worker", "short"): 1,
        ("stop", "worker", "lasting"): 2,
        ("stop", "caller", "short"): 1,
        ("stop", "supervisor", "lasting"): 1,
    },
}
"""Of each sabotage: the faults that show its damage (without it they do none); and of a cluster."""


class Pace(NamedTuple):
    """How a drill goes; times in s. `deck`: of faults, with further `cards`. `lease`: how long a silent worker keeps a
    task. `interval`: from one fault to the next. `warm`: the most until the first calls end. `quiet`: for how long
    nothing may happen in the end, longer than any lease, claim or freeze. `patience`: how long open calls may take to
    end then. `look`: how long the last reader may take.
    """

    deck: str = ""
    lease: float = LEASE
    interval: float = INTERVAL
    warm: float = 10.0
    quiet: float = 12.0
    patience: float = 60.0
    look: float = 60.0
    cards: Mapping[Card, int] = MappingProxyType({})


class Fault(NamedTuple):
    """What is done `at` (s after the beginning) to `target` (a process or a server by name), for some `seconds`."""

    at: float
    kind: Kind
    target: str
    seconds: float


def make_plan(
    seed: int,
    seconds: float,
    targets: Mapping[str, Sequence[str]],
    like: str = "",
    interval: float = INTERVAL,
    cards: Mapping[Card, int] = MappingProxyType({}),
) -> list[Fault]:
    """The faults of a drill in order, `interval` seconds apart on average; those that show the damage of a sabotage if
    it is to be `like` that, or those of a cluster, and those of further `cards` (each with how many a deck has of it).
    `targets` are the names of the processes and servers of each kind.

    Cards are dealt from shuffled decks, so that each kind of fault comes even in a short drill.
    """
    dice = random.Random(seed)  # noqa: S311 - a plan that can be made again
    faults: list[Fault] = []
    hand: list[Card] = []
    decks = 0
    at = 0.5
    while at < seconds:
        if not hand:
            hand = _shuffled(dice, like, decks, cards)
            decks += 1
        kind, target, length = hand.pop()
        low, high = _FREEZE if (target, length) == ("host", "long") else _LENGTHS[length]
        name = dice.choice(targets.get(target) or [""])
        fault = Fault(round(at, 3), kind, name, round(dice.uniform(low, high), 3))
        if fault.target:
            faults.append(fault)
        at += dice.uniform(0.3, 1.7) * interval
    return faults


def _shuffled(dice: random.Random, like: str, number: int, more: Mapping[Card, int]) -> list[Card]:
    whole = {**_DECKS.get(like, _DECK), **more}
    cards = [card for card, count in whole.items() for _ in range(count)]
    if number % 2 and not like:
        cards.append(_RARE)
    dice.shuffle(cards)
    return cards
