"""What all tests share: property tests find the same examples on every machine."""

import os
from collections.abc import Iterator

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


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(flag): a contract test of something that not every backend gives")


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """What a test configures of logging is not the next one's."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
