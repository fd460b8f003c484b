"""docs/promises.md and the markers of the tests name the same promises."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_promise_has_tests_and_every_marker_a_promise() -> None:
    text = (ROOT / "docs/promises.md").read_text()
    promised = set(re.findall(r"^\| (\d+) \|", text, re.MULTILINE))
    marked = {
        number
        for path in (ROOT / "tests").rglob("test_*.py")
        for number in re.findall(r"promise\((\d+)\)", path.read_text())
    }
    assert promised == marked
    assert len(promised) >= 4
