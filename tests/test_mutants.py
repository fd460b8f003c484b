"""The suite notices: in copies of the package with one promise broken each, tests that hold it fail."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
BROKER = "agentmesh/broker/embedded"
ENDS, LOG = "tests/contract/test_queue_ends.py", "tests/contract/test_log.py"
CRASH, FULL = "tests/broker/test_crash.py", "tests/broker/test_full_disk.py"
PUBLISH, FOLD = "tests/contract/test_queue_declare_publish.py", "tests/test_fold.py"
ORDER, WAITING = "agentmesh/scheduling/order.py", "tests/test_order.py::TestWaiting"
TURNS = "tests/test_order.py::TestTurns"

RUN = """
import os, sys
import asyncio, hypothesis.stateful, msgspec, pytest, pytest_asyncio, sqlite3

for line in sys.stdin:  # everything but agentmesh is there already: a fork begins with the tests at once
    folder, *tests = line.split("\\t")
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        sys.path.insert(0, folder)
        os.environ["PYTHONPATH"] = folder
        output = os.open("output", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1), os.dup2(output, 2)
        import agentmesh
        assert agentmesh.__file__.startswith(folder), agentmesh.__file__
        tests[-1] = tests[-1].strip()
        there = "ignore::pytest.PytestAssertRewriteWarning"
        code = pytest.main(["-q", "-x", "-p", "no:xdist", "-W", there, "--tb=short", "--no-header", *tests])
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Mutant(NamedTuple):
    file: str
    old: str
    new: str
    test: str


MUTANTS = {
    "ack before append: the task is gone although its last events were refused": Mutant(
        f"{BROKER}/state.py",
        """        task = self._held(lease)
        for name, expect, _ in appends:
            self._check_expected(name, expect)
""",
        """        task = self._held(lease)
        self.changes.delete_task.append((task.position,))
        self.changes.rows += 1
        for name, expect, _ in appends:
            self._check_expected(name, expect)
""",
        f"{ENDS}::test_an_ack_that_is_refused_has_done_nothing",
    ),
    "ack before append: a transaction of its own": Mutant(
        f"{BROKER}/broker.py",
        "        await self._turns.submit(self._state.ack, lease, encoded, pairs, size=size, rows=rows)\n",
        """        await self._turns.submit(self._state.ack, lease, [], pairs, size=size, rows=rows)
        for name, expected, entries in encoded:
            await self._turns.submit(self._state.append, name, entries, expected, None, "")
""",
        f"{CRASH}::test_a_kill_at_any_commit_loses_nothing_and_leaves_no_half[after]",
    ),
    "no token check in the broker": Mutant(
        f"{BROKER}/state.py",
        """        task = self.tasks.by_token.get(lease.token)
        if task is None or task.expires <= self.now:
""",
        """        task = self.tasks.by_log.get(lease.message.log)
        if task is None:
""",
        f"{ENDS}::test_an_expired_or_foreign_lease_can_neither_ack_nor_nack_nor_append",
    ),
    "no token check in the fold": Mutant(
        "agentmesh/fold.py",
        "        return entry.token == self.token if entry.token else kind in _WITHOUT_TOKEN\n",
        "        return bool(entry.token) or kind in _WITHOUT_TOKEN\n",
        f"{FOLD}::test_rule_4_entries_of_a_former_owner_do_not_count",
    ),
    "callers are told before the commit": Mutant(
        f"{BROKER}/turns.py",
        """                self._store.commit(state.changes)
""",
        """                for future, value, error in told:
                    if not future.done() and error is None:
                        future.set_result(value)
                self._store.commit(state.changes)
""",
        f"{FULL}::test_a_full_disk_fails_the_turn_loses_nothing_and_is_over_once_there_is_room[pages]",
    ),
    "waiters are woken before the commit": Mutant(
        f"{BROKER}/turns.py",
        """                self._store.commit(state.changes)
""",
        """                self._tell_others()
                self._store.commit(state.changes)
""",
        f"{FULL}::test_a_cancellation_that_was_not_stored_has_not_happened[pages]",
    ),
    "no de-duplication of entry ids in the broker": Mutant(
        f"{BROKER}/logs.py",
        """            known = self._offset_of(log, entry_id)
            if known is not None:
                return known
            self._turn_ids[log.id, entry_id] = log.next
""",
        """            entry_id = ""
""",
        f"{LOG}::test_an_id_that_is_there_keeps_its_offset_and_its_data",
    ),
    "no de-duplication of entry ids in the fold": Mutant(
        "agentmesh/fold.py",
        "if entry.id in self._seen or not self._counts(entry):",
        "if not self._counts(entry):",
        f"{FOLD}::test_rule_1_an_id_that_was_seen_counts_once",
    ),
    "the deadline is ignored by the broker": Mutant(
        f"{BROKER}/state.py",
        """            if task.message.deadline <= self.now:
                self._drop(task, "expired")
""",
        """            if False:
                self._drop(task, "expired")
""",
        f"{PUBLISH}::test_a_task_is_not_handed_out_at_or_after_its_deadline",
    ),
    "the deadline is ignored by the fold": Mutant(
        "agentmesh/fold.py",
        " or (self.deadline and entry.time > self.deadline)",
        "",
        f"{FOLD}::test_rule_6_nothing_counts_after_the_deadline",
    ),
}


