"""Projects for the commands of this folder."""

import pytest
from cli.commands import Project


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that the tests of a module share."""
    return Project(tmp_path_factory.mktemp("shared")).write_agents()
