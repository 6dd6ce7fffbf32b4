"""Ctrl-C at a question ends with the status that it has everywhere."""

from __future__ import annotations

import click
import pytest

from daemon.cli.main import Commands


@click.group(cls=Commands)
def commands() -> None:
    """One."""


@commands.command()
def drop() -> None:
    click.confirm("Forget it?", abort=True, err=True)


@pytest.mark.parametrize(("ends", "status"), [(KeyboardInterrupt, 130), (EOFError, 1)])
def test_a_question_that_is_not_answered(
    monkeypatch: pytest.MonkeyPatch, ends: type[BaseException], status: int
) -> None:
    def ask(_: str) -> str:
        raise ends

    monkeypatch.setattr("click.termui.visible_prompt_func", ask)
    with pytest.raises(SystemExit) as ended:
        commands(["drop"])
    assert ended.value.code == status
