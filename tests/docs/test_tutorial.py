"""docs/tutorial.md is done as a reader does it: its files are written, its commands typed, their output compared."""

from pathlib import Path

import pytest
from doc_pages import ROOT, Shell, play

from agentmesh.testing import Calls, ModelServer, Request


@pytest.mark.timeout(180)
def test_the_tutorial_runs_as_it_is_printed(tmp_path: Path) -> None:
    def answer(request: Request) -> str:
        results = [message["content"] for message in request.messages if message["role"] == "tool"]
        assert ["Hangzhou" in results[0], "Suzhou" in results[1]] == [True, True]
        return "It will be clear and 25 degrees in both: take the city that is nearer."

    forecasts = [("WeatherAgentTask-forecast", {"city": city, "days": 5}) for city in ("Hangzhou", "Suzhou")]
    with ModelServer([Calls(*forecasts), answer]) as endpoint:
        settings = {"OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": "key", "AGENTMESH_MODEL": "scripted"}
        with Shell(tmp_path, settings) as shell:
            play(ROOT / "docs" / "tutorial.md", shell)
    assert len(endpoint.requests) == 2
