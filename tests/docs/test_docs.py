"""What the documents say can be run, is complete, and leads somewhere."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from daemon.cli import reference
from daemon.config import sections

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")])


@pytest.mark.parametrize("name", ["library.md", "messages.md", "programs.md", "colony.md"])
def test_examples_run(name: str) -> None:
    failed, tried = doctest.testfile(str(ROOT / "docs" / name), module_relative=False)
    assert failed == 0
    assert tried > 10


def test_the_reference_of_commands_is_what_the_commands_say() -> None:
    assert reference.page() == reference.PAGE.read_text(), "python -m daemon.cli.reference --write"


def test_settings_that_the_operators_page_names_are_there() -> None:
    page = (ROOT / "docs" / "operators.md").read_text()
    known = {
        f"{section}.{key.removesuffix('_ns')}" for section, model in sections().items() for key in model.model_fields
    }
    named = {word for word in re.findall(r"`([a-z]+\.[a-z_]+)`", page) if word.partition(".")[0] in sections()}
    assert len(named) > 5
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        other = page.parent / path if path else page
        assert other.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings], target


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_paths_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text()
    blocks = "\n".join(re.findall(r"^ {4}.*$", text, re.MULTILINE))
    named = re.findall(r"`(\.?[a-z][\w.*-]*/[\w./*-]*)`", text) + re.findall(r"(?<![\w./-])[a-z_]+/[a-z_/]*", blocks)
    assert len(named) > 5
    assert [path for path in named if not leads_somewhere(path)] == []


def leads_somewhere(path: str) -> bool:
    """Whether there is such a file, module or folder under the root, `daemon/` or `shoal/`."""
    place = path.rstrip("/")
    return any(any(top.glob(place)) or any(top.glob(f"{place}.py")) for top in (ROOT, ROOT / "daemon", ROOT / "shoal"))
