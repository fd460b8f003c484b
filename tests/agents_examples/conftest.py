"""The example agents' folders, loaded the way the mesh loads them: each as a package of its own.

No test asks the real Open-Meteo: the weather agent is told to leave it alone, unless a test gives it a server.
"""

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import pytest
from agents_examples.open_meteo_server import TODAY, OpenMeteoServer

from agentmesh.testing import open_mesh

AGENTS = Path(__file__).parents[2] / "agents"


def load(folder: str, module: str) -> ModuleType:
    """Module `module` of agents/`folder`, in a package that is made for the tests."""
    package = f"example_agent_{folder}"
    if package not in sys.modules:
        spec = ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(AGENTS / folder)]
        sys.modules[package] = module_from_spec(spec)
    return importlib.import_module(f"{package}.{module}")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("OPEN_METEO_URL", "OPEN_METEO_GEOCODING_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WEATHER_SOURCE", "climate")


@pytest.fixture(scope="session")
def weather() -> Callable[[str], ModuleType]:
    return lambda module: load("weather", module)


@pytest.fixture(scope="session")
def travel() -> Callable[[str], ModuleType]:
    return lambda module: load("travel", module)


@pytest.fixture
async def server():
    async with OpenMeteoServer(TODAY) as server:
        yield server


@pytest.fixture
def live(weather, server):
    """A live source at the server: `live(mode="open-meteo", patience=…)`."""

    def make(mode="auto", **options):
        return weather("live").Live(mode, server.url, server.geocoding_url, **options)

    return make


@pytest.fixture
def ask(weather, live):
    """The report on a request, by an agent of its own or by `source`."""

    async def ask(request="", source=None, **arguments):
        agent = weather("agent").WeatherAgent(TODAY, source or live())
        async with open_mesh(agent) as mesh:
            return await mesh.call("WeatherAgentTask", {"request": request} | arguments)

    return ask
