"""The oracle of a drill, on effects that were written by hand."""

import ast
import sys
from pathlib import Path

import pytest
from chaos.files import Files

from agentmesh.cli.chaos import effects, oracle
from agentmesh.cli.chaos.effects import Effects, read
from agentmesh.cli.chaos.report import FOUND, OK, PROVES_NOTHING, exit_code, figures


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize("module", [oracle, effects], ids=lambda module: module.__name__)
def test_the_oracle_uses_nothing_but_the_standard_library(module: object) -> None:
    tree = ast.parse(Path(module.__file__).read_text())  # type: ignore[attr-defined]
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            used |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            used.add(node.module or "")
    assert used - {effects.__name__} <= {*sys.stdlib_module_names, "collections.abc"}


def test_a_call_that_ended_as_it_should_is_no_finding(files: Files) -> None:
    files.call()
    files.looked()
    assert files.found() == []
    assert files.judge().ended == {"completed": 1}


def test_an_acknowledged_call_that_nobody_saw_end_is_lost(files: Files) -> None:
    files.write("caller-0.00000", "intent k-1", "acknowledged c k-1")
    files.looked()
    assert files.found() == [("lost", "c")]


@pytest.mark.parametrize("word", ["open", "unknown"])
def test_a_call_that_the_last_reader_misses_is_lost_whoever_saw_it_end(files: Files, word: str) -> None:
    files.write("caller-0.00000", "intent k-1", "acknowledged c k-1", "ended c completed n1")
    files.write("reader.00000", f"{word} c", "looked")
    assert files.found() == [("lost", "c")]


def test_an_end_that_its_caller_is_never_told_is_lost(files: Files) -> None:
    files.write("caller-0.00000", "intent k-1", "acknowledged c k-1")
    files.write("reader.00000", "ended c completed n1", "looked")
    assert files.found() == [("lost", "c")]


def test_nothing_is_lost_as_long_as_it_is_not_over(files: Files) -> None:
    files.write("caller-0.00000", "intent k-1", "acknowledged c k-1")
    assert files.judge(is_over=False).findings == []


def test_a_reader_that_did_not_come_to_its_end_proves_nothing_good(files: Files) -> None:
    files.call()
    assert files.found() == [("lost", "(all)")]


def test_an_intent_without_an_acknowledgement_is_nobodys_loss(files: Files) -> None:
    files.write("caller-0.00000", "intent k-1")
    files.looked()
    assert files.found() == []


@pytest.mark.parametrize("second", ["completed n2", "failed n1", "timed_out -"])
def test_a_call_that_is_seen_to_end_in_two_ways_is_doubled(files: Files, second: str) -> None:
    files.call()
    files.write("caller-0.00001", f"ended c {second}")
    files.looked()
    assert ("doubled", "c") in files.found()


def test_two_confirmed_results_of_one_call_are_doubled(files: Files) -> None:
    files.call()
    files.write("worker-1.00000", "run c n2", "acked c n2")
    files.looked()
    assert files.found() == [("doubled", "c")]


def test_a_confirmed_result_that_is_not_the_end_is_doubled(files: Files) -> None:
    files.call(ended="dead_lettered n9")
    files.looked()
    assert files.found() == [("doubled", "c")]


@pytest.mark.parametrize("end", ["cancelled -", "timed_out -"])
def test_a_result_may_come_too_late_to_count(files: Files, end: str) -> None:
    files.call(ended=end)
    files.looked()
    assert files.found() == []


def test_handler_runs_are_counted_and_are_no_finding(files: Files) -> None:
    files.call()
    files.write("worker-1.00000", "run c n2", "run c n3")
    files.looked()
    assert files.found() == []
    assert (files.judge().runs, files.judge().runs_again) == (3, 2)


def test_a_recorded_step_with_two_values_is_doubled(files: Files) -> None:
    files.call()
    files.write("worker-0.00000", "step c a v1", "step c a v1", "step c b v2")
    files.looked()
    assert files.found() == []
    files.write("worker-1.00000", "step c a v3")
    assert files.found() == [("doubled", "c")]


def test_visible_output_of_another_run_than_the_result_is_doubled(files: Files) -> None:
    files.call()
    files.write("caller-0.00000", "shown c n1")
    files.looked()
    assert files.found() == []
    files.write("caller-0.00001", "shown c n2")
    assert files.found() == [("doubled", "c")]


def test_one_key_with_two_calls_is_doubled(files: Files) -> None:
    files.call("c")
    files.call("d")
    files.write("caller-0.00001", "acknowledged d c-1")
    files.looked()
    assert files.found() == [("doubled", "c-1")]


