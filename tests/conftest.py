"""What all tests share: property tests find the same examples on every machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from embedder import settings as embedder_settings
from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick", deadline=None, database=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("quick"), derandomize=False, max_examples=2000)
settings.load_profile("quick")

os.environ["WEATHER_SOURCE"] = "climate"  # the agents of this repository ask nobody outside, unless a test says so
os.environ.update(embedder_settings())


class Failures:
    """Writes down which tests failed, for whoever runs them once more."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            with self._path.open("a") as file:
                file.write(f"{report.nodeid}\n")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(flag): a contract test of something that not every backend gives")
    if (path := os.environ.get("TEST_FAILURES")) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Failures(Path(path)))


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """What a test configures of logging is not the next one's."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
