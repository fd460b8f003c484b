"""The oracle: what was lost and what happened twice, from the effects alone.

It uses nothing of agentmesh: what it knows are the files that `effects` describes, and the promises.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from agentmesh.cli.chaos.effects import Line, read

ANSWERS = frozenset({"completed", "failed", "dead_lettered"})
"""Ends that a worker's confirmed result may not differ from. (A call that was cancelled or out of time meanwhile may
have a result that does not count.)"""

READER = "reader"
"""The process that looks at everything once more at the end."""


class Finding(NamedTuple):
    """Something that must not be. `kind` is `lost` or `doubled`; `subject` is a call, a key or a log."""

    kind: str
    subject: str
    text: str


class Verdict(NamedTuple):
    """What the effects of a drill say; times in ms."""

    started: int
    ended: Counter[str]
    findings: list[Finding]
    runs: int
    runs_again: int
    latencies: list[int]
    takeovers: list[int]
    faults: Counter[str]
    troubles: Counter[str]
    died: list[str]

    def of(self, kind: str) -> list[Finding]:
        """The findings of that kind."""
        return [finding for finding in self.findings if finding.kind == kind]


class Calls:
    """What is told of each call."""

    def __init__(self) -> None:
        self.intents: dict[str, int] = {}
        self.acknowledged: dict[str, int] = {}
        self.first_answers: dict[str, int] = {}
        self.keys: defaultdict[str, set[str]] = defaultdict(set)
        self.key_of: dict[str, str] = {}
        self.ends: defaultdict[str, dict[tuple[str, str], None]] = defaultdict(dict)
        self.ended_at: dict[str, int] = {}
        self.acked: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self.steps: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        self.shown: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self.missing: dict[str, str] = {}
        self.runs: Counter[str] = Counter()
        self.looked = False

    def add(self, line: Line) -> None:
        take = getattr(self, f"_{line.word}", None)
        if take:
            take(line, *line.arguments)

    def _run(self, _: Line, call: str, __: str) -> None:
        self.runs[call] += 1

    def _acked(self, _: Line, call: str, nonce: str) -> None:
        self.acked[call][nonce] = None

    def _step(self, _: Line, call: str, step: str, value: str) -> None:
        self.steps[call, step][value] = None

    def _intent(self, line: Line, key: str) -> None:
        self.intents[key] = min(line.at, self.intents.get(key, line.at))

    def _acknowledged(self, line: Line, call: str, key: str) -> None:
        self.acknowledged[call] = min(line.at, self.acknowledged.get(call, line.at))
        self.keys[key].add(call)
        self.key_of[call] = key

    def _ended(self, line: Line, call: str, kind: str, nonce: str) -> None:
        self.ends[call][kind, nonce] = None
        if line.who != READER:
            self.ended_at[call] = min(line.at, self.ended_at.get(call, line.at))

    def _shown(self, _: Line, call: str, nonce: str) -> None:
        self.shown[call][nonce] = None

    def _open(self, _: Line, call: str) -> None:
        self.missing[call] = "it has not ended"

    def _unknown(self, _: Line, call: str) -> None:
        self.missing[call] = "nobody knows it any more"

    def _looked(self, _: Line) -> None:
        self.looked = True

    def doubled(self) -> Iterable[Finding]:
        for key, calls in self.keys.items():
            if len(calls) > 1:
                yield Finding("doubled", key, f"one key gave {len(calls)} calls: {_list(calls)}")
        for call, ends in self.ends.items():
            if len(ends) > 1:
                yield Finding("doubled", call, f"was seen to end in {len(ends)} ways: {_list(map(' '.join, ends))}")
        for call, nonces in self.acked.items():
            if len(nonces) > 1:
                yield Finding("doubled", call, f"{len(nonces)} results were confirmed: {_list(nonces)}")
            for kind, nonce in self.ends.get(call, ()):
                if kind in ANSWERS and nonce not in nonces:
                    yield Finding("doubled", call, f"{_list(nonces)} was confirmed, and it ended {kind} {nonce}")
        for (call, step), values in self.steps.items():
            if len(values) > 1:
                yield Finding("doubled", call, f"its step {step} came to {len(values)} values: {_list(values)}")
        for call, nonces in self.shown.items():
            results = {nonce for kind, nonce in self.ends.get(call, ()) if kind == "completed"}
            if len(nonces) > 1 or (results and not nonces.keys() <= results):
                yield Finding("doubled", call, f"its output shows {_list(nonces)}, its result {_list(results)}")

    def lost(self) -> Iterable[Finding]:
        for call in self.acknowledged:
            if call in self.missing:
                seen = f", and was seen to end {_list(map(' '.join, self.ends[call]))}" if self.ends.get(call) else ""
                yield Finding("lost", call, f"was acknowledged{seen}; at the end {self.missing[call]}")
            elif not self.ends.get(call):
                yield Finding("lost", call, "was acknowledged, and nobody saw it end")
            elif call not in self.ended_at:
                yield Finding("lost", call, "ended, and the caller who waited for that was never told")
        if not self.looked:
            yield Finding("lost", "(all)", "the last reader did not come to its end")


class Logs:
    """What is told of the logs of one's own."""

    def __init__(self) -> None:
        self.noted: dict[tuple[str, str], int] = {}
        self.at: dict[tuple[str, int], str] = {}
        self.heads: dict[tuple[str, str], int] = {}
        self.findings: list[Finding] = []

    def add(self, line: Line) -> None:
        if line.word in ("noted", "saw"):
            log, offset, entry = line.arguments
            self._place(log, int(offset), entry)
            if line.word == "saw":
                self._follow(line.who, log, int(offset))

    def _place(self, log: str, offset: int, entry: str) -> None:
        """An entry has one offset, and an offset one entry."""
        if self.noted.setdefault((log, entry), offset) != offset:
            self._find("doubled", log, f"entry {entry} is at {self.noted[log, entry]} and at {offset}")
        if self.at.setdefault((log, offset), entry) != entry:
            self._find("doubled", log, f"offset {offset} was {self.at[log, offset]}, then {entry}")

    def _follow(self, who: str, log: str, offset: int) -> None:
        """A follower that remembers its offset sees the next one next."""
        expected = self.heads.get((who, log), -1) + 1
        if offset < expected:
            self._find("doubled", log, f"{who} saw offset {offset} again, after {expected - 1}")
        elif offset > expected:
            self._find("lost", log, f"{who} saw offset {offset} after {expected - 1}")
        self.heads[who, log] = max(offset, expected - 1)

    def _find(self, kind: str, log: str, text: str) -> None:
        self.findings.append(Finding(kind, log, text))

    def doubled(self) -> Iterable[Finding]:
        yield from (finding for finding in self.findings if finding.kind == "doubled")
        for log in {log for log, _ in self.at}:
            entries = [int(self.at[key]) for key in sorted(key for key in self.at if key[0] == log)]
            for first, second in itertools.pairwise(entries):
                if second <= first:
                    yield Finding("doubled", log, f"entry {second} follows entry {first}, which was appended later")

    def lost(self) -> Iterable[Finding]:
        yield from (finding for finding in self.findings if finding.kind == "lost")
        for (log, entry), offset in self.noted.items():
            if offset > self.heads.get((READER, log), -1):
                yield Finding("lost", log, f"entry {entry} was stored at {offset}, and the last reader did not find it")