def note(files: Files, *seen: str) -> None:
    files.write("caller-0.00000", "noted log 0 1", "noted log 1 2")
    files.write("reader.00000", "saw log 0 1", "saw log 1 2")
    files.write("caller-1.00000", *(f"saw log {each}" for each in seen))
    files.looked()


def test_a_follower_that_goes_on_where_it_stopped_is_no_finding(files: Files) -> None:
    note(files, "0 1")
    files.write("caller-1.00001", "saw log 1 2")
    assert files.found() == []


@pytest.mark.parametrize(
    ("seen", "kind"),
    [(("0 1", "0 1"), "doubled"), (("1 2",), "lost"), (("0 1", "1 2", "0 1"), "doubled"), (("0 2",), "doubled")],
    ids=["again", "with a gap", "out of order", "something else"],
)
def test_a_follower_sees_each_entry_once_and_in_order(files: Files, seen: tuple[str, ...], kind: str) -> None:
    note(files, *seen)
    assert {found for found, _ in files.found()} == {kind}


def test_an_entry_that_was_stored_and_is_not_there_is_lost(files: Files) -> None:
    note(files)
    files.write("caller-0.00000", "noted log 2 3")
    assert files.found() == [("lost", "log")]


def test_entries_in_another_order_than_they_were_appended_are_doubled(files: Files) -> None:
    files.write("caller-0.00000", "noted log 1 1", "noted log 0 2")
    files.write("reader.00000", "saw log 0 2", "saw log 1 1", "looked")
    assert files.found() == [("doubled", "log")]


@pytest.mark.parametrize("half", ["10", "1099 ", "1099 acked c n", "1099 acked c n2", "1099 ended c completed"])
def test_a_line_that_a_kill_cut_off_counts_for_nothing(files: Files, half: str) -> None:
    files.call()
    files.write("worker-0.00000", half=half)
    files.write("worker-0.00001", "run c n5")
    files.looked()
    assert files.found() == []


@pytest.mark.parametrize("line", ["", "acked", "acked c", "acked c n2 more", "rubbish c n2"])
def test_a_line_that_is_none_counts_for_nothing(files: Files, line: str) -> None:
    files.call()
    files.write("worker-0.00000", line)
    files.looked()
    assert files.found() == []


def test_what_is_written_is_read_back_in_the_order_of_processes(tmp_path: Path) -> None:
    for number in (1, 0):
        file = Effects(tmp_path, "worker-0", number)
        file.write("run", "c", f"n{number}")
        file.write("trouble", "a b", "two\nlines")
        file.close()
    lines = list(read(tmp_path))
    assert [line.arguments for line in lines] == [("c", "n0"), ("a_b", "two_lines"), ("c", "n1"), ("a_b", "two_lines")]
    assert {line.who for line in lines} == {"worker-0"}
    assert lines[0].at >= lines[2].at


def test_a_take_over_lasts_until_a_call_that_was_begun_after_the_kill_is_acknowledged(files: Files) -> None:
    files.write("caller-0.00000", "intent k-1", step=10)
    files.write("drill.00000", "fault kill host", step=10)
    files.write("caller-0.00000", "acknowledged c k-1", "intent k-2", "acknowledged d k-2", step=10)
    assert files.judge(is_over=False).takeovers == [30]


def hurt(files: Files, *, kills: int, calls: int) -> None:
    for number in range(calls):
        files.call(f"c{number}")
    files.write("drill.00000", *(["fault kill worker-0"] * kills), "fault stop host", "fault cut caller-1")
    files.looked()


@pytest.mark.parametrize(
    ("kills", "calls", "code"), [(20, 1000, OK), (19, 1000, PROVES_NOTHING), (20, 999, PROVES_NOTHING)]
)
def test_few_kills_or_calls_prove_nothing(files: Files, kills: int, calls: int, code: int) -> None:
    hurt(files, kills=kills, calls=calls)
    assert exit_code(files.judge()) == code


def test_a_finding_counts_however_little_was_done(files: Files) -> None:
    hurt(files, kills=1, calls=2)
    files.write("worker-1.00000", "acked c1 n2")
    assert exit_code(files.judge()) == FOUND


def test_the_figures_tell_what_was_done_to_whom(files: Files) -> None:
    hurt(files, kills=3, calls=2)
    told = figures(files.judge())
    assert (told["started"], told["ended"], told["lost"], told["doubled"]) == (2, {"completed": 2}, 0, 0)
    assert (told["killed"], told["stopped"], told["cuts"]) == ({"worker": 3}, {"host": 1}, 1)
    assert told["handler_runs"] == 2
