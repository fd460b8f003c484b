"""Start a cluster whose clock the tests can move, run pytest against it, and stop it: `python tests/cluster/run.py …`."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

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


def start(folder: Path, first_port: int) -> RocketMQ:
    """The servers, with the file `clock` (nanoseconds to add) and `url`."""
    (folder / "clock").write_bytes(bytes(8))
    environment = {"LD_PRELOAD": str(build_clock(folder)), "SHIFTED_CLOCK": str(folder / "clock")}
    servers = RocketMQ(folder / "rocketmq", first_port=first_port, environment=environment)
    servers.start()
    (folder / "url").write_text(servers.url)
    return servers


def main() -> int:
    """The exit code of pytest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="use the cluster that was left there, or leave one there")
    options, arguments = parser.parse_known_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="agentmesh-cluster-"))
    folder.mkdir(exist_ok=True)
    if options.folder and (folder / "url").exists():
        servers = None
    else:
        servers = start(folder, free_ports(10))
    environment = {**os.environ, "AGENTMESH_TEST_CLUSTER": str(folder)}
    try:
        return subprocess.run([sys.executable, "-m", "pytest", *arguments], env=environment, cwd=ROOT).returncode
    finally:
        if not options.folder and servers:
            servers.stop()
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
