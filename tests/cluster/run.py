"""Start clusters, run pytest, and stop them: one for each worker of pytest, whose clock the tests can move, and one for
all of them, whose clock nobody moves.

python tests/cluster/run.py [--workers 3] [--folder DIR] [arguments of pytest]

Without arguments for pytest everything runs: first what shares these clusters; then, once most of them have ended, what
starts servers of its own; and the drill with servers alone. A few tests that fail are run once more, one after the
other: servers that share two cores with everything else are late at times.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
OWN_SERVERS = (
    *(f"tests/cluster/client/test_{each}.py" for each in ("breaks", "secured", "wrong_servers")),
    *(f"tests/cluster/test_{each}.py" for each in ("bad_input", "delays", "doctor", "lifetimes")),
)
FEW = 10
DRILL = "tests/cluster/test_chaos.py"
STEADY = "steady"
"""The cluster whose clock nobody moves, for tests of all workers."""

QUICK = "-XX:TieredStopAtLevel=1"
"""For JVMs that live for minutes: without it they compile for most of them."""

sys.path.insert(0, str(ROOT))

from deploy.cluster import install_nacos  # noqa: E402
from deploy.rocketmq import RocketMQ, free_ports  # noqa: E402


def build_clock(folder: Path) -> Path:
    """The library that shifts a server's wall clock."""
    library = folder / "shifted_clock.so"
    source = Path(__file__).with_name("shifted_clock.c")
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        sys.exit("There is no C compiler, which the tests' clock needs: apt-get install gcc libc6-dev.")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return library


def start(folder: Path, first_port: int, *settings: str) -> RocketMQ:
    """The servers, with the file `clock` (nanoseconds to add) and `url`."""
    (folder / "clock").write_bytes(bytes(8))
    shifted = {"LD_PRELOAD": str(build_clock(folder)), "SHIFTED_CLOCK": str(folder / "clock")}
    environment = {"broker": shifted, "proxy": shifted}  # to the name server, a broker would look dead after a jump
    servers = RocketMQ(folder / "rocketmq", first_port=first_port, environment=environment, settings=settings)
    servers.start()
    (folder / "url").write_text(servers.url)
    return servers


def main() -> int:
    """The exit code of pytest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="use the clusters that were left there, or leave them there")
    options, arguments = parser.parse_known_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="agentmesh-cluster-"))
    os.environ |= {"JAVA_TOOL_OPTIONS": QUICK, "AGENTMESH_TEST_CLUSTER": str(folder), "AGENTMESH_CLUSTER": "1"}
    names = [STEADY, *(f"gw{number}" for number in range(options.workers))]
    started: dict[str, RocketMQ] = {}
    try:
        install_nacos()
        for name in names:
            own = folder / name
            if not (own / "url").exists():
                own.mkdir(parents=True, exist_ok=True)
                started[name] = start(own, free_ports(10))
        if arguments:
            return pytest(options.workers, *arguments)
        ignored = [f"--ignore={each}" for each in (*OWN_SERVERS, DRILL)]
        failed = folder / "failed"
        codes = [twice(failed, options.workers, *ignored)]
        for name in names[1:]:
            if name in started:
                started.pop(name).kill()
        codes.append(twice(failed, 2, *OWN_SERVERS))
        codes.append(twice(failed, 0, DRILL))
        return max(codes)
    finally:
        if not options.folder:
            for servers in started.values():
                servers.kill()
            shutil.rmtree(folder, ignore_errors=True)


def twice(failed: Path, workers: int, *arguments: str) -> int:
    """The exit code of pytest for these tests; of those that failed it counts how they end alone."""
    failed.write_text("")
    os.environ["TEST_FAILURES"] = str(failed)
    code = pytest(workers, "-q", "-m", "cluster", *arguments)
    again = list(dict.fromkeys(failed.read_text().splitlines()))
    if code != 1 or not 0 < len(again) <= FEW:
        return code
    print(f"Once more, one after the other: {', '.join(again)}", flush=True)
    return pytest(0, "-q", "-m", "cluster", *again)


def pytest(workers: int, *arguments: str) -> int:
    """Its exit code."""
    command = [sys.executable, "-m", "pytest", "-n", str(workers), "--dist", "loadfile", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
