"""docs/promises.md and the markers of the tests name the same promises, and the page lists the tests."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent
MADE = runpy.run_path(str(ROOT / "docs" / "generate.py"))
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
PROMISED = set(re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE))


def test_every_promise_has_tests_and_every_marker_a_promise() -> None:
    markers = [
        number
        for path in (ROOT / "tests").rglob("*.py")
        for number in re.findall(r"mark\.promise\((\d+)\)", path.read_text(encoding="utf-8"))
    ]
    assert set(markers) == PROMISED
    assert len(PROMISED) >= 4
    found = MADE["marked_tests"]()
    assert sorted(str(number) for number, _, _ in found) == sorted(markers), "a marker that docs/generate.py overlooks"


def test_the_page_lists_the_tests_that_there_are_and_no_others() -> None:
    listed = PAGE.partition("## The tests")[2]
    shown: set[tuple[int, str, str]] = set()
    number, file = 0, ""
    for line in listed.splitlines():
        if promise := re.match(r"\*\*(\d+)\.", line):
            number = int(promise[1])
        elif test := re.match(r"- \[(.*)\]", line):
            file = test[1]
        elif sentence := re.match(r"  - (.*)", line):
            shown.add((number, file, sentence[1]))
    found = {(number, file, MADE["sentence"](name)) for number, file, name in MADE["marked_tests"]()}
    assert shown == found, "run: make docs"
    assert {str(number) for number, _, _ in found} == PROMISED


def test_the_readme_makes_the_same_promises() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for number, text in re.findall(r"^\| (\d+) \| ([^|]*) \|", PAGE, re.MULTILINE):
        assert f"{number}. {text}" in readme
