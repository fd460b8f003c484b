"""Processes by a name that is never given twice: pid, when it started, and a random part."""

import os
from pathlib import Path

from agentmesh.ids import new_token


def name_process() -> str:
    """A name for something in this process, such as `4711-88412-Zx3kQ9aB`."""
    return f"{os.getpid()}-{started(os.getpid())}-{new_token()[:8]}"


def pid_of(name: str) -> int:
    """The pid in a name; 0 if there is none."""
    pid = name.partition("-")[0]
    return int(pid) if pid.isdecimal() else 0


def is_dead(name: str) -> bool:
    """Whether the process of that name has certainly ended."""
    pid = pid_of(name)
    if not pid:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return started(pid) not in (0, int(name.split("-")[1])) or _is_zombie(pid)


def started(pid: int) -> int:
    """When it started, in the kernel's ticks since boot (proc_pid_stat(5), field 22); 0 where that cannot be told."""
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def _is_zombie(pid: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] in ("Z", "X")


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the command before it may hold anything
