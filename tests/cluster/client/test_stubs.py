"""Importing the client, in fresh processes."""

import subprocess
import sys
import textwrap
from pathlib import Path


def run(code: str, home: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": home, "PATH": ""},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_address_and_the_remoting_client_import_no_grpc() -> None:
    code = """
        import sys
        import agentmesh.broker.rocketmq.address, agentmesh.broker.rocketmq.remoting
        print("grpc" in sys.modules, "rocketmq" in sys.modules)
    """
    assert run(code, "/nonexistent") == "False False"


def test_the_client_starts_no_thread_and_touches_no_file(tmp_path: Path) -> None:
    code = """
        import sys, threading
        import agentmesh.broker.rocketmq.client
        print(threading.active_count(), "rocketmq" in sys.modules, "rocketmq.v5" in sys.modules)
    """
    assert run(code, str(tmp_path)) == "1 False False"
    assert not list(tmp_path.iterdir())


def test_the_real_package_can_be_imported_afterwards_and_before(tmp_path: Path) -> None:
    after = """
        import agentmesh.broker.rocketmq.client.wire as wire
        import rocketmq
        from rocketmq.grpc_protocol.definition_pb2 import Message
        print(rocketmq.Producer.__name__, Message is wire._d.Message)
    """
    before = """
        import rocketmq
        import agentmesh.broker.rocketmq.client.wire as wire
        import sys
        print(sys.modules["rocketmq"] is rocketmq, rocketmq.Producer.__name__)
    """
    assert run(after, str(tmp_path)).endswith("Producer True")
    assert run(before, str(tmp_path)).endswith("True Producer")