INTERESTS = "tests/broker/test_interest_ready.py::TestInterestSet::runTest"
READY, READY_MACHINE = "agentmesh/broker/ready.py", "tests/broker/test_interest_ready.py::TestReadySet::runTest"
FOLD_MACHINE = "tests/test_fold_machine.py::TestFold::runTest"

FOUND_BY_MACHINES = {
    "ReadySet: what was taken is not locked": Mutant(
        READY,
        "            self._locked[name] = until\n",
        "",
        READY_MACHINE,
    ),
    "ReadySet: a commit does not see the remainder": Mutant(
        READY,
        """            self._position[name] = max(min(offset, head), position)
            self._refresh(name, head)
""",
        """            self._position[name] = max(min(offset, head), position)
""",
        READY_MACHINE,
    ),
    "ReadySet: a commit moves back": Mutant(
        READY,
        "            self._position[name] = max(min(offset, head), position)\n",
        "            self._position[name] = min(offset, head)\n",
        READY_MACHINE,
    ),
    "ReadySet: a lock that runs out makes nothing ready": Mutant(
        READY,
        """            name, _ = self._locked.popitem(last=False)
            self._ready[name] = None
""",
        """            name, _ = self._locked.popitem(last=False)
""",
        READY_MACHINE,
    ),
    "ReadySet: a subscription that comes online does not see what is there": Mutant(
        READY,
        "max(-1, min(position, head))\n        self._refresh(name, head)\n",
        "max(-1, min(position, head))\n",
        READY_MACHINE,
    ),
    "ReadySet: an offset from the future waits for the log to come there": Mutant(
        READY,
        "position if -1 <= position <= head else max(-1, min(position, head))",
        "max(-1, position)",
        READY_MACHINE,
    ),
    "InterestSet: an exclusive newcomer drives only the owner out": Mutant(
        "agentmesh/broker/interest.py",
        "if other != client and (exclusive or other == owner)]",
        "if other != client and other == owner]",
        INTERESTS,
    ),
    "InterestSet: who is dropped stays the owner": Mutant(
        "agentmesh/broker/interest.py",
        """            if dropped[name]:
                del self._exclusive[name]
""",
        "",
        INTERESTS,
    ),
    "the fold: an earlier attempt takes the call back": Mutant(
        "agentmesh/fold.py",
        "            return entry.attempt >= max(self.attempt, 1) and",
        "            return entry.attempt >= 1 and",
        FOLD_MACHINE,
    ),
    "the fold: a new owner goes on where the one before was": Mutant(
        "agentmesh/fold.py",
        "            self.events = [seen for seen in self.events if seen.type not in _VOIDED_BY_A_NEW_OWNER]\n",
        "",
        FOLD_MACHINE,
    ),
    "the fold: a question that was answered is asked again": Mutant(
        "agentmesh/fold.py",
        """            if asked["question"] not in self.answers:
                self.questions""",
        """            if True:
                self.questions""",
        FOLD_MACHINE,
    ),
    "the fold: a second end counts": Mutant(
        "agentmesh/fold.py",
        "        if self.terminal or kind in _NEVER or",
        "        if kind in _NEVER or",
        FOLD_MACHINE,
    ),
    "the fold: an entry that did not count uses up its id": Mutant(
        "agentmesh/fold.py",
        """        if entry.id in self._seen or not self._counts(entry):
            return None
        self._seen.add(entry.id)
""",
        """        if entry.id in self._seen:
            return None
        self._seen.add(entry.id)
        if not self._counts(entry):
            return None
""",
        FOLD_MACHINE,
    ),
    "the scheduler: waiting lifts the newest of a level, not those that wait with it": Mutant(
        ORDER,
        "                if level >= highest:\n",
        "                if level > highest:\n",
        WAITING,
    ),
    "the scheduler: a tenant that may start nothing takes part": Mutant(
        ORDER,
        "        if line.depth < share.barred:\n            return\n",
        "",
        WAITING,
    ),
    "the scheduler: of one tenant's tasks the newest is first": Mutant(
        ORDER,
        "return self._aged(line.base, self._places[head][1], now), -head",
        "return self._aged(line.base, self._places[head][1], now), head",
        WAITING,
    ),
    "the scheduler: a new ceiling does not hold for what waits": Mutant(
        ORDER,
        "            if base != line.base:\n",
        "            if base < line.base:\n",
        WAITING,
    ),
    "the scheduler: a tenant's first task waits for the turns of others": Mutant(
        "agentmesh/scheduling/turns.py",
        "            (self._new if new else self._order).append(member)\n",
        "            self._order.append(member)\n",
        TURNS,
    ),
    "the scheduler: a turn has no end": Mutant(
        "agentmesh/scheduling/turns.py",
        "        if not self._left[member]:\n",
        "        if False:\n",
        TURNS,
    ),
}
"""Mutants of ReadySet, InterestSet, the scheduler and the fold, each found by a stateful property test alone."""

