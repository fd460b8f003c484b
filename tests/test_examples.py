"""Each program in examples/ runs as it is, in a folder of its own, and prints what it should."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
OUTPUT = {
    "first_agent.py": "{'city': '杭州', 'forecast': '3 sunny days'}\n",
    "reattach.py": """\
worker: counting 龙井
worker: counting 满觉陇
worker: counting 梅家坞
killed: -9
counting 梅家坞
{'龙井': 200, '满觉陇': 300, '梅家坞': 300}
attempt 0: submitted
attempt 1: accepted
attempt 1: step
attempt 1: step
attempt 2: accepted
attempt 2: delta
attempt 2: delta
attempt 2: step
attempt 2: delta
attempt 2: completed
""",
    "questions.py": """\
asked: For how many people?
For how many people? four
At what time? half past six
楼外楼: a table for four, at half past six
""",
    "steps.py": """\
0 submitted
1 accepted
2 step
quoting 龙井茶
reserving a number
3 step
4 step
5 retrying
6 accepted
7 completed
order 1001: 龙井茶, 88 yuan, at attempt 2
the same call: True
""",
    "custom_supervisor.py": """\
Weather in Hangzhou: sunny, 24 degrees (Weather in Hangzhou)

(No language model is configured: this plan was made by rule. To use one, set OPENAI_API_KEY and AGENTMESH_MODEL.)
Weather in Hangzhou, then find a hotel at the lake: No answer within 1 calls. Reached so far: nothing.
""",
    "model.py": """\
calls: ['Hangzhou', 'Suzhou']
result: <result outcome="completed"> {"sky":"clear"} </result>
result: <result outcome="completed"> {"sky":"overcast"} </result>
answer: Clear in Hangzhou, overcast in Suzhou.
functions: ['WeatherAgentTask-forecast']
""",
}


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(OUTPUT)


@pytest.mark.parametrize("name", OUTPUT)
def test_the_example_prints(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AGENTMESH_MODEL"):
        monkeypatch.delenv(variable, raising=False)
    done = subprocess.run(
        [sys.executable, EXAMPLES / name], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    assert lines(name, done.stdout) == lines(name, OUTPUT[name]), done.stderr


def lines(name: str, text: str) -> list[str]:
    """Where two tasks print at once their order is open: then only what each line says counts."""
    found = text.splitlines()
    return sorted(found) if name == "steps.py" else found


def test_a_second_run_finds_the_call_that_its_key_names(tmp_path: Path) -> None:
    printed = [
        subprocess.run([sys.executable, EXAMPLES / "steps.py"], cwd=tmp_path, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert "quoting" in printed[0]
    assert not re.search("quoting|reserving", printed[1])
    assert printed[0].splitlines()[-2:] == printed[1].splitlines()[-2:]
