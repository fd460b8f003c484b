"""The pages of the documentation as things to run: their code blocks, and a shell for their console blocks."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from embedder import settings as embedder_settings

ROOT = Path(__file__).parent.parent
_FENCE = re.compile(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KILLED = re.compile(r"^bash: line \d+: +\d+ Killed.*$", re.MULTILINE)
_SLOW = re.compile(r"^.*a handler held the event loop.*\n", re.MULTILINE)
"""What is logged when the machine has other things to do."""
_MARK = "end of the command:"


@dataclass(frozen=True)
class Block:
    """A fenced block: ```` ```python title=agents/trip/agent.py ````; `line` is that of its fence."""

    language: str
    title: str
    text: str
    line: int


def blocks(page: Path, language: str = "") -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = [Block(m[1], m[2] or "", m[3], text.count("\n", 0, m.start()) + 1) for m in _FENCE.finditer(text)]
    return [each for each in found if language in ("", each.language)]


def prompts(block: Block) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that stands under it."""
    parts = re.split(r"^\$ (.*)\n", block.text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"line {block.line}: a console block begins with a prompt"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def fits(expected: str, printed: str) -> bool:
    """Whether the output is what the page says; `…` stands for anything in a line, and alone for any lines."""
    pattern = ""
    for line in expected.splitlines():
        pattern += r"(?:.*\n)*?" if line.strip() == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n"
    tidy = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch(pattern, tidy) is not None


@dataclass
class Shell:
    """One bash for all commands of a page, in `folder`, with this environment's programs, no settings from outside and
    no weather from the network. What a page exports takes its values from `stand_ins`.
    """

    folder: Path
    stand_ins: Mapping[str, str] = field(default_factory=dict)

    def __enter__(self) -> "Shell":
        settings = ("OPENAI_", "AGENTMESH_", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=self.folder,
            env=kept
            | embedder_settings()
            | {"PATH": path, "PYTHONUNBUFFERED": "1", "TERM": "dumb", "WEATHER_SOURCE": "climate"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bash.kill()
        self._bash.communicate()

    def run(self, command: str) -> tuple[int, str]:
        """The command's exit code and output."""
        assert self._bash.stdin
        assert self._bash.stdout
        if command.startswith("export "):
            command = re.sub(r"(\w+)=\S+", lambda found: f"{found[1]}={self.stand_ins[found[1]]}", command)
        line = f"(exit ${{code:-0}}); {{ {command}\n}} < /dev/null; code=$?; echo; echo '{_MARK}' $code\n"
        self._bash.stdin.write(line)
        self._bash.stdin.flush()
        printed = ""
        for each in self._bash.stdout:
            if each.startswith(_MARK):
                text = _KILLED.sub("Killed", printed.removesuffix("\n"))
                return int(each.removeprefix(_MARK)), _SLOW.sub("", text)
            printed += each
        raise AssertionError(f"bash ended in: {command}\n{printed}")


def play(page: Path, shell: Shell) -> None:
    """Do what a reader does: write the files that have a title, and type the commands, comparing what they print.

    A command must succeed, unless the page shows its exit code with `echo $?`.
    """
    for block in blocks(page):
        place = f"{page.name}:{block.line}"
        if block.title:
            file = shell.folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            commands = prompts(block)
            for number, (command, expected) in enumerate(commands):
                code, printed = shell.run(command)
                assert fits(expected, printed), f"{place}: $ {command}\n{printed}\n--- expected:\n{expected}"
                shown = [each for each, _ in commands[number + 1 : number + 2]] == ["echo $?"]
                assert shown or code == 0 or "Killed" in printed, f"{place}: $ {command}: exit code {code}\n{printed}"


async def execute(code: str, names: dict[str, Any]) -> None:
    """Run a piece of Python that may `await` at its top level, with these names, and leave its own in them."""
    import ast
    import inspect

    compiled = compile(code, "<page>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)
    if inspect.isawaitable(result):
        await result
