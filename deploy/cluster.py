"""RocketMQ and Nacos on this machine: `python -m deploy.cluster up`, `down`, `status`.

Both listen on loopback, at their usual ports. What they store, log and need to be stopped lies in `.cluster`, or in the
folder that `AGENTMESH_CLUSTER_DIR` names.
"""

import argparse
import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from agentmesh.broker.rocketmq import open_rocketmq
from agentmesh.clock import SystemClock
from agentmesh.errors import MeshError
from agentmesh.message import Draft
from deploy.nacos import VERSION, NacosServer, binary
from deploy.process import ServerError
from deploy.rocketmq import PARTS, RocketMQ

NACOS_PORT: Final = 8848
PORTS: Final = 10
"""That RocketMQ takes, Nacos after them (and 1000 and 2000 above)."""

_PATIENCE: Final = 60.0


def folder() -> Path:
    """Where the servers keep everything."""
    return Path(os.environ.get("AGENTMESH_CLUSTER_DIR") or Path(__file__).parent.parent / ".cluster")


def servers(where: Path, port: int) -> tuple[RocketMQ, NacosServer]:
    """Those of that folder, whether they run or not: at their usual ports, or at `port` and the ones after it."""
    if not port:
        return RocketMQ(where / "rocketmq"), NacosServer(where / "nacos", NACOS_PORT)
    return RocketMQ(where / "rocketmq", first_port=port), NacosServer(where / "nacos", port + PORTS)


def tell_of_servers(where: Path, port: int) -> None:
    """What `agentmesh chaos --servers` has to know of them."""
    command = [sys.executable, "-m", "deploy.cluster", "up", "--folder", str(where), "--port", str(port)]
    pids = {part: where / "rocketmq" / f"{part}.pid" for part in PARTS} | {"nacos": where / "nacos" / "rnacos.pid"}
    told = {
        name: {"pid": str(pid), "start": shlex.join(command), "folder": str(Path(__file__).parent.parent)}
        for name, pid in pids.items()
    }
    (where / "servers.json").write_text(json.dumps(told, indent=2) + "\n")


def up(where: Path, port: int) -> None:
    """Start what does not run, and see that it stores what it is given."""
    rocketmq, nacos = servers(where, port)
    began = time.monotonic()
    print("Starting RocketMQ: name server, broker, proxy", flush=True)
    rocketmq.start()
    asyncio.run(check(rocketmq.url))
    install_nacos()
    print("Starting Nacos", flush=True)
    nacos.start()
    tell_of_servers(where, port)
    print(f"Ready after {time.monotonic() - began:.0f} s. To use it:\n")
    print(f"  export AGENTMESH_BROKER='{rocketmq.url}'")
    print(f"  export AGENTMESH_REGISTRY='{nacos.url}'")
    print("  agentmesh doctor\n")


async def check(url: str) -> None:
    """Write into a LiteTopic and read it back, as often as it takes. Raises `ServerError`."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            broker = await open_rocketmq(f"{url}&namespace=check", SystemClock())
            try:
                offset = await broker.append("log-check", [Draft("data", "written")])
                await broker.read("log-check", offset - 1, 1)
            finally:
                await broker.close()
        except MeshError as error:
            if time.monotonic() > until:
                raise ServerError(f"RocketMQ runs, and cannot be used: {error}") from error
            await asyncio.sleep(1)
        else:
            return


def install_nacos() -> None:
    """Build r-nacos unless it is there. Raises `ServerError`."""
    try:
        binary()
    except ServerError:
        if "RNACOS_BIN" in os.environ or not shutil.which("cargo"):
            raise
        print(f"Building r-nacos {VERSION} (about eight minutes, once)", flush=True)
        done = subprocess.run(["cargo", "install", "--quiet", "rnacos", "--version", VERSION], check=False)
        if done.returncode:
            raise ServerError(f"cargo could not build rnacos {VERSION}: see above.") from None


def down(where: Path, port: int, *, keep: bool) -> None:
    """Stop both, and remove what they stored unless it is to be kept."""
    rocketmq, nacos = servers(where, port)
    nacos.stop()
    rocketmq.stop()
    if not keep:
        shutil.rmtree(where, ignore_errors=True)
    print("Stopped." if keep else "Stopped, and removed what was stored.")


def status(where: Path, port: int) -> int:
    """What runs; 1 if something does not."""
    rocketmq, nacos = servers(where, port)
    found: dict[str, int | None] = {f"rocketmq {part}": rocketmq.pid(part) for part in PARTS}
    found["nacos"] = nacos.pid()
    for name, pid in found.items():
        print(f"{name:20} {f'pid {pid}' if pid else 'does not run'}")
    return 0 if all(found.values()) else 1


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.cluster", description=__doc__)
    parser.add_argument("what", choices=("up", "down", "status"))
    parser.add_argument("--keep", action="store_true", help="with down: keep what was stored")
    parser.add_argument("--folder", type=Path, default=folder(), help="where they keep everything")
    parser.add_argument("--port", type=int, default=0, help="the first of eleven; else the usual ones")
    options = parser.parse_args()
    where, port = options.folder.absolute(), options.port
    try:
        if options.what == "status":
            return status(where, port)
        up(where, port) if options.what == "up" else down(where, port, keep=options.keep)
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. `make cluster-down` stops what was started.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