ALL = MUTANTS | FOUND_BY_MACHINES


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the tests that hold its promises."""
    folder = tmp_path_factory.mktemp("mutants") / "original"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("agentmesh", "tests/contract", "tests/broker"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in (
        "pyproject.toml",
        *(f"tests/{each}.py" for each in ("conftest", "embedder", "test_fold", "test_fold_machine")),
    ):
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "tests/test_order.py", folder / "tests/test_order.py")
    return folder


@pytest.fixture(scope="module")
def runner() -> Iterator["subprocess.Popen[str]"]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    with subprocess.Popen(
        [sys.executable, "-c", RUN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def outcome(runner: "subprocess.Popen[str]", folder: Path, *tests: str) -> tuple[int, str]:
    """The exit code of pytest over these tests of the copy in `folder`, and what it said."""
    assert runner.stdin
    assert runner.stdout
    runner.stdin.write("\t".join([str(folder), *tests]) + "\n")
    runner.stdin.flush()
    code = int(runner.stdout.readline())
    return code, (folder / "output").read_text()


def test_the_copy_without_a_mutant_passes(suite: Path, runner: "subprocess.Popen[str]") -> None:
    code, output = outcome(runner, suite, *sorted({mutant.test for mutant in ALL.values()}))
    assert code == pytest.ExitCode.OK, output


@pytest.mark.parametrize("name", ALL)
def test_a_mutant_makes_a_test_fail(suite: Path, runner: "subprocess.Popen[str]", tmp_path: Path, name: str) -> None:
    mutant = ALL[name]
    copy = tmp_path / "copy"
    shutil.copytree(suite, copy, ignore=shutil.ignore_patterns("output"))
    text = (copy / mutant.file).read_text()
    assert text.count(mutant.old) == 1, f"{mutant.file} has changed: plant this mutant anew"
    (copy / mutant.file).write_text(text.replace(mutant.old, mutant.new))
    code, output = outcome(runner, copy, mutant.test)
    assert code == pytest.ExitCode.TESTS_FAILED, output
    assert "1 failed" in output.splitlines()[-1], output
