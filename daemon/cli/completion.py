"""Shell completion of commands, options and the names that the daemon knows."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a shell script that completes shoalctl's commands, options and names.

    For bash, add to ~/.bashrc: eval "$(shoalctl completion bash)"
    """
    complete = get_completion_class(shell)
    assert complete is not None, "click knows these shells"
    click.echo(complete(context.find_root().command, {}, "shoalctl", "_SHOALCTL_COMPLETE").source())
