"""The bytes on disks and wires are unchanged: other daemons, later versions and clients rely on them.

A test that fails here is right until someone decides otherwise: CONTRIBUTING.md says when to rewrite a golden file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from daemon.store.schema import STATEMENTS
from daemon.wire.version import NEWEST
from shoal.graph.columns import FRAMES
from tests.daemon.wire.test_since import LAST, NEXT, First, New, Part, Whole
from tests.golden.bytes.older import forms
from tests.golden.bytes.section import FOLDER, HOW_TO_PIN, Section
from tests.golden.bytes.sections import SECTIONS
from tests.golden.bytes.well_filled import complaints
from tests.golden.golden_file import Golden, differences, harm, read


def each(sections: Iterable[Section]) -> pytest.MarkDecorator:
    """Creates a test for each section."""
    return pytest.mark.parametrize("section", [pytest.param(section, id=section.name) for section in sections])


@each(section for section in SECTIONS if section.types)
def test_every_type_has_an_example_and_every_example_a_type(section: Section) -> None:
    """The lists are those of the codecs, so new types are noticed."""
    found = section.mistakes()
    assert not found, "\n".join(found)


@each(section for section in SECTIONS if section.filled)
def test_examples_tell_fields_apart(section: Section) -> None:
    """Swapped or missing fields are only detected if no two fields have the same value."""
    found = complaints(section.filled)
    assert not found, "\n".join(found)


@each(SECTIONS)
def test_the_code_writes_what_is_pinned(section: Section) -> None:
    found = differences(read(section.path), section.made(), HOW_TO_PIN)
    assert not found, "\n".join([f"{section.path.name}:", *found])


@each(SECTIONS)
def test_what_is_pinned_is_read(section: Section) -> None:
    """It reads the file's bytes, not those that the code would write now."""
    section.check(read(section.path).entries)


def test_every_golden_file_is_tested() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == {section.path.name for section in SECTIONS}


@pytest.mark.parametrize(
    ("section", "prefix", "names"),
    [("store", "row of {}: ", STATEMENTS), ("archive", "table {}", STATEMENTS), ("graphs", "column of {}", FRAMES)],
)
def test_every_table_and_kind_of_column_is_pinned(section: str, prefix: str, names: dict[str, object]) -> None:
    """No table of types contains these."""
    (found,) = [one for one in SECTIONS if one.name == section]
    entries = read(found.path).entries
    missing = [name for name in names if not any(entry.startswith(prefix.format(name)) for entry in entries)]
    assert not missing, f"{', '.join(missing)}: not in {found.path.name}; {found.how_to}, and pin it: {HOW_TO_PIN}"


# -- the files themselves ----------------------------------------------------------------------------------------------

PINNED = Golden("protocol 2", {"Ack": {"hex": "01", "reads": "[1]"}, "Nack": {"hex": "02", "reads": "[2]"}})


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    PINNED.write(path)
    assert read(path) == PINNED
    assert [line for line in path.read_text().splitlines() if "hex" in line] == [
        '"Ack": {"hex": "01", "reads": "[1]"},',
        '"Nack": {"hex": "02", "reads": "[2]"}',
    ]
    assert read(tmp_path / "none.json") == Golden("", {})


def test_what_differs_is_said() -> None:
    made = Golden("protocol 2", {"Ack": {"hex": "03", "reads": "[3]"}, "Ping": {"hex": "04", "reads": "[4]"}})
    assert differences(PINNED, PINNED, "") == []
    assert differences(PINNED, made, "write it down") == [
        "Ack has changed:\n  reads before: [1]\n  reads now:    [3]",
        "Nack is pinned, and nothing writes it any more: write it down",
        "Ping is not pinned yet: write it down",
    ]
    assert "is of protocol 2" in differences(PINNED, Golden("protocol 3", PINNED.entries), "")[0]


def test_an_entry_may_be_added_and_renamed_but_not_changed_under_one_version() -> None:
    entries = {"Ack": {"hex": "01", "reads": "one"}, "Refusal": {"hex": "02", "reads": "[2]"}, "Ping": {"hex": "04"}}
    assert harm(PINNED, Golden("protocol 2", entries)) == []
    swapped = {"Ack": {"hex": "02", "reads": "[2]"}, "Nack": {"hex": "01", "reads": "[1]"}}
    assert harm(PINNED, Golden("protocol 2", swapped)) == ["Ack", "Nack"]
    assert harm(PINNED, Golden("protocol 2", {"Ack": {"hex": "01"}})) == ["Nack"]
    assert harm(PINNED, Golden("protocol 3", {})) == []


def test_what_an_older_cluster_still_has_written_stays_pinned() -> None:
    """Only if a later version writes something else."""
    new, first = New("x", (Part(3, 2),), (), ("blue",), 7, ("n",)), First("f")
    found = forms({"New": new, "First": first, "Whole": Whole("w")}, range(NEWEST, LAST))
    older = {name: form for name, form in found.items() if " at " in name}
    assert found.keys() - older.keys() == {"New", "First", "Whole"}
    assert older == {
        f"New at cluster version {NEWEST}": (NEWEST, New("x", (Part(3),))),
        f"New at cluster version {NEXT}": (NEXT, New("x", (Part(3),), (), ("blue",), 7)),
    }
