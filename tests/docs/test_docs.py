"""What the documents say can be run, is complete, and leads somewhere."""

from __future__ import annotations

import doctest
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import shoal
from daemon.admin.catalogue import COMMANDS
from daemon.cli import main
from daemon.cli.dev_cluster import DevCluster
from daemon.config import sections
from shoal.client.admin_protocol import AdminConnection

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")])
REFERENCE = ROOT / "docs" / "commands.md"


@pytest.mark.parametrize("name", ["library.md", "messages.md", "programs.md", "colony.md"])
def test_examples_run(name: str) -> None:
    failed, tried = doctest.testfile(str(ROOT / "docs" / name), module_relative=False)
    assert failed == 0
    assert tried > 10


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name))
    else:
        yield " ".join(path), group


def test_the_reference_has_every_shoalctl_command_and_option() -> None:
    page = REFERENCE.read_text()
    for name, command in commands(main):
        (row,) = re.findall(rf"^\| `{name}(?: [^`]*)?` \|.*$", page, re.MULTILINE)
        assert (command.help or "").strip().partition("\n")[0] in row
        options = {max(o.opts, key=len) for o in command.params if isinstance(o, click.Option)} - {"--json"}
        assert options == set(re.findall(r"`(--[a-z-]+)`", row.rpartition("|")[0].rpartition("|")[2])), name


def test_the_reference_has_every_command_of_the_socket() -> None:
    page = REFERENCE.read_text()
    assert re.findall(r"^### `(.*)`$", page, re.MULTILINE) == [command.name for command in COMMANDS]
    for command in COMMANDS:
        section = page.partition(f"### `{command.name}`\n")[2].partition("\n### ")[0]
        assert command.summary[1:] in section
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (?:required; )?(.*) \|$", section, re.MULTILINE)
        assert rows == [(param.name, param.type, param.summary) for param in command.params], command.name


ZERO = b"""
from shoal import Program
class Zero(Program):
    name = "zero"
    def start(self, ws): pass
"""


@pytest.fixture
def daemon_alone() -> Iterator[AdminConnection]:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))  # with a short path, for its socket is below it
    cluster = DevCluster(folder / "d")
    try:
        (shard,) = cluster.up(1)
        with AdminConnection(shard.socket) as connection:
            yield connection
    finally:
        cluster.down()
        shutil.rmtree(folder)


def test_the_reference_has_every_field_of_a_result(daemon_alone: AdminConnection) -> None:
    page = REFERENCE.read_text()
    spec, frames = shoal.from_arrays(
        ["a", "b"], ["b", "a"], nodes=["a", "b"], node_columns={"gloss": ["tree", "oak"]}
    ).to_wire()
    start = {"program": "pagerank", "graph": "g", "paced": True}
    sent = {"graph load": frames, "program deploy": [ZERO]}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("graph load", {"name": "g", "spec": spec}),
        ("run start", start),
        ("run step", {"run": "pagerank-1"}),
        ("run show", {"run": "pagerank-1"}),
        ("run stop", {"run": "pagerank-1"}),
        ("run wait", {"run": "pagerank-1"}),
        ("run ticks", {"run": "pagerank-1"}),
        ("run result", {"run": "pagerank-1"}),
        ("run rows", {"run": "pagerank-1"}),
        ("run start", {"program": "knowledge", "graph": "g", "ticks": 1}),
        ("run wait", {"run": "knowledge-2"}),
        ("run table", {"run": "knowledge-2", "table": "edges"}),
        ("run search", {"run": "knowledge-2", "words": "oak"}),
        ("program deploy", {"file": "zero.py"}),
        ("program show", {"program": "zero", "source": True}),
        ("program remove", {"program": "zero"}),
        ("graph show", {"graph": "g"}),
        ("log-level", {"level": "info"}),
    ]
    simple = (
        "help",
        "status",
        "members",
        "view",
        "ring",
        "barrier",
        "ghosts",
        "graph list",
        "run list",
        "program list",
    )
    last: list[tuple[str, dict[str, Any]]] = [("metrics", {}), ("graph drop", {"graph": "g"})]
    asked += [(name, {}) for name in simple] + last
    answered = {command["name"] for command in daemon_alone.call("help")[0]["commands"]}
    # It is one daemon alone, which these would take away, or which would have nobody to hand anything to.
    assert {name for name, _ in asked} == answered - {"found", "drain", "leave", "join", "backup"}
    for name, args in asked:
        result, _ = daemon_alone.call(name, args, sent.get(name, ()))
        section = page.partition(f"### `{name}`\n")[2].partition("\n### ")[0]
        (fields,) = re.findall(r"^Result: (.*)$", section, re.MULTILINE)
        if fields == "as of `run show`.":
            fields = page.partition("### `run show`\n")[2].partition("\n### ")[0]
        assert set(result) <= set(re.findall(r"`(\w+)`", fields)), name


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
