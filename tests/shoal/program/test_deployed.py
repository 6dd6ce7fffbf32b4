"""A program that is one file: what it may look like, what is wrong with it, and that its traceback shows its lines."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import shoal
from shoal import BadProgram, RunFailed
from shoal.program.deployed import SOURCE_BYTES_MAX, digest_of, program_of, source_of
from shoal.program.program import Program

SOURCE = """
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shoal import Column, Param, Program, Workspace


@dataclass
class Step:
    size: int = 2


class Double(Program):
    '''Twice as much each tick.'''

    name = "double"
    columns = (Column("much", np.int64),)
    ticks_default = 3

    fails_at = Param(0, "in which tick")

    def start(self, ws: Workspace) -> None:
        ws.set("much", 1)

    def advance(self, ws: Workspace) -> None:
        if ws.tick == self.fails_at:
            error = ValueError("as it was told to")
            error.shoal_node = "libc6"
            raise error
        ws.set("much", ws.column("much") * Step().size)
"""


def test_a_file_is_a_program_with_source_lines() -> None:
    program = program_of(SOURCE.encode(), "double.py")
    assert (program.name, program.summary(), list(program.parameters())) == (
        "double",
        "Twice as much each tick.",
        ["fails_at"],
    )
    assert "Step().size" in inspect.getsource(program.advance)
    assert program.advance.__code__.co_filename == f"<deployed double.py {digest_of(SOURCE.encode())[:8]}>"


def test_the_same_bytes_are_the_same_program_twice_and_other_bytes_another() -> None:
    once, again = program_of(SOURCE.encode(), "a"), program_of(SOURCE.encode(), "b")
    assert once.__module__ == again.__module__
    assert program_of(SOURCE.encode() + b"\n", "a").__module__ != once.__module__


def test_of_several_classes_one_is_named() -> None:
    two = SOURCE + "\n\nclass Other(Double):\n    name = 'other'\n"
    with pytest.raises(BadProgram, match="defines Double, Other: choose one with PROGRAM = Double"):
        program_of(two.encode(), "two.py")
    assert program_of((two + "PROGRAM = Other\n").encode(), "two.py").name == "other"
    private = SOURCE + "\n\nclass _Other(Double):\n    name = 'other'\n"
    assert program_of(private.encode(), "two.py").name == "double"


BAD = {
    "no program": ("x = 1\n", "defines no public class that is derived from shoal.Program"),
    "only imported": ("from shoal.algorithms.wcc import ConnectedComponents\n", "defines no public class"),
    "no class": (SOURCE + "PROGRAM = 7\n", "PROGRAM is 7: it should be a class derived from shoal.Program, of this"),
    "bad name": (SOURCE.replace('"double"', '"a b/c"'), "Double.name is 'a b/c': it should be 1 to 63 letters"),
    "no name": (SOURCE.replace('name = "double"', ""), "Double.name is None"),
    "syntax": ("def f(:\n", r"(?s)bad.py: its import fails.*SyntaxError"),
    "raises": ("x = 1\n\ny = x / 0\n", r"(?s)line 3, in <module>\n    y = x / 0.*ZeroDivisionError: division by zero"),
    "exits": ("raise SystemExit(3)\n", r"(?s)its import fails.*SystemExit: 3"),
    "imports": ("import no_such_thing_at_all\n", "ModuleNotFoundError"),
    "null bytes": ("x = '\0'\n", "its import fails"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_gets_a_sentence(what: str) -> None:
    source, told = BAD[what]
    with pytest.raises(BadProgram, match=told):
        program_of(source.encode(), "bad.py")


def test_size_and_encoding(tmp_path: Path) -> None:
    with pytest.raises(BadProgram, match="is too large: a deployed program has at most 64 KiB"):
        program_of(b"#" * (SOURCE_BYTES_MAX + 1), "large.py")
    with pytest.raises(BadProgram, match="is not UTF-8"):
        program_of(b"x = '\xff'", "latin.py")
    with pytest.raises(BadProgram, match="cannot be read: No such file"):
        source_of(tmp_path / "nothing.py")


def test_the_source_of_a_class_is_its_file(tmp_path: Path) -> None:
    from shoal.algorithms.wcc import ConnectedComponents

    source, file = source_of(ConnectedComponents)
    assert (source, file) == (Path(inspect.getfile(ConnectedComponents)).read_bytes(), "wcc.py")
    nowhere: type[Program] = type("Nowhere", (Program,), {"name": "nowhere", "__module__": "typed.in"})
    with pytest.raises(BadProgram, match=r"is defined in typed\.in, which has no file: write it to a file"):
        source_of(nowhere)


def test_a_session_in_this_process_deploys_too(tmp_path: Path) -> None:
    path = tmp_path / "double.py"
    path.write_text(SOURCE)
    with shoal.local(shards=2) as session:
        told = session.deploy(path)
        assert (told["program"], told["state"], told["digest"]) == ("double", "deployed", digest_of(SOURCE.encode()))
        assert session.deploy(str(path))["state"] == "unchanged"
        graph = session.load("ring", data=shoal.from_arrays([0, 1, 2], [1, 2, 0]))
        assert graph.run("double").result("much").values.tolist() == [8, 8, 8]
        assert [row["digest"] for row in session.programs() if row["name"] == "double"] == [told["digest"]]
        with pytest.raises(RunFailed, match=r"(?s)at node 'libc6'.*raise error\nValueError: as it was told to"):
            graph.run("double", fails_at=2)
        path.write_text(SOURCE.replace("size: int = 2", "size: int = 3"))
        assert session.deploy(path)["state"] == "replaced"
        assert graph.run("double").result("much").values.tolist() == [27, 27, 27]
        path.write_text(SOURCE.replace('"double"', '"wcc"'))
        with pytest.raises(BadProgram, match="a program called 'wcc' is already installed here"):
            session.deploy(path)
