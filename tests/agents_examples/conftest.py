"""The example agents' folders, loaded the way the mesh loads them: each as a package of its own."""

import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

import pytest

AGENTS = Path(__file__).parents[2] / "agents"


def load(folder: str, module: str) -> ModuleType:
    """Module `module` of agents/`folder`, in a package that is made for the tests."""
    package = f"example_agent_{folder}"
    if package not in sys.modules:
        spec = ModuleSpec(package, None, is_package=True)
        spec.submodule_search_locations = [str(AGENTS / folder)]
        sys.modules[package] = module_from_spec(spec)
    return importlib.import_module(f"{package}.{module}")


@pytest.fixture(scope="session")
def weather() -> Callable[[str], ModuleType]:
    return lambda module: load("weather", module)


@pytest.fixture(scope="session")
def travel() -> Callable[[str], ModuleType]:
    return lambda module: load("travel", module)
