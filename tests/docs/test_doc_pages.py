"""The runner of pages notices what is not as the page says."""

from pathlib import Path

import pytest
from doc_pages import Shell, fits, play

PAGE = """
```text title=notes/today.txt
one
```

```console
$ A=$(cat notes/today.txt)
$ echo $A; echo two >&2
{output}
$ false
{exit}
```
"""


@pytest.mark.parametrize(
    ("expected", "printed", "fit"),
    [
        ("a\n", "a  \n", True),
        ("a\n", "b\n", False),
        ("a\n", "a\nb\n", False),
        ("a…z\n", "a to z\n", True),
        ("a…z\n", "a\nz\n", False),
        ("a\n…\nz\n", "a\nb\nc\nz\n", True),
        ("a\n…\nz\n", "a\nz\n", True),
        ("a.c\n", "abc\n", False),
        ("", "a\n", False),
    ],
)
def test_output_fits_what_is_printed(expected: str, printed: str, fit: bool) -> None:
    assert fits(expected, printed) is fit


def play_page(folder: Path, output: str, exit_code: str) -> None:
    page = folder / "page.md"
    page.write_text(PAGE.format(output=output, exit=exit_code).replace("\n\n```\n", "\n```\n"), encoding="utf-8")
    with Shell(folder) as shell:
        play(page, shell)


def test_a_page_is_played_in_one_shell(tmp_path: Path) -> None:
    play_page(tmp_path, "one\ntwo", "$ echo $?\n1")


@pytest.mark.parametrize(
    ("output", "exit_code", "wrong"),
    [("one", "$ echo $?\n1", "two"), ("one\ntwo", "$ echo $?\n0", "expected"), ("one\ntwo", "", "exit code 1")],
)
def test_what_differs_fails(tmp_path: Path, output: str, exit_code: str, wrong: str) -> None:
    with pytest.raises(AssertionError, match=wrong):
        play_page(tmp_path, output, exit_code)
