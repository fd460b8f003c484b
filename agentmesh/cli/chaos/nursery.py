"""Where the processes of a drill are born: `python -m agentmesh.cli.chaos.nursery [MODULE]…`.

It has imported everything, so that a process which was killed is back within milliseconds: on each order, a line of
JSON on stdin, it forks and says the new pid on stdout. When its stdin ends it kills what it bore, and ends.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from agentmesh.cli.chaos import caller, reader, sabotage, worker
from agentmesh.cli.chaos.processes import CUT, DRAIN, Orders, obey_cuts

_ROLES: Final[dict[str, Callable[[Orders], Coroutine[Any, Any, None]]]] = {
    "worker": worker.work,
    "supervisor": worker.supervise,
    "caller": caller.call,
    "reader": reader.look,
}


def main() -> None:
    """Bear processes until stdin ends."""
    for module in sys.argv[1:]:
        importlib.import_module(module)
    _import_all()
    sabotage.commit()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: the kernel takes them away
    for number in (signal.SIGINT, CUT, DRAIN):  # until a newborn process knows what to do about them
        signal.signal(number, signal.SIG_IGN)
    born: set[int] = set()
    _say(os.getpid())
    for line in _lines():
        pid = os.fork()
        if not pid:
            _live(Orders(**json.loads(line)))
        born.add(pid)
        _say(pid)
    for pid in born:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _import_all() -> None:
    """What a process of a drill needs, sooner or later."""
    import agentmesh.runtime.declaration
    import agentmesh.schema
    import agentmesh.supervisor.rule  # noqa: F401


def _live(orders: Orders) -> NoReturn:
    """Be what was ordered, to the end."""
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _redirect(orders)
        obey_cuts()
        asyncio.run(_ROLES[orders.role](orders))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _redirect(orders: Orders) -> None:
    """Nothing from stdin, and what is said goes to a file."""
    errors = os.open(Path(orders.folder) / f"{orders.name}.err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (errors, 1), (errors, 2)):
        os.dup2(source, target)
    from agentmesh.cli.logs import start_logging

    start_logging("warning")


def _lines() -> Iterator[bytes]:
    """Of stdin, without reading ahead into a buffer that children would have too."""
    buffer = b""
    while data := os.read(0, 65536):
        *lines, buffer = (buffer + data).split(b"\n")
        yield from lines


def _say(pid: int) -> None:
    os.write(1, f"{pid}\n".encode())


if __name__ == "__main__":
    main()
