"""Projects for the tests of the command line."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.commands import Project


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that the tests of a module share: for commands that leave nothing that another one minds."""
    return Project(tmp_path_factory.mktemp("shared")).write_agents()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of one's own, with agents."""
    return Project(tmp_path).write_agents()


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    """A project with nothing in it."""
    return Project(tmp_path)


@pytest.fixture
def in_background(project: Project) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands that are killed at the end, whatever happens."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(project.start(*arguments))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
