"""How long it takes to begin: the imports and the command line, beside an interpreter that does nothing."""

import subprocess
import sys
import time
from statistics import median
from typing import Final

COMMANDS: Final = {
    "floor": [sys.executable, "-c", "pass"],
    "import": [sys.executable, "-c", "import agentmesh"],
    "agent": [sys.executable, "-c", "from agentmesh import Agent, Context, Mesh, skill"],
    "help": [sys.executable, "-m", "agentmesh", "--help"],
}


def measure(rounds: int) -> dict[str, float]:
    """Seconds for each of `COMMANDS`: the median of `rounds`, run in turn after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own interpreter
            if number:
                times[name].append(time.perf_counter() - began)
    return {name: round(median(taken), 4) for name, taken in times.items()}
