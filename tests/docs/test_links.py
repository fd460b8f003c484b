"""Every relative link of the README and the docs leads somewhere, to its heading too."""

import re
import tomllib
from pathlib import Path

import pytest
from doc_pages import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    return _CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_links_of_the_page_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert target.is_relative_to(ROOT), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(_LINK.findall(prose(ROOT / "README.md")))
    assert {f"docs/{page.name}" for page in PAGES[1:]} <= linked


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    base, _, extras = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").partition("| extra |")
    named = {name for row in re.findall(r"^\| ([^|]+) \|", base, re.MULTILINE) for name in row.split(", ")}
    assert {re.split("[<>=]", each)[0] for each in project["dependencies"]} == named - {"package"} - {"---"}
    told = dict(re.findall(r"^\| `(\w+)` \| ([\w-]+)", extras, re.MULTILINE))
    wanted = project["optional-dependencies"]
    assert told == {extra: re.split("[<>=]", packages[0])[0] for extra, packages in wanted.items()}
