"""Searching the documents that a run reads."""

from __future__ import annotations

import click

from daemon.cli.session import Session, json_option


@click.command()
@click.argument("name")
@click.argument("words", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=10, show_default=True, help="So many of the best.")
@json_option
@click.pass_obj
def search(session: Session, name: str, words: tuple[str, ...], top: int) -> None:
    """The documents of a run that these words tell most about, best first."""
    session.answer("run search", {"run": name, "words": " ".join(words), "top": top})
