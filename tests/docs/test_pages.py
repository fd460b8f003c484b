"""The code in README.md and in the guides runs as it is printed."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import ROOT, Shell, blocks, execute, prompts

from agentmesh import Agent, Mesh, skill
from agentmesh.clock import SystemClock
from agentmesh.config import load_config
from agentmesh.registry.direct import open_direct
from agentmesh.runtime.check import check
from agentmesh.testing import Calls, ModelServer, Request, open_mesh

README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "agents.md"
TRAVEL_AGENT = """
from agentmesh import Agent


class TravelAgent(Agent):
    async def plan(self, request: str) -> dict:
        return {"days": 3}
"""


class WeatherAgent(Agent):
    """Weather of a city, an older version."""

    @skill(examples=["a weekend around Hangzhou"], tags=["weather"])
    async def forecast(self, city: str) -> str:
        return f"{city}: sunny"


def test_the_first_agent_of_the_readme_is_the_first_example_and_runs(tmp_path: Path) -> None:
    program = blocks(README, "python")[0].text
    assert (ROOT / "examples" / "first_agent.py").read_text(encoding="utf-8").endswith(f'"""\n\n{program}')
    (tmp_path / "first.py").write_text(program, encoding="utf-8")
    done = subprocess.run([sys.executable, "first.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert done.stdout == "{'city': '杭州', 'forecast': '3 sunny days'}\n", done.stderr


async def test_the_other_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    _, calls, run = blocks(README, "python")
    async with open_mesh(WeatherAgent()) as mesh:
        await execute(calls.text, {"mesh": mesh})
        assert "completed {'result': '杭州: sunny'}" in capsys.readouterr().out
        await execute(run.text, {"mesh": mesh})
        assert "made by rule" in capsys.readouterr().out


def test_the_runs_of_the_readme_work_in_a_clone(tmp_path: Path) -> None:
    def answer(request: Request) -> str:
        assert request.messages[-1]["role"] == "tool"
        return "Go to the tea villages."

    shutil.copytree(ROOT / "agents", tmp_path / "agents")
    first = Calls(("WeatherAgentTask-forecast", {"request": "杭州周末天气"}))
    commands = [command for block in blocks(README, "console") for command, _ in prompts(block)]
    runs = [command for command in commands if not command.startswith("make ")]
    with ModelServer([first, answer]) as endpoint:
        settings = {"OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": "key", "AGENTMESH_MODEL": "scripted"}
        with Shell(tmp_path, settings) as shell:
            printed = [shell.run(command) for command in runs]
    assert [code for code, _ in printed] == [0, 0, 0], printed
    assert "没有配置语言模型" in printed[0][1]
    assert printed[2][1].endswith("Go to the tea villages.\n")
    assert len(endpoint.requests) == 2


@pytest.mark.parametrize("page", [README, GUIDE], ids=lambda page: page.name)
async def test_the_yaml_of_the_page_declares_an_agent(page: Path, tmp_path: Path) -> None:
    (block,) = blocks(page, "yaml")
    file = tmp_path / block.title
    file.parent.mkdir(parents=True)
    file.write_text(block.text, encoding="utf-8")
    (file.parent / "agent.py").write_text(TRAVEL_AGENT, encoding="utf-8")
    assert check(tmp_path) == []
    async with open_mesh(file.parent) as mesh:
        assert await mesh.call("TravelAgentTask", {"request": "杭州周边三日自驾"}, skill="plan") == {"days": 3}


async def test_the_guide_to_agents_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (yaml,) = blocks(GUIDE, "yaml")
    folder = tmp_path / "agents" / "travel"
    folder.mkdir(parents=True)
    (folder / "agent.yaml").write_text(yaml.text, encoding="utf-8")
    (folder / "agent.py").write_text(TRAVEL_AGENT, encoding="utf-8")
    weather, serving, versions, tests = blocks(GUIDE, "python")
    names = {"__name__": "guide", "Mesh": Mesh}
    await execute(weather.text, names)
    await execute(serving.text, names)
    await execute(tests.text, names)
    await names["test_a_forecast_has_a_low_and_a_high"]()  # type: ignore[operator]
    async with open_mesh(WeatherAgent(), names["WeatherAgent"]()) as mesh:  # type: ignore[operator]
        await execute(versions.text, {"mesh": mesh})


def test_the_settings_of_the_pages_are_settings(tmp_path: Path) -> None:
    found = []
    for page in ("configuration.md", "registries.md"):
        for block in blocks(ROOT / "docs" / page, "yaml"):
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
            found.append(load_config(tmp_path, env={}))
    assert found[0].model == "qwen-plus"
    assert [each.registries[-1] for each in found[1:]] == ["https://agents.example.com", "direct:"]


async def test_the_card_on_the_page_of_registries_is_one_of_ours(tmp_path: Path) -> None:
    (block,) = blocks(ROOT / "docs" / "registries.md", "yaml")
    (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    *_, card = load_config(tmp_path, env={}).cards or ()
    registry = await open_direct([card], SystemClock(), tmp_path / "kept")
    assert [each.topic for each in await registry.list()] == ["ArchiveAgentTask"]
    await registry.close()


def test_what_the_pages_say_of_make_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    pages = [README, *(ROOT / "docs").glob("*.md")]
    named = {
        name for page in pages for name in re.findall(r"(?:\$ |`)make ([a-z-]+)", page.read_text(encoding="utf-8"))
    }
    assert {"demo", "test"} <= named <= targets
