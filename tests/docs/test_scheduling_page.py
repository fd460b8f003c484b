"""docs/scheduling.md is what one can declare and type."""

from pathlib import Path

from doc_pages import ROOT, Shell, play

from agentmesh.contracts import Delivery, Quota, Rate, Retry, RetryOn
from agentmesh.runtime.declaration import load

PAGE = ROOT / "docs" / "scheduling.md"
AGENT = '''
from agentmesh import Agent, skill


class WeatherAgent(Agent):
    """Weather of a city."""

    @skill
    async def forecast(self, city: str) -> str:
        return f"{city}: sunny"
'''


def test_the_page_runs_as_it_is_printed_and_declares_what_it_says(tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        play(PAGE, shell)
    folder = tmp_path / "agents" / "weather"
    (folder / "agent.py").write_text(AGENT, encoding="utf-8")
    retry = Retry(on=("ConnectionError", RetryOn("TimeoutError", attempts=5, backoff=2, max=60)))
    assert load(folder).delivery == Delivery(rate=Rate(50), quota=Quota(total=100, per_tenant=10), retry=retry)
