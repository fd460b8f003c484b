"""The real command line in real processes, over folders of their own."""

import atexit
import fcntl
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from embedder import settings as embedder_settings

AGENT = '''
import asyncio

from agentmesh import Agent, Context, skill


class KitAgent(Agent):
    """Echoes, fails, asks, hangs and counts."""

    @skill
    async def echo(self, text: str, *, ctx: Context) -> dict:
        """Give a text back."""
        await ctx.progress("echoing", fraction=0.5)
        return {"text": text}

    @skill
    async def fail(self) -> None:
        """Divide by zero."""
        1 / 0

    @skill
    async def ask(self, *, ctx: Context) -> dict:
        """Ask for a colour."""
        return {"colour": await ctx.ask("Which colour?")}

    @skill
    async def hang(self, *, ctx: Context) -> dict:
        """Hang in the first attempt."""
        await ctx.progress(f"working on attempt {ctx.attempt}")
        if ctx.attempt == 1:
            await asyncio.Event().wait()
        return {"attempt": ctx.attempt}


class CountAgent(Agent):
    """Counts beans slowly."""

    @skill(examples=["count the beans", "数豆子"])
    async def count(self, request: str, *, ctx: Context) -> dict:
        """Count beans."""
        await ctx.progress("one \\x1b]0;stolen title\\x07 bean", fraction=0.25)
        await asyncio.sleep(0.8)
        await ctx.progress("two beans", fraction=0.75)
        return {"text": "# Beans\\n\\nThere are **two** \\x1b[31mbeans.\\nAnd no more."}


class PaintAgent(Agent):
    """Paints walls."""

    @skill(examples=["paint the wall", "刷墙"])
    async def paint(self, request: str, *, ctx: Context) -> dict:
        """Paint a wall in the colour that is wanted."""
        return {"text": f"The wall is {await ctx.ask('Which colour?')} now."}
'''

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


CACHE: Final = tempfile.mkdtemp(prefix="agentmesh-tests-")
"""Not that of whoever runs the tests."""

atexit.register(shutil.rmtree, CACHE, ignore_errors=True)


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would change the settings or the looks."""
    prefixes = ("AGENTMESH_", "OPENAI_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "GITHUB_ACTIONS", "PY_COLORS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    ours = {"PYTHONUTF8": "1", "TERM": "xterm-256color", "AGENTMESH_CACHE": CACHE}
    return kept | ours | embedder_settings() | more


def without_stalls(err: str) -> str:
    """On a machine that is busy with other things, any handler holds the loop for long, and that is told."""
    return "".join(line for line in err.splitlines(keepends=True) if "a handler held the event loop" not in line)


class Project:
    """A folder with agents, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write_agents(self) -> "Project":
        for name in ("Kit", "Count", "Paint"):
            place = self.folder / "agents" / name.lower()
            place.mkdir(parents=True)
            (place / "agent.yaml").write_text(f"class: agent:{name}Agent\n")
            (place / "agent.py").write_text(AGENT)
        return self

    def start(self, *arguments: str, **more: str) -> "subprocess.Popen[str]":
        """The command, under way."""
        return subprocess.Popen(
            [sys.executable, "-m", "agentmesh", *arguments],
            cwd=self.folder,
            env=environment(**more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, *arguments: str, stdin: str = "", **more: str) -> Done:
        """The command, to its end. None may show a traceback."""
        process = self.start(*arguments, **more)
        out, err = process.communicate(stdin, timeout=40)
        assert "Traceback" not in err, err
        return Done(process.returncode, out, without_stalls(err))

    @contextmanager
    def terminal(self, *arguments: str, **more: str) -> "Iterator[Terminal]":
        """The command at a terminal of 100 × 30."""
        terminal = Terminal(self.folder, arguments, environment(**more))
        try:
            yield terminal
        finally:
            terminal.close()


class Terminal:
    """A command at a pseudo-terminal: what it wrote, and what a person types."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], env: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        termios.tcsetwinsize(slave, (30, 100))
        self.raw = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "agentmesh", *arguments],
            cwd=folder,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)

    @property
    def text(self) -> str:
        """All that was written, without escape sequences."""
        return _ANSI.sub("", self.raw).replace("\r", "")

    def expect(self, text: str, seconds: float = 20.0) -> str:
        """Read until `text` was written; returns everything so far."""
        end = time.monotonic() + seconds
        while text not in self.text:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} in:\n{self.text}"
            if not self._read(left):
                assert text in self.text, f"ended without {text!r}:\n{self.text}"
        return self.text

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        while self._read(20.0):
            pass
        return self.process.wait(20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def _read(self, seconds: float) -> bool:
        """Read what there is within this time; False at the end."""
        if not select.select([self._master], [], [], seconds)[0]:
            raise AssertionError(f"silent for {seconds:.0f} s:\n{self.text}")
        try:
            data = os.read(self._master, 65536)
        except OSError:  # what Linux says once the other side is closed
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)