def judge(folder: Path, *, is_over: bool) -> Verdict:
    """What the effects in `folder` say. As long as it is not over, nothing counts as lost."""
    calls, logs = Calls(), Logs()
    faults: Counter[str] = Counter()
    troubles: Counter[str] = Counter()
    server_kills: list[int] = []
    died: list[str] = []
    for line in read(folder):
        calls.add(line)
        logs.add(line)
        if line.word == "fault":
            kind, target = line.arguments
            faults[f"{kind} {target.partition('-')[0]}"] += 1
            if kind == "kill" and "-" not in target:  # the processes of the drill have one in their names
                server_kills.append(line.at)
        elif line.word == "trouble":
            troubles[" ".join(line.arguments)] += 1
        elif line.word == "died":
            died += line.arguments
    findings = [*calls.doubled(), *logs.doubled()]
    if is_over:
        findings += [*calls.lost(), *logs.lost()]
    return Verdict(
        started=len(calls.acknowledged),
        ended=Counter(next(iter(calls.ends[call]))[0] for call in calls.acknowledged if calls.ends.get(call)),
        findings=findings,
        runs=calls.runs.total(),
        runs_again=calls.runs.total() - len(calls.runs),
        latencies=sorted(_latencies(calls)),
        takeovers=sorted(_takeovers(server_kills, calls)),
        faults=faults,
        troubles=troubles,
        died=died,
    )


def _latencies(calls: Calls) -> Iterable[int]:
    """From the intent to the end, of calls whose end their caller saw."""
    for call, at in calls.ended_at.items():
        key = calls.key_of.get(call)
        if key in calls.intents:
            yield at - calls.intents[key]


def _takeovers(kills: Iterable[int], calls: Calls) -> Iterable[int]:
    """From each kill of a server to the next acknowledged call that was begun after it."""
    pairs = [(calls.intents.get(calls.key_of[call], 0), at) for call, at in calls.acknowledged.items()]
    for kill in kills:
        later = [at for intent, at in pairs if intent > kill]
        if later:
            yield min(later) - kill


def _list(texts: Iterable[str]) -> str:
    return ", ".join(itertools.islice(texts, 4)) or "nothing"
