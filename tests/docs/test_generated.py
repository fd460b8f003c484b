"""What docs/generate.py makes is current, and the same whatever the terminal."""

import os
import subprocess
import sys

from doc_pages import ROOT


def test_the_generated_pages_and_schemas_are_current_at_any_width() -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    for columns in ("40", "200"):
        environment = os.environ | {"COLUMNS": columns, "TERMINAL_WIDTH": columns}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=50, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
